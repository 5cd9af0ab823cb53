//! The QEMU arguments that Proxmox VE makes of a config (qemu-server QemuServer.pm `config_to_command`, Memory.pm `config`).

use super::{GuestConfig, NumaLine};
use crate::guest::flags::Overrides;
use crate::guest::pve::build::Beside;
use crate::guest::{GuestName, Hugepages};
use crate::id::VnodeId;
use crate::violation::Violations;

/// The arguments that say what a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuShape {
    /// `-smp`.
    pub smp: String,
    /// `-m` in MiB; with hotplug of memory the `size=`, to which slots and a limit of the host's are added.
    pub memory_mib: u64,
    /// Each `-numa`.
    pub numa: Vec<String>,
    /// Each `-object` of the memory.
    pub objects: Vec<String>,
    /// Each `-device` of a vCPU that is plugged after the first, without the model's name in front.
    pub cpu_devices: Vec<String>,
}

/// What Proxmox VE would start QEMU with. A template is only ever started for a backup, with one vCPU.
///
/// # Errors
/// The config breaks a rule.
pub fn qemu_shape(config: &GuestConfig) -> Result<QemuShape, Violations> {
    if config.template() {
        return Ok(QemuShape {
            smp: smp(1, 1, 1),
            memory_mib: 512,
            numa: Vec::new(),
            objects: Vec::new(),
            cpu_devices: Vec::new(),
        });
    }
    let name = config.name.as_ref().map_or("", |w| &w.value).to_owned();
    let guest = config.guest(GuestName(name), &Overrides::default(), Beside::default())?;
    let hotplug = config.hotplug.as_ref().map(|w| w.value).unwrap_or_default();
    let hugepages = config.hugepages.as_ref().map(|w| w.value);
    let plugged = u32::try_from(guest.plugged.len()).unwrap_or(u32::MAX);
    let memory_mib = match (hotplug.memory, hugepages) {
        (false, _) => config.memory_mib(),
        (true, Some(Hugepages::Gib1)) => 1024 * u64::from(guest.sockets),
        (true, _) => 1024,
    };
    let mut shape = QemuShape {
        smp: smp(
            if hotplug.cpu { 1 } else { plugged },
            guest.sockets,
            guest.cores,
        ),
        memory_mib,
        numa: Vec::new(),
        objects: Vec::new(),
        cpu_devices: Vec::new(),
    };
    if hotplug.cpu {
        let devices = (1..plugged).map(|i| {
            let (socket, core) = (i / guest.cores, i % guest.cores);
            format!(
                "id=cpu{},socket-id={socket},core-id={core},thread-id=0",
                i + 1
            )
        });
        shape.cpu_devices = devices.collect();
    }
    if guest.numa_explicit {
        for (id, line) in &config.numa_lines {
            let cpus = line.value.cpus.parts().map(|part| format!("cpus={part}"));
            let cpus: Vec<String> = cpus.collect();
            let size = line.value.memory_mib.unwrap_or_default().to_string();
            shape.push(
                *id,
                &cpus.join(","),
                &size,
                hugepages,
                &binding(&line.value),
            );
        }
    } else if guest.numa {
        let size = divided(memory_mib, guest.sockets);
        for node in &guest.virtual_nodes {
            shape.push(
                node.id,
                &format!("cpus={}", node.vcpus),
                &size,
                hugepages,
                "",
            );
        }
    }
    Ok(shape)
}

impl QemuShape {
    fn push(
        &mut self,
        id: VnodeId,
        cpus: &str,
        size: &str,
        hugepages: Option<Hugepages>,
        binding: &str,
    ) {
        let memory = match hugepages.map(|hugepages| page_kib(hugepages, size)) {
            None => format!("memory-backend-ram,id=ram-node{id},size={size}M{binding}"),
            Some(kib) => format!(
                "memory-backend-file,id=ram-node{id},size={size}M,mem-path=/run/hugepages/kvm/{kib}kB,share=on,prealloc=yes\
                 {binding}"
            ),
        };
        self.objects.push(memory);
        self.numa
            .push(format!("node,nodeid={id},{cpus},memdev=ram-node{id}"));
    }
}

