//! The command line that QEMU would have been started with.

use crate::guest::{Accel, Guest};
use crate::masks::parse_list;

/// The arguments, the program first. `socket` and `pid_file` are as QEMU was told them, i.e. seen from inside the machine.
pub(crate) fn command_line(guest: &Guest, socket: &str, pid_file: &str) -> Vec<String> {
    let mut args = vec![guest.binary.clone()];
    let mut add = |key: &str, value: String| {
        args.push(key.to_owned());
        if !value.is_empty() {
            args.push(value);
        }
    };
    if let Some(vmid) = guest.vmid {
        add("-id", vmid.to_string());
    }
    let debug = if guest.debug_threads {
        ",debug-threads=on"
    } else {
        ""
    };
    add("-name", format!("{}{debug}", guest.name));
    add("-no-shutdown", String::new());
    add(
        "-chardev",
        format!("socket,id=qmp,path={socket},server=on,wait=off"),
    );
    add("-mon", "chardev=qmp,mode=control".to_owned());
    if guest.vmid.is_some() {
        let event = "socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5";
        add("-chardev", event.to_owned());
        add("-mon", "chardev=qmp-event,mode=control".to_owned());
    }
    add("-pidfile", pid_file.to_owned());
    add("-daemonize", String::new());
    match guest.accel {
        Accel::Kvm => {}
        Accel::TcgMulti => add("-accel", "tcg,thread=multi".to_owned()),
        Accel::TcgSingle => add("-accel", "tcg,thread=single".to_owned()),
    }
    add("-smp", smp(guest));
    add("-nodefaults", String::new());
    add("-vga", "none".to_owned());
    add("-nographic", String::new());
    add(
        "-cpu",
        format!("{},+kvm_pv_eoi,+kvm_pv_unhalt", guest.cpu_model),
    );
    add("-m", guest.memory_mib.to_string());
    for &index in &guest.plugged {
        let seat = guest.seat(index);
        let die = if guest.dies > 1 {
            format!(",die-id={}", seat.die)
        } else {
            String::new()
        };
        let device = format!(
            "{},id=cpu{},socket-id={}{die},core-id={},thread-id={}",
            guest.cpu_type(),
            index + 1,
            seat.socket,
            seat.core,
            seat.thread
        );
        add("-device", device);
    }
    for iothread in &guest.iothreads {
        add("-object", format!("iothread,id={iothread}"));
    }
    for (id, node) in guest.nodes.iter().enumerate() {
        let size = guest.memory_mib / guest.nodes.len() as u64;
        let bound = node.host_nodes.as_ref().map_or(String::new(), |nodes| {
            format!(",host-nodes={nodes},policy=bind")
        });
        let memory = format!("memory-backend-ram,id=ram-node{id},size={size}M{bound}");
        add("-object", memory);
        let cpus: String = node
            .cpus
            .split(',')
            .filter(|range| !range.is_empty())
            .map(|range| format!(",cpus={range}"))
            .collect();
        add(
            "-numa",
            format!("node,nodeid={id}{cpus},memdev=ram-node{id}"),
        );
    }
    add("-machine", "type=pc+pve0".to_owned());
    args.extend(guest.args.iter().cloned());
    args
}

/// Bytes and host nodes of each memory backend, by its id, as query-memdev tells them.
pub(crate) fn memory_backends(guest: &Guest) -> Vec<(String, u64, Vec<u32>)> {
    let mib = 1 << 20;
    if guest.nodes.is_empty() {
        return vec![("pc.ram".to_owned(), guest.memory_mib * mib, Vec::new())];
    }
    let each = guest.memory_mib / guest.nodes.len() as u64 * mib;
    let nodes = guest.nodes.iter().enumerate().rev();
    nodes
        .map(|(id, node)| {
            let bound = node
                .host_nodes
                .as_deref()
                .and_then(|list| parse_list(list).ok());
            let host_nodes = bound.unwrap_or_default().into_iter().collect();
            (format!("ram-node{id}"), each, host_nodes)
        })
        .collect()
}

fn smp(guest: &Guest) -> String {
    let Guest {
        sockets,
        dies,
        cores,
        threads,
        ..
    } = guest;
    let dies = if *dies > 1 {
        format!(",dies={dies}")
    } else {
        String::new()
    };
    let threads = if *threads > 1 {
        format!(",threads={threads}")
    } else {
        String::new()
    };
    format!(
        "{},sockets={sockets}{dies},cores={cores}{threads},maxcpus={}",
        guest.boot_vcpus(),
        guest.max_vcpus()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(guest: &Guest) -> String {
        command_line(
            guest,
            "/var/run/qemu-server/100.qmp",
            "/var/run/qemu-server/100.pid",
        )
        .join(" ")
    }

    #[test]
    fn reads_as_proxmox_builds_it() {
        let mut guest = Guest::proxmox(100, 2, 4).numa_per_socket();
        guest.vcpus = 1;
        guest.plugged = vec![1, 4];
        guest.nodes[1].host_nodes = Some("1".to_owned());
        let line = line(&guest);
        for part in [
            "/usr/bin/kvm -id 100 -name vm100,debug-threads=on -no-shutdown",
            "-chardev socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off -mon chardev=qmp,mode=control",
            "-pidfile /var/run/qemu-server/100.pid -daemonize",
            "-smp 1,sockets=2,cores=4,maxcpus=8",
            "-device qemu64-x86_64-cpu,id=cpu2,socket-id=0,core-id=1,thread-id=0",
            "-device qemu64-x86_64-cpu,id=cpu5,socket-id=1,core-id=0,thread-id=0",
            "-object memory-backend-ram,id=ram-node0,size=1024M -numa node,nodeid=0,cpus=0-3,memdev=ram-node0",
            "-object memory-backend-ram,id=ram-node1,size=1024M,host-nodes=1,policy=bind -numa node,nodeid=1,cpus=4-7,memdev=ram-node1",
        ] {
            assert!(line.contains(part), "{part}\nnot in\n{line}");
        }
    }

    #[test]
    fn says_nothing_of_what_is_not_there() {
        let guest = Guest::plain("x", 1, 2);
        let line = line(&guest);
        assert!(!line.contains("-id 1") && !line.contains("-numa") && !line.contains("threads=2"));
        assert!(line.starts_with("/usr/bin/qemu-system-x86_64 -name x,debug-threads=on"));
    }
}
