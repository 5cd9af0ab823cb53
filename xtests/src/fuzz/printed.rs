//! A guest's config as text, for reading it again. Proxmox VE writes these files, numapin never does.

use std::fmt::{Display, Write as _};

use numapin_core::guest::Hugepages;
use numapin_core::guest::pve::{GuestConfig, HostPci, Hotplug, NumaLine, Written};

/// The text of a config; read again it is the same config, but for the numbers of its lines.
#[must_use]
pub fn printed(config: &GuestConfig) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}: {value}");
        }
    };
    put("sockets", plain(config.sockets.as_ref()));
    put("cores", plain(config.cores.as_ref()));
    put("smp", plain(config.smp.as_ref()));
    put("vcpus", plain(config.vcpus.as_ref()));
    put("numa", config.numa.as_ref().map(yes));
    for (id, line) in &config.numa_lines {
        put(&format!("numa{id}"), Some(numa(&line.value)));
    }
    put("affinity", plain(config.affinity.as_ref()));
    put("pinning", plain(config.pinning.as_ref()));
    put("memory", plain(config.memory_mib.as_ref()));
    put("hugepages", config.hugepages.as_ref().map(hugepages));
    put("hotplug", config.hotplug.as_ref().map(hotplug));
    for (number, line) in &config.hostpci {
        put(&format!("hostpci{number}"), Some(hostpci(&line.value)));
    }
    put("args", plain(config.args.as_ref()));
    put(
        "tags",
        config.tags.as_ref().map(|tags| tags_of(&tags.value)),
    );
    put("name", plain(config.name.as_ref()));
    put("template", config.template.as_ref().map(yes));
    put("lock", plain(config.lock.as_ref()));
    text
}

/// The config without the numbers of its lines.
#[must_use]
pub fn without_lines(mut config: GuestConfig) -> GuestConfig {
    fn none<T>(written: &mut Option<Written<T>>) {
        if let Some(written) = written {
            written.line = 0;
        }
    }
    none(&mut config.sockets);
    none(&mut config.cores);
    none(&mut config.smp);
    none(&mut config.vcpus);
    none(&mut config.numa);
    none(&mut config.affinity);
    none(&mut config.pinning);
    none(&mut config.memory_mib);
    none(&mut config.hugepages);
    none(&mut config.hotplug);
    none(&mut config.args);
    none(&mut config.tags);
    none(&mut config.name);
    none(&mut config.template);
    none(&mut config.lock);
    config.numa_lines.values_mut().for_each(|w| w.line = 0);
    config.hostpci.values_mut().for_each(|w| w.line = 0);
    config
}

fn plain<T: Display>(written: Option<&Written<T>>) -> Option<String> {
    written.map(|written| written.value.to_string())
}

fn yes(written: &Written<bool>) -> String {
    String::from(if written.value { "1" } else { "0" })
}

fn numa(line: &NumaLine) -> String {
    let mut text = format!("cpus={}", line.cpus);
    if let Some(nodes) = &line.hostnodes {
        let _ = write!(text, ",hostnodes={nodes}");
    }
    if let Some(mib) = line.memory_mib {
        let _ = write!(text, ",memory={mib}");
    }
    if let Some(policy) = line.policy {
        let _ = write!(text, ",policy={}", policy.word());
    }
    text
}

fn hugepages(written: &Written<Hugepages>) -> String {
    String::from(match written.value {
        Hugepages::Any => "any",
        Hugepages::Mib2 => "2",
        Hugepages::Gib1 => "1024",
    })
}

fn hotplug(written: &Written<Hotplug>) -> String {
    let Hotplug { cpu, memory } = written.value;
    String::from(match (cpu, memory) {
        (false, false) => "0",
        (true, false) => "cpu",
        (false, true) => "memory",
        (true, true) => "cpu,memory",
    })
}

/// White space at the end of a line does not count: something else stands there.
fn hostpci(device: &HostPci) -> String {
    match device {
        HostPci::Host(ids) => format!("host={},pcie=0", ids.join(";")),
        HostPci::Mapping(name) => format!("mapping={name},pcie=0"),
    }
}

fn tags_of(tags: &[String]) -> String {
    if tags.is_empty() {
        return String::from(";");
    }
    tags.join(";")
}
