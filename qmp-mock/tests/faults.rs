//! Every fault, as a plain client sees it.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{CPUS, Client, cpus, faulty, guest, mock, tempdir};
use numapin_qmp_mock::{At, Fault, Mock, Pick, Script, Then};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A client that just connected.
fn connected(fault: Fault) -> (TempDir, Mock, Client) {
    let (root, mock) = mock(guest(), Script::of(fault));
    let client = Client::connect(mock.socket());
    (root, mock, client)
}

fn list(reply: &Value, key: &str) -> Vec<i64> {
    let cpus = reply["return"].as_array().unwrap().iter();
    cpus.map(|cpu| cpu[key].as_i64().unwrap()).collect()
}

#[test]
fn lines_come_late() {
    let (_root, _mock, mut client) = connected(Fault::Delay {
        at: At::Greeting,
        ms: 120,
    });
    let start = Instant::now();
    assert!(client.is_silent());
    client.value();
    assert!(start.elapsed() >= Duration::from_millis(110));
    let (_root, _mock, mut client) = faulty(Fault::Delay {
        at: At::Reply(1),
        ms: 120,
    });
    let start = Instant::now();
    client.ask("query-name");
    assert!(start.elapsed() >= Duration::from_millis(110));
    let start = Instant::now();
    client.ask("query-name");
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "only that one"
    );
}

