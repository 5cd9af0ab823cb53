//! numapin on a real kernel with four host nodes, against a real QEMU. Where the lab was not set up (`xtests/lab/setup.sh`) this
//! is passed over, and says so; `NUMAPIN_REQUIRE=lab` makes that a failure.

use numapin_xtests::flow::Broken;
use numapin_xtests::lab::said::Said;
use numapin_xtests::lab::{Lab, boot, image};

/// Every step, in its order: one that is not walked is as bad as one that fails.
const STEPS: &str = "
    kernel-shows-the-nodes topology-has-these-nodes

    check-fits check-refuses-what-is-too-large a-guest-starts-unpinned
    apply-numa numa-masks taskset-agrees numa-leaves-all-others status-agrees apply-again apply-again-changes-nothing
    apply-one-to-one one-to-one-masks one-to-one-moves-all-others
    status-tells-drift apply-repairs repaired-masks status-agrees-again
    reset reset-masks reset-others status-of-a-held-guest

    set-policy hook-pre-start hook-post-start hook-masks hook-agrees hook-pre-stop hook-post-stop hook-forgets
    set-strict-policy hook-refuses unset-policy unset-policy-again

    offline-apply offline-starts-from
    sleeping-repaired sleeping-repaired-masks sleeping-offline-is-drift sleeping-offline-apply sleeping-offline-agrees
    sleeping-offline-masks sleeping-offline-in-its-node sleeping-back-is-drift sleeping-back-apply sleeping-back-masks
    busy-repaired busy-repaired-masks busy-offline-is-drift busy-offline-apply busy-offline-agrees
    busy-offline-masks busy-offline-in-its-node busy-back-is-drift busy-back-apply busy-back-masks
    offline-reset offline-reset-masks

    cpuset-apply cpuset-is-drift cpuset-narrowed-apply cpuset-masks cpuset-agrees cpuset-reset cpuset-reset-masks

    hotplug-apply hotplug-masks hotplug-inherits hotplug-is-drift hotplug-apply-again hotplug-all-masks
    iothread-is-drift iothread-apply iothread-mask iothread-agrees

    beside-reset shared-apply shared-alone beside-apply beside-masks shared-gives-way beside-agrees
    beside-reset-again shared-comes-back beside-reset-all all-reset

    watch-policy watch-default-policy watch-pins watch-repairs watch-pins-what-is-plugged watch-pins-beside
    watch-lets-another-cpu-stand-in watch-goes-back watch-ends-well watch-leaves-the-masks
";

/// What the kernel was seen to do by itself with a thread whose CPU goes offline, whatever its version: what the simulated
/// kernel of a captured root does, too.
fn offline_rules(said: &Said) -> Vec<(&'static str, String)> {
    let saw = |name: &str| said.saw.get(name).cloned().unwrap_or_default();
    let back = saw("busy-back");
    vec![
        ("sleeping-offline-call", String::new()),
        ("sleeping-back", saw("sleeping-offline")),
        ("sleeping-back-call", saw("sleeping-offline")),
        // All CPUs, and so they stay.
        ("busy-offline", back.clone()),
        ("busy-back-call", back),
    ]
}

#[test]
#[allow(clippy::print_stderr)] // What was seen is worth reading.
fn all_steps_go_as_they_should() -> Result<(), Broken> {
    let Some(lab) = Lab::find()? else {
        return Ok(());
    };
    let image = image::image(&lab, &lab.program()?)?;
    let booted = boot::boot(&lab, &image)?;
    eprintln!(
        "{} with {}, {:.1} s:\n{}",
        lab.host.name,
        lab.kernel.display(),
        booted.took.as_secs_f32(),
        booted.said
    );
    let said = Said::read(&booted.said);
    assert!(said.not_ok.is_empty(), "{:#?}", said.not_ok);
    let steps: Vec<&str> = STEPS.split_whitespace().collect();
    assert_eq!(said.ok, steps);
    for (name, expected) in offline_rules(&said) {
        assert_eq!(said.saw.get(name), Some(&expected), "{name}");
    }
    let alone = said.saw.get("sleeping-offline").map(String::as_str);
    assert_eq!(alone, lab.host.one_to_one.split(' ').nth(1));
    Ok(())
}
