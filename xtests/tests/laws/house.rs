//! The house: its folders and rooms are described, its packages depend on what they may, and each dependency has its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use numapin_xtests::source::{files, workspace};
use toml::Table;

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

fn manifest(folder: &str) -> Table {
    read(&format!("{folder}/Cargo.toml")).parse().unwrap()
}

fn members() -> Vec<String> {
    let root: Table = read("Cargo.toml").parse().unwrap();
    let members = root["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|m| m.as_str().unwrap().to_owned())
        .collect()
}

/// The names in one table of a manifest, also below `target`.
fn dependencies(manifest: &Table, table: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let targets = manifest.get("target").and_then(|t| t.as_table());
    let below = targets.into_iter().flat_map(|t| t.values());
    let tables = below.filter_map(|t| t.as_table()).chain([manifest]);
    for found in tables.filter_map(|t| t.get(table)?.as_table()) {
        names.extend(found.keys().cloned());
    }
    names
}

/// The rows of the table under "## Dependencies" in ARCHITECTURE.md: where each crate may be used.
fn reasons(architecture: &str) -> BTreeMap<String, String> {
    let section = architecture.split("\n## Dependencies").nth(1).unwrap_or("");
    let section = section.split("\n## ").next().unwrap_or("");
    let mut found = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if let [crates, place, why] = cells[..]
            && why.len() > 10
        {
            for name in crates.split(',') {
                found.insert(name.trim().trim_matches('`').to_owned(), place.to_owned());
            }
        }
    }
    found
}

/// Whether a row lets a package use the crate: it names the package, or "all", or "libraries", or (for tests) "tests". xtests may use all.
fn may_use(place: &str, package: &str, kind: &str) -> bool {
    let libraries = ["core", "sysfs-sim", "qmp-mock"].contains(&package);
    let tests = kind == "dev-dependencies";
    let words: Vec<&str> = place
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .collect();
    package == "xtests"
        || words.contains(&package)
        || words.contains(&"all")
        || words.contains(&"libraries") && libraries
        || words.contains(&"tests") && tests
}

#[test]
fn each_package_depends_on_what_it_may() {
    let ours = |names: &BTreeSet<String>| -> BTreeSet<String> {
        let ours = names.iter().filter(|n| n.starts_with("numapin-"));
        ours.cloned().collect()
    };
    for (folder, may) in [
        ("core", &[][..]),
        // Fakes share no code with what they fake, nor with each other.
        ("sysfs-sim", &[]),
        ("qmp-mock", &[]),
        (
            "cli",
            &["numapin-core", "numapin-qmp-mock", "numapin-sysfs-sim"],
        ),
    ] {
        let manifest = manifest(folder);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let may: BTreeSet<String> = may.iter().map(|n| (*n).to_owned()).collect();
            let has = ours(&dependencies(&manifest, table));
            assert!(
                has.is_subset(&may),
                "{folder}: {table} {has:?}, allowed are {may:?}"
            );
        }
    }
}

#[test]
fn each_dependency_is_named_with_its_reason() {
    let reasons = reasons(&read("ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for folder in members() {
        let manifest = manifest(&folder);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = dependencies(&manifest, table);
            for name in names.into_iter().filter(|n| !n.starts_with("numapin-")) {
                match reasons.get(&name) {
                    None => wrong.push(format!("{folder}: {table}: `{name}` has no row")),
                    Some(place) if !may_use(place, &folder, table) => {
                        wrong.push(format!("{folder}: {table}: `{name}` is for: {place}"));
                    }
                    Some(_) => {}
                }
                used.insert(name);
            }
        }
    }
    assert!(
        used.contains("serde") && used.contains("tempfile"),
        "{used:?}"
    );
    assert!(
        wrong.is_empty(),
        "the table of dependencies in ARCHITECTURE.md (crate, where, why) does not allow:\n{}",
        wrong.join("\n")
    );
    let gone: Vec<_> = reasons
        .keys()
        .filter(|name| !used.contains(*name) && !["crate", "---"].contains(&name.as_str()))
        .collect();
    assert!(
        gone.is_empty(),
        "rows in ARCHITECTURE.md for crates that nobody uses: {gone:?}"
    );
}

