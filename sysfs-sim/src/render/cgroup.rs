//! CPU sets of control groups.

use std::collections::BTreeSet;

use super::Out;
use crate::description::CgroupMount;
use crate::list;

pub(super) fn render(out: &mut Out<'_>) {
    let (host, layout) = (out.host, out.layout);
    let cgroup = &host.cgroup;
    let isolated = cgroup.isolated.clone().unwrap_or_default();
    let rest: BTreeSet<u32> = layout.online.difference(&isolated.0).copied().collect();
    let asked = cgroup.qemu_slice.as_ref();
    // What is allowed to no CPU that is there gets what its parent has.
    let slice = asked.map(|asked| {
        let usable: BTreeSet<u32> = asked.0.intersection(&rest).copied().collect();
        (
            asked.to_string(),
            if usable.is_empty() {
                rest.clone()
            } else {
                usable
            },
        )
    });
    let mems = list::list(
        layout
            .nodes
            .iter()
            .filter(|(_, n)| n.memory.total_kib > 0)
            .map(|(id, _)| *id),
    );
    let all = list::list(rest.iter().copied());
    match cgroup.mount {
        CgroupMount::V2 => {
            const DIR: &str = "sys/fs/cgroup";
            out.line(format!("{DIR}/cpuset.cpus.effective"), all);
            out.line(format!("{DIR}/cpuset.mems.effective"), &mems);
            if cgroup.isolated.is_some() {
                out.line(format!("{DIR}/cpuset.cpus.isolated"), isolated);
            }
            if let Some((asked, usable)) = slice {
                out.line(format!("{DIR}/qemu.slice/cpuset.cpus"), asked);
                let usable = list::list(usable);
                out.line(format!("{DIR}/qemu.slice/cpuset.cpus.effective"), usable);
                out.line(format!("{DIR}/qemu.slice/cpuset.mems.effective"), mems);
            }
        }
        CgroupMount::V1 => {
            const DIR: &str = "sys/fs/cgroup/cpuset";
            let slice = slice.map(|(asked, usable)| ("/qemu.slice", asked, list::list(usable)));
            for (dir, asked, usable) in [Some(("", all.clone(), all)), slice].into_iter().flatten()
            {
                out.line(format!("{DIR}{dir}/cpuset.cpus"), asked);
                out.line(format!("{DIR}{dir}/cpuset.effective_cpus"), usable);
                out.line(format!("{DIR}{dir}/cpuset.mems"), &mems);
                out.line(format!("{DIR}{dir}/cpuset.effective_mems"), &mems);
            }
        }
        CgroupMount::DevCpuset => {
            const DIR: &str = "dev/cpuset";
            let slice = slice.map(|(_, usable)| ("/qemu.slice", list::list(usable)));
            for (dir, usable) in [Some(("", all)), slice].into_iter().flatten() {
                out.line(format!("{DIR}{dir}/cpus"), usable);
                out.line(format!("{DIR}{dir}/mems"), &mems);
            }
        }
        CgroupMount::None => {}
    }
    if let Some(path) = &cgroup.of_self {
        let text = match cgroup.mount {
            CgroupMount::V2 | CgroupMount::None => format!("0::{path}"),
            CgroupMount::V1 | CgroupMount::DevCpuset => format!("4:cpuset:{path}\n0::{path}"),
        };
        out.line("proc/self/cgroup".to_owned(), text);
        if cgroup.mount != CgroupMount::V2 && cgroup.mount != CgroupMount::None {
            out.line("proc/self/cpuset".to_owned(), path);
        }
    }
}
