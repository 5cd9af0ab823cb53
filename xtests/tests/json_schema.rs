//! The schema that the documents show is made from the types that are serialised, and real answers keep to it.

use std::fs;

use numapin_cli::run_words;
use numapin_qmp_mock::{Guest, Script};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::source;
use serde_json::{Value, json};

/// `NUMAPIN_BLESS=1` writes the file anew.
#[test]
fn the_schema_in_the_documents_is_what_the_types_say() {
    let made = serde_json::to_string_pretty(&numapin_cli::schema()).unwrap() + "\n";
    let file = source::workspace().join("docs/schema.json");
    if std::env::var_os("NUMAPIN_BLESS").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    // Compared by line: the whole of both would fill the screen.
    let differs = |(_, (is, was)): &(usize, (&str, &str))| is != was;
    let first = made.lines().zip(kept.lines()).enumerate().find(differs);
    assert_eq!(
        first, None,
        "first line that differs from docs/schema.json; NUMAPIN_BLESS=1 writes it anew"
    );
    assert_eq!(made.len(), kept.len(), "docs/schema.json is not as long");
    assert!(
        run_words(["generate", "schema"]).out == kept,
        "generate schema"
    );
}

#[test]
fn every_answer_keeps_to_the_schema() {
    let schema = closed(numapin_cli::schema());
    let validator = jsonschema::validator_for(&schema).unwrap();
    let lab = Lab::named("epyc7351p").unwrap();
    let root = lab.dir().display().to_string();
    let pve = lab.dir().join("etc/pve/qemu-server");
    fs::create_dir_all(&pve).unwrap();
    for (vmid, text) in [
        (
            100,
            "name: db1\nsockets: 4\ncores: 2\nnuma: 1\nmemory: 8192\n",
        ),
        (101, "name: web1\ncores: 4\nmemory: 4096\n"),
        (102, "cores: 40\nmemory: 4096\n"),
    ] {
        fs::write(pve.join(format!("{vmid}.conf")), text).unwrap();
    }
    let db = Guest::proxmox(100, 4, 2).numa_per_socket();
    let _db = lab.start(db, Script::healthy()).unwrap();
    let _web = lab
        .start(Guest::proxmox(101, 1, 4), Script::healthy())
        .unwrap();

    for (line, code) in [
        ("topology", 0),
        ("check 100 --mode one-to-one", 0),
        ("check 102 --mode one-to-one", 3),
        ("plan 100 101 102 --mode one-to-one --explain", 3),
        ("set 100 one-to-one", 0),
        ("set 101 shared", 0),
        ("advise 100 --mode one-to-one", 0),
        ("status", 6),
        ("apply 100", 0),
        ("apply 100", 0),
        ("apply 101", 0),
        ("apply 100 --replan --smt pack", 0),
        ("status", 0),
        ("status 100", 0),
        ("unset 101", 0),
        ("reset 100", 0),
        ("reset --all", 0),
        ("hook 101 pre-start", 0),
        ("hook 101 post-start", 0),
        ("apply 999", 2),
        ("simulate", 0),
    ] {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--format", "json"]);
        if !line.starts_with("simulate") {
            words.extend(["--root", &root]);
        }
        let ran = run_words(&words);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        let answer: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(answer["schema"], json!(1), "{line}");
        let wrong: Vec<_> = validator
            .iter_errors(&answer)
            .map(|e| e.to_string())
            .collect();
        assert!(wrong.is_empty(), "{line}: {wrong:?}\n{answer:#}");
    }
}

/// The schema with nothing else allowed than what it names: a field that it does not know is then found. Objects that are put
/// together (`allOf`, flattened enums) are judged as a whole.
fn closed(mut schema: Value) -> Value {
    // `branch`: one of several schemas of the same object, which the one above closes.
    fn walk(value: &mut Value, branch: bool) {
        match value {
            Value::Object(map) => {
                let alternatives = ["allOf", "anyOf", "oneOf"];
                let parts = ["properties"].iter().chain(&alternatives);
                let mut parts = parts.filter(|key| map.contains_key(**key));
                if !branch && parts.next().is_some() && !map.contains_key("additionalProperties") {
                    map.insert("unevaluatedProperties".to_owned(), json!(false));
                }
                for (key, below) in map {
                    match (alternatives.contains(&key.as_str()), below) {
                        (true, Value::Array(list)) => {
                            list.iter_mut().for_each(|below| walk(below, true));
                        }
                        (_, below) => walk(below, false),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|below| walk(below, false)),
            _ => {}
        }
    }
    walk(&mut schema, true);
    schema
}