fn smp(plugged: u32, sockets: u32, cores: u32) -> String {
    let most = u64::from(sockets) * u64::from(cores);
    format!("{plugged},sockets={sockets},cores={cores},maxcpus={most}")
}

fn binding(line: &NumaLine) -> String {
    match (&line.hostnodes, line.policy) {
        (Some(hostnodes), Some(policy)) => {
            let nodes: Vec<String> = hostnodes.parts().collect();
            format!(",host-nodes={},policy={}", nodes.join(","), policy.word())
        }
        _ => String::new(),
    }
}

/// The size of a huge page in KiB. `any`: 1 GiB where the memory is a multiple of it, else 2 MiB.
fn page_kib(hugepages: Hugepages, size: &str) -> u32 {
    let whole = size
        .parse::<u64>()
        .is_ok_and(|mib| mib.is_multiple_of(1024));
    match hugepages {
        Hugepages::Gib1 => 1_048_576,
        Hugepages::Any if whole => 1_048_576,
        Hugepages::Any | Hugepages::Mib2 => 2048,
    }
}

/// Memory of a virtual node, as Perl prints the quotient: with a fraction where there is one.
fn divided(mib: u64, sockets: u32) -> String {
    let sockets = u64::from(sockets);
    if mib.is_multiple_of(sockets) {
        return (mib / sockets).to_string();
    }
    // 15 significant digits, trailing zeros dropped.
    let whole = (mib / sockets).to_string();
    let places = 15_usize.saturating_sub(if whole == "0" { 0 } else { whole.len() });
    #[expect(
        clippy::cast_precision_loss,
        reason = "memory in MiB is far below 2^52"
    )]
    let quotient = mib as f64 / sockets as f64;
    let printed = format!("{quotient:.places$}");
    printed
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::super::{Pending, parse};
    use super::*;

    fn shape(text: &str) -> QemuShape {
        qemu_shape(
            &parse(Path::new("100.conf"), text, Pending::Merge)
                .unwrap()
                .config,
        )
        .unwrap()
    }

    #[test]
    fn numa_lines() {
        let shape = shape(
            "sockets: 2\ncores: 4\nvcpus: 6\nmemory: 3072\nnuma: 1\n\
             numa0: cpus=0-1;6-7,hostnodes=0,memory=1024,policy=bind\nnuma1: cpus=2-5,memory=2048\n",
        );
        assert_eq!(shape.smp, "6,sockets=2,cores=4,maxcpus=8");
        assert_eq!(
            shape.numa,
            [
                "node,nodeid=0,cpus=0-1,cpus=6-7,memdev=ram-node0",
                "node,nodeid=1,cpus=2-5,memdev=ram-node1"
            ]
        );
        assert_eq!(
            shape.objects,
            [
                "memory-backend-ram,id=ram-node0,size=1024M,host-nodes=0,policy=bind",
                "memory-backend-ram,id=ram-node1,size=2048M"
            ]
        );
    }

    #[test]
    fn hotplug_of_vcpus() {
        let shape = shape("sockets: 2\ncores: 2\nvcpus: 3\nhotplug: disk,cpu\n");
        assert_eq!(shape.smp, "1,sockets=2,cores=2,maxcpus=4");
        assert_eq!(
            shape.cpu_devices,
            [
                "id=cpu2,socket-id=0,core-id=1,thread-id=0",
                "id=cpu3,socket-id=1,core-id=0,thread-id=0"
            ]
        );
    }

    #[rstest]
    #[case(2048, 2, "1024")]
    #[case(2048, 3, "682.666666666667")]
    #[case(1025, 2, "512.5")]
    #[case(512, 128, "4")]
    fn memory_is_divided_as_perl_does(#[case] mib: u64, #[case] sockets: u32, #[case] size: &str) {
        assert_eq!(divided(mib, sockets), size);
    }

    #[rstest]
    #[case("hugepages: any\nmemory: 2048", 1_048_576)]
    #[case("hugepages: any\nmemory: 2050", 2048)]
    fn pages_of_any_size(#[case] text: &str, #[case] kib: u32) {
        let shape = shape(&format!("numa: 1\nsockets: 2\n{text}\n"));
        assert!(
            shape.objects[0].contains(&format!("/{kib}kB,")),
            "{shape:?}"
        );
    }
}
