//! The ACPI table that lists a machine's CPUs (MADT, signature "APIC"). QEMU lists SMT siblings next to each other; servers'
//! firmware mostly lists the first threads of all cores first, and Linux numbers its CPUs in the order of the list. A kernel takes
//! another table in front of its initial file system for the firmware's own (Documentation/admin-guide/acpi/initrd_table_override.rst)
//! where the revision is higher and the maker's names are the same.

/// Where the kernel looks for such tables.
pub const PATH: &str = "kernel/firmware/acpi/apic.aml";

/// A CPU for the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Number by which the other tables know it: QEMU's own index.
    pub uid: u8,
    /// Its interrupt controller's id.
    pub apic: u8,
}

/// The table of QEMU's q35 machine with its CPUs in another order.
#[must_use]
pub fn madt(processors: &[Processor]) -> Vec<u8> {
    let mut entries = Vec::new();
    // Address of the local interrupt controllers; the machine has the old pair of them, too.
    entries.extend_from_slice(&0xfee0_0000_u32.to_le_bytes());
    entries.extend_from_slice(&1_u32.to_le_bytes());
    for processor in processors {
        // Processor: enabled.
        entries.extend_from_slice(&[0, 8, processor.uid, processor.apic, 1, 0, 0, 0]);
    }
    // The I/O interrupt controller, from interrupt 0 on.
    entries.extend_from_slice(&[1, 12, 0, 0]);
    entries.extend_from_slice(&0xfec0_0000_u32.to_le_bytes());
    entries.extend_from_slice(&0_u32.to_le_bytes());
    // The timer is interrupt 2; the others are high and level-triggered.
    for (source, interrupt, flags) in [
        (0, 2_u32, 0_u16),
        (5, 5, 13),
        (9, 9, 13),
        (10, 10, 13),
        (11, 11, 13),
    ] {
        entries.extend_from_slice(&[2, 10, 0, source]);
        entries.extend_from_slice(&interrupt.to_le_bytes());
        entries.extend_from_slice(&flags.to_le_bytes());
    }
    // The non-maskable interrupt: line 1 of every processor.
    entries.extend_from_slice(&[4, 6, 0xff, 0, 0, 1]);
    with_head(&entries)
}

fn with_head(entries: &[u8]) -> Vec<u8> {
    let length = u32::try_from(36 + entries.len()).unwrap_or(u32::MAX);
    let mut table = b"APIC".to_vec();
    table.extend_from_slice(&length.to_le_bytes());
    // Revision of the form, and the checksum's place.
    table.extend_from_slice(&[3, 0]);
    table.extend_from_slice(b"BOCHS BXPC    ");
    // QEMU's own is revision 1.
    table.extend_from_slice(&2_u32.to_le_bytes());
    table.extend_from_slice(b"BXPC");
    table.extend_from_slice(&1_u32.to_le_bytes());
    table.extend_from_slice(entries);
    table[9] = table.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_add_up_to_nothing() {
        let processors = [Processor { uid: 0, apic: 0 }, Processor { uid: 2, apic: 8 }];
        let table = madt(&processors);
        assert_eq!(
            table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
            0
        );
        assert_eq!(usize::from(table[4]), table.len());
        assert_eq!(
            &table[44..60],
            [0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 2, 8, 1, 0, 0, 0]
        );
    }
}