#[test]
fn a_line_trickles() {
    let (_root, _mock, mut client) = connected(Fault::Trickle {
        at: At::Greeting,
        bytes: 20,
        ms: 10,
    });
    let start = Instant::now();
    assert!(client.value()["QMP"].is_object());
    assert!(
        start.elapsed() >= Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn no_greeting_ever() {
    let (_root, _mock, mut client) = connected(Fault::Silence { at: At::Greeting });
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    assert!(client.is_silent());
}

#[rstest]
#[case(At::Reply(0), 1)]
#[case(cpus(), 2)]
fn silence_from_a_line_on(#[case] at: At, #[case] lines: usize) {
    let (_root, mock, mut client) = connected(Fault::Silence { at });
    client.send(format!(
        "{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"{CPUS}\"}}"
    ));
    for _ in 0..lines {
        client.value();
    }
    assert!(client.is_silent());
    client.send(r#"{"execute":"query-name"}"#);
    mock.tell("RESUME", None);
    assert!(
        client.is_silent(),
        "later lines and events do not come either"
    );
    drop(client);
    let mut next = Client::connect(mock.socket());
    assert!(next.value()["QMP"].is_object(), "the next client is served");
}

#[rstest]
#[case(Fault::Close { at: At::Greeting }, 0)]
#[case(Fault::CloseAfter { at: At::Greeting }, 1)]
#[case(Fault::Close { at: At::Reply(0) }, 1)]
#[case(Fault::CloseAfter { at: At::Reply(0) }, 2)]
#[case(Fault::Close { at: cpus() }, 2)]
#[case(Fault::CloseAfter { at: cpus() }, 3)]
fn closed_at_every_step(#[case] fault: Fault, #[case] lines: usize) {
    let (_root, mock, mut client) = connected(fault);
    // Sent in one go; where it is closed early, some of it is never read, or can't be written any more.
    let all = format!("{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"{CPUS}\"}}");
    let written = std::io::Write::write_all(&mut client.stream, all.as_bytes());
    assert!(written.is_ok() || lines < 2, "{written:?}");
    for _ in 0..lines {
        client.value();
    }
    assert!(client.is_closed());
    assert!(!mock.has_ended());
}

#[rstest]
#[case(Then::Close)]
#[case(Then::Silence)]
#[case(Then::GoOn)]
fn half_a_line(#[case] then: Then) {
    let (_root, _mock, mut client) = faulty(Fault::Cut {
        at: cpus(),
        bytes: Some(9),
        then,
    });
    client.send(format!("{{\"execute\":\"{CPUS}\"}}"));
    let mut half = [0; 9];
    std::io::Read::read_exact(&mut client.reader, &mut half).unwrap();
    assert_eq!(&half, b"{\"return\"");
    match then {
        Then::Close => assert!(client.is_closed()),
        Then::Silence => assert!(client.is_silent()),
        Then::GoOn => assert_eq!(client.ask("query-name")["return"]["name"], "vm100"),
    }
}

#[test]
fn half_of_a_greeting_by_default() {
    let (_root, _mock, mut client) = connected(Fault::Cut {
        at: At::Greeting,
        bytes: None,
        then: Then::Close,
    });
    let line = client.line().unwrap();
    assert!(
        line.starts_with("{\"QMP\"") && !line.ends_with('\n'),
        "{line}"
    );
    assert!(client.is_closed());
}

#[rstest]
#[case(At::Greeting, 0)]
#[case(At::Reply(0), 1)]
#[case(cpus(), 2)]
fn events_before_any_line(#[case] at: At, #[case] before: usize) {
    let odd = json!({"event": "NOBODY_KNOWS_IT", "data": {"a": [1]}});
    let resume = json!({"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}});
    let (_root, _mock, mut client) = connected(Fault::Events {
        at,
        events: vec![odd.clone(), resume.clone()],
    });
    client.send(format!(
        "{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"{CPUS}\"}}"
    ));
    let lines: Vec<Value> = (0..5).map(|_| client.value()).collect();
    assert_eq!(lines[before..before + 2], [odd, resume]);
    assert_eq!(list(&lines[4], "cpu-index"), [0, 1, 2, 3]);
}

#[test]
fn ids_wrong_missing_stale_and_lines_twice() {
    let ask = |client: &mut Client| {
        client.send(format!("{{\"execute\":\"{CPUS}\",\"id\":\"7:1\"}}"));
        client.value()
    };
    let (_root, _mock, mut client) = faulty(Fault::WrongId {
        at: cpus(),
        id: json!("7:0"),
    });
    assert_eq!(ask(&mut client)["id"], "7:0");
    let (_root, _mock, mut client) = faulty(Fault::MissingId { at: cpus() });
    assert_eq!(ask(&mut client).get("id"), None);
    let (_root, _mock, mut client) = faulty(Fault::Stale {
        at: cpus(),
        id: json!("7:0"),
    });
    assert_eq!(ask(&mut client), json!({"return": {}, "id": "7:0"}));
    assert_eq!(client.value()["id"], "7:1");
    let (_root, _mock, mut client) = faulty(Fault::Duplicate { at: cpus() });
    let first = ask(&mut client);
    assert_eq!(first["id"], "7:1");
    assert_eq!(client.value(), first);
}

#[rstest]
#[case("GenericError")]
#[case("ClassOfTheFuture")]
fn errors_of_any_class(#[case] class: &str) {
    let (_root, _mock, mut client) = faulty(Fault::Error {
        command: CPUS.to_owned(),
        class: class.to_owned(),
        desc: "no".to_owned(),
    });
    client.send(format!("{{\"execute\":\"{CPUS}\",\"id\":1}}"));
    assert_eq!(
        client.value(),
        json!({"error": {"class": class, "desc": "no"}, "id": 1})
    );
    assert_eq!(client.ask("query-name")["return"]["name"], "vm100");
}

#[rstest]
#[case(Fault::Garbage { at: cpus(), then: Then::GoOn })]
#[case(Fault::InvalidUtf8 { at: cpus(), then: Then::GoOn })]
fn bytes_that_are_no_json(#[case] fault: Fault) {
    let (_root, _mock, mut client) = faulty(fault);
    client.send(format!("{{\"execute\":\"{CPUS}\"}}"));
    let mut bytes = Vec::new();
    std::io::BufRead::read_until(&mut client.reader, b'\n', &mut bytes).unwrap();
    assert!(
        serde_json::from_slice::<Value>(&bytes).is_err(),
        "{bytes:?}"
    );
    assert_eq!(
        list(&client.value(), "cpu-index"),
        [0, 1, 2, 3],
        "and the true line behind it"
    );
}

#[test]
fn a_long_line_and_a_deep_one() {
    let (_root, _mock, mut client) = faulty(Fault::LongLine {
        at: cpus(),
        mib: 3,
        then: Then::Close,
    });
    client.send(format!("{{\"execute\":\"{CPUS}\"}}"));
    assert!(client.line().unwrap().len() > 3 << 20);
    assert!(client.is_closed());
    let (_root, _mock, mut client) = faulty(Fault::Deep {
        at: cpus(),
        depth: 10_000,
        then: Then::Silence,
    });
    client.send(format!("{{\"execute\":\"{CPUS}\"}}"));
    let line = client.line().unwrap();
    assert_eq!(line.matches('[').count(), 10_000);
    assert_eq!(line.matches(']').count(), 10_000);
    assert!(client.is_silent());
}

/// A client that goes away in the middle of a long line frees the socket.
#[test]
fn a_client_that_leaves_early_does_no_harm() {
    let fault = Fault::LongLine {
        at: cpus(),
        mib: 8,
        then: Then::Silence,
    };
    let (_root, mock) = mock(guest(), Script::healthy().and_on(&[1], fault));
    let mut client = Client::ready(&mock);
    client.send(format!("{{\"execute\":\"{CPUS}\"}}"));
    std::thread::sleep(Duration::from_millis(20));
    drop(client);
    assert_eq!(
        list(&Client::ready(&mock).ask(CPUS), "cpu-index"),
        [0, 1, 2, 3]
    );
}

#[test]
fn faults_strike_the_connections_they_are_meant_for() {
    let script = Script::healthy().and_on(&[1, 3], Fault::Close { at: At::Greeting });
    let (_root, mock) = mock(guest(), script);
    for closed in [true, false, true, false] {
        let mut client = Client::connect(mock.socket());
        if closed {
            assert!(client.is_closed());
        } else {
            assert!(client.value()["QMP"].is_object());
        }
    }
}

#[test]
fn scripts_are_read_strictly_and_name_the_line() {
    let dir = tempdir();
    let path = dir.path().join("script.json");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Script::load(&path)
    };
    let script = load(
        r#"{"rules":[{"fault":"refused"},{"fault":{"dies":{"vcpu":"all"}},"connections":[2]}]}"#,
    );
    let built = Script::of(Fault::Refused).and_on(&[2], Fault::Dies { vcpu: Pick::All });
    assert_eq!(script.unwrap(), built);
    for (text, line) in [
        ("{\"rules\":[\n{\"fault\":\"frob\"}]}", 2),
        (
            "{\"rules\":[{\"fault\":\"refused\",\n\"conections\":[1]}]}",
            2,
        ),
        (
            "{\"rules\":\n[{\"fault\":{\"close\":{\"at\":\"greeting\",\"ms\":1}}}]}",
            2,
        ),
        ("", 1),
    ] {
        let error = load(text).unwrap_err().to_string();
        let place = format!("{}:{line}: ", path.display());
        assert!(error.starts_with(&place), "{error}");
    }
    let absent = Script::load(&dir.path().join("nope.json"))
        .unwrap_err()
        .to_string();
    assert!(absent.contains("nope.json: "), "{absent}");
}
