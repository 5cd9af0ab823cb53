//! Which place a policy comes from.

use std::path::Path;

use rstest::rstest;

use super::*;
use crate::guest::pve::{self, Pending};
use crate::id::Vmid;

struct Case<'a> {
    asked: &'a str,
    flags: &'a str,
    conf: &'a str,
    config: &'a str,
}

const NOTHING: Case<'_> = Case {
    asked: "",
    flags: "",
    conf: "",
    config: "",
};

fn patch(text: &str) -> Option<PolicyPatch> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn chosen(case: &Case<'_>) -> Result<ChosenPolicy, ChoiceError> {
    let (asked, flags) = (patch(case.asked), patch(case.flags));
    let conf = NodeConf::parse(Path::new("numapin.conf"), case.conf);
    let file = Path::new("100.conf");
    let config = pve::parse(file, case.config, Pending::Merge)
        .unwrap()
        .config;
    choose(&Places {
        asked: asked.as_ref(),
        flags: flags.as_ref(),
        conf: Some(&conf),
        vmid: Some(Vmid(100)),
        config: Some((&config, file)),
    })
}

/// "policy, from its source", and the kinds of the notes.
fn shown(case: &Case<'_>) -> String {
    let chosen = chosen(case).unwrap();
    let notes = chosen
        .notes
        .iter()
        .map(|note| serde_json::to_value(note).unwrap()["kind"].clone());
    let notes: String = notes
        .map(|kind| format!("; {}", kind.as_str().unwrap()))
        .collect();
    format!("{} from {}{notes}", chosen.policy, chosen.origin())
}

const ALL_CONF: &str = "tags: yes\n100: l3\ndefault: shared\n";
const ALL_CONFIG: &str = "tags: web;pin-numa\npinning: vcpus=one-to-one\n";

#[rstest]
#[case(NOTHING, "none from no policy")]
#[case(Case { flags: "numa", ..NOTHING }, "numa from command line")]
#[case(Case { asked: "none", flags: "vhost=node", conf: ALL_CONF, config: ALL_CONFIG },
    "none,vhost=node from command line")]
#[case(Case { conf: ALL_CONF, config: ALL_CONFIG, ..NOTHING }, "l3 from numapin.conf line 2")]
#[case(Case { conf: ALL_CONF, config: ALL_CONFIG, flags: "emulator=node", ..NOTHING },
    "l3,emulator=node from numapin.conf line 2, and the command line over it")]
#[case(Case { conf: "tags: yes\ndefault: shared\n", config: ALL_CONFIG, ..NOTHING }, "numa from tag pin-numa")]
#[case(Case { conf: "tags: yes\n", config: "tags: PIN-One-To-One\n", ..NOTHING }, "one-to-one from tag pin-one-to-one")]
#[case(Case { conf: "default: shared\n", config: ALL_CONFIG, ..NOTHING },
    "one-to-one from pinning: in the config, line 2; tags_off; pinning_is_dropped")]
#[case(Case { conf: "default: shared\n", ..NOTHING }, "shared from default: in numapin.conf, line 1")]
#[case(Case { config: "pinning: none\n", ..NOTHING }, "none from pinning: in the config, line 1; pinning_is_dropped")]
#[case(Case { conf: "101: numa\n", ..NOTHING }, "none from no policy")]
#[case(Case { conf: "100: none\ndefault: shared\n", ..NOTHING }, "none from numapin.conf line 1")]
#[case(Case { conf: "100: name=db1,l3\n", config: "name: db1\n", ..NOTHING }, "l3 from numapin.conf line 1")]
#[case(Case { conf: "100: name=db1,l3\ndefault: numa\n", config: "name: web\n", ..NOTHING },
    "numa from default: in numapin.conf, line 2; other_name")]
#[case(Case { conf: "100: name=db1,l3\n", ..NOTHING }, "none from no policy; other_name")]
#[case(Case { conf: "tags: yes\n", config: "tags: pin-nuna;pinned\n", ..NOTHING }, "none from no policy; unknown_tag")]
#[case(Case { asked: "one-to-one", config: "template: 1\n", ..NOTHING }, "none from a template has no policy; template")]
#[case(Case { conf: "100: l3,require=fail\n", config: "lock: backup\n", ..NOTHING }, "l3 from numapin.conf line 1; backup")]
#[case(Case { conf: "100: l3,require=fail\n", config: "lock: migrate\n", ..NOTHING },
    "l3,require=fail from numapin.conf line 1")]
#[case(Case { conf: "100: one-to-one,smt=pack\n", flags: "numa", ..NOTHING },
    "numa,smt=pack from numapin.conf line 1, and the command line over it; no_use")]
#[case(Case { conf: "100: nonsense\ndefault: x\n", asked: "numa", ..NOTHING }, "numa from command line")]
fn the_first_place_counts(#[case] case: Case<'_>, #[case] says: &str) {
    assert_eq!(shown(&case), says);
}

#[rstest]
#[case(Case { conf: "100: nuna\n", ..NOTHING },
    "numapin.conf:1: 100: vcpus: \"nuna\" is unknown (did you mean \"numa\"? expected none,")]
#[case(Case { conf: "100: numa\n100: l3\ndefault: numa\n", ..NOTHING }, "numapin.conf:2: 100: it is there twice, also in line 1")]
#[case(Case { conf: "default: nuna\n", ..NOTHING }, "numapin.conf:1: default: vcpus: \"nuna\" is unknown")]
#[case(Case { config: "cores: 1\npinning: nuna\n", ..NOTHING }, "100.conf:2: pinning: vcpus: \"nuna\" is unknown")]
#[case(Case { config: "pinning: $DEFAULT_VCPU_PINNING\n", ..NOTHING },
    "100.conf:1: pinning: vcpus: \"$DEFAULT_VCPU_PINNING\" is unknown (expected none, numa, l3,")]
#[case(Case { conf: "tags: yes\n", config: "tags: pin-numa,pin-l3\n", ..NOTHING },
    "tags pin-l3 and pin-numa contradict each other (expected one of them)")]
fn a_place_that_counts_and_cannot_be_read_is_an_error(#[case] case: Case<'_>, #[case] says: &str) {
    let refused = chosen(&case).unwrap_err().to_string();
    assert!(refused.starts_with(says), "{refused}");
}

#[test]
fn notes_say_what_to_do() {
    let case = Case {
        conf: "100: name=db1,l3\n",
        config: "name: web\npinning: one-to-one\n",
        ..NOTHING
    };
    let notes = chosen(&case).unwrap().notes;
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "numapin.conf line 1 is for a guest named \"db1\", and this one is named \"web\": the line is ignored (numapin set \
             writes a new one)",
            "stock Proxmox VE drops pinning: at its next write of the config (numapin set 100 one-to-one keeps it)",
        ]
    );
}

#[test]
fn a_guest_without_config_can_be_asked_for() {
    let asked: PolicyPatch = "numa".parse().unwrap();
    let places = Places {
        asked: Some(&asked),
        ..Places::default()
    };
    assert!(choose(&places).unwrap().is_named());
    assert!(!choose(&Places::default()).unwrap().is_named());
}