#[test]
fn rows_say_who_may_use_a_crate() {
    let text = "x\n## Dependencies\n| crate | where | why |\n|---|---|---|\n| a, b | core (x.rs) | a good reason |\n| c | tests | |\n## Y\n| d | all | another good reason |";
    let reasons = reasons(text);
    let rows: Vec<_> = reasons
        .iter()
        .map(|(n, p)| (n.as_str(), p.as_str()))
        .collect();
    assert_eq!(rows, [("a", "core (x.rs)"), ("b", "core (x.rs)")]);
    assert!(may_use("core (x.rs), cli", "cli", "dependencies"));
    assert!(may_use("libraries", "core", "dependencies"));
    assert!(!may_use("libraries", "cli", "dependencies"));
    assert!(!may_use("tests", "core", "dependencies"));
    assert!(may_use("tests", "core", "dev-dependencies"));
    let manifest: Table = "[target.'cfg(unix)'.dependencies]\nlibc = \"1\""
        .parse()
        .unwrap();
    assert_eq!(dependencies(&manifest, "dependencies").len(), 1);
}

#[test]
fn each_folder_and_each_room_of_core_is_described() {
    let architecture = read("ARCHITECTURE.md");
    let mut names: BTreeSet<String> = members().into_iter().collect();
    names.insert("topologies".to_owned());
    for entry in fs::read_dir(workspace().join("core/src")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        names.insert(name.trim_end_matches(".rs").to_owned());
    }
    // It only says which rooms there are.
    names.remove("lib");
    assert!(names.len() > 12, "{names:?}");
    let gone: Vec<_> = names
        .iter()
        .filter(|n| !architecture.contains(*n))
        .collect();
    assert!(
        gone.is_empty(),
        "ARCHITECTURE.md does not say what lives in {gone:?}"
    );
}

#[test]
fn the_top_level_is_fixed() {
    let mut extra = BTreeSet::new();
    for entry in fs::read_dir(workspace()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let known =
            members().contains(&name) || ["docs", "topologies", "target"].contains(&name.as_str());
        if entry.path().is_dir() && !known && !name.starts_with('.') {
            extra.insert(name);
        }
    }
    assert!(
        extra.is_empty(),
        "folders that the house does not have: {extra:?}"
    );
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    for folder in members() {
        let lints = manifest(&folder);
        let lints = lints
            .get("lints")
            .and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(
            lints,
            Some(true),
            "{folder}/Cargo.toml: [lints] workspace = true"
        );
    }
}

#[test]
fn no_file_knows_where_it_was_built() {
    let root = workspace();
    let here = root.to_string_lossy().into_owned();
    // Put together here, so that this file does not hold them.
    let homes = ["home", "Users", "root"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for path in files(&root).unwrap() {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            if is_of_a_machine(line, &here, &homes) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "paths of a build machine:\n{}",
        found.join("\n")
    );
    assert!(is_of_a_machine(
        &format!("cd {}me", homes[0]),
        &here,
        &homes
    ));
    assert!(is_of_a_machine(&format!("in {here}/core"), &here, &homes));
    assert!(!is_of_a_machine("below /sys/devices", &here, &homes));
}

/// Whether a line holds the path of this workspace, or one of somebody's home.
fn is_of_a_machine(line: &str, here: &str, homes: &[String]) -> bool {
    line.contains(here)
        || homes.iter().any(|home| {
            line.match_indices(home.as_str()).any(|(at, _)| {
                // Not the middle of a longer path, such as "dump/root/".
                line[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| !c.is_alphanumeric() && !"/}>_-.".contains(c))
            })
        })
}
