//! What a server can do wrong, at every step.

use rstest::rstest;

use super::*;

const STEPS: [&str; 4] = [
    "waiting for the greeting",
    "waiting for the answer to qmp_capabilities",
    "waiting for the answer to query-cpus-fast",
    "waiting for the answer to query-iothreads",
];

#[rstest]
fn closed_at_every_step(#[values(0, 1, 2, 3)] moment: usize) {
    let (kind, text) = Server::failing(moment, |_| false).told(LONG);
    assert!(matches!(kind, QmpErrorKind::Closed { .. }), "{kind:?}");
    let start = format!("closed by the other side, {}, after ", STEPS[moment]);
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with(" s; did the guest stop?"), "{text}");
}

/// Runs a check at several moments at once: each waits for its deadline.
fn at_once(moments: impl Iterator<Item = usize>, check: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for moment in moments {
            let check = &check;
            scope.spawn(move || check(moment));
        }
    });
}

#[test]
fn silence_at_every_step() {
    at_once(1..4, |moment| {
        let (kind, text) = Server::failing(moment, |_| true).told(SHORT);
        assert!(
            matches!(kind, QmpErrorKind::Silence { unfinished: 0, .. }),
            "{kind:?}"
        );
        let start = format!("silence until the deadline, {}, after ", STEPS[moment]);
        assert!(text.starts_with(&start), "{text}");
        assert!(
            text.ends_with(" s; is QEMU stopped or overloaded? give a longer --deadline"),
            "{text}"
        );
    });
}

#[test]
fn half_a_line_and_silence_at_every_step() {
    at_once(0..4, |moment| {
        let half = |stream: &mut Std| stream.write_all(br#"{"return": {"#).is_ok();
        let (kind, text) = Server::failing(moment, half).told(SHORT);
        assert!(
            matches!(kind, QmpErrorKind::Silence { unfinished: 12, .. }),
            "{kind:?}"
        );
        assert!(text.contains(STEPS[moment]), "{text}");
        assert!(
            text.ends_with("(12 bytes of an unfinished message had come)"),
            "{text}"
        );
    });
}

#[rstest]
fn garbage_at_every_step(#[values(0, 1, 2, 3)] moment: usize) {
    let garbage = |stream: &mut Std| stream.write_all(b"SSH-2.0-OpenSSH\r\n").is_ok();
    let (kind, text) = Server::failing(moment, garbage).told(LONG);
    assert!(matches!(kind, QmpErrorKind::NotQmp { .. }), "{kind:?}");
    let expected = format!(
        "{}: \"SSH-2.0-OpenSSH\\r\\n\" is not a QMP message (expected a JSON object); is this a QMP socket?",
        STEPS[moment]
    );
    assert_eq!(text, expected);
}

#[rstest]
#[case("CommandNotFound")]
#[case("ClassOfTheFuture")]
fn refusals_of_any_class_are_told(#[case] class: &'static str, #[values(1, 2, 3)] moment: usize) {
    let refuse = move |stream: &mut Std| {
        let line = format!(r#"{{"error": {{"class": "{class}", "desc": "no"}}, "id": {moment}}}"#);
        stream.write_all(line.as_bytes()).is_ok()
    };
    let (kind, text) = Server::failing(moment, refuse).told(LONG);
    assert_eq!(kind.word(), "error_reply");
    let command = STEPS[moment].rsplit(' ').next().unwrap();
    assert_eq!(text, format!("QEMU refused {command}: {class}: no"));
}

#[test]
fn what_the_other_side_says_stays_one_line() {
    let refuse = |stream: &mut Std| {
        let line = r#"{"error": {"class": "A\nB", "desc": "no\u001b[31m 'way'\r\n"}}"#;
        stream.write_all(line.as_bytes()).is_ok()
    };
    let (_, text) = Server::failing(1, refuse).told(LONG);
    assert_eq!(text, "QEMU refused qmp_capabilities: A B: no [31m 'way'  ");
}

#[test]
fn a_line_of_64_mib_ends_early() {
    let long = |stream: &mut Std| {
        let _ = stream.write_all(b"{\"return\": \"");
        let chunk = vec![b'x'; 1 << 20];
        // The client closes long before the end.
        (0..64).all(|_| stream.write_all(&chunk).is_ok())
    };
    let (kind, text) = Server::failing(2, long).told(LONG);
    assert_eq!(kind.word(), "not_qmp");
    assert!(text.contains("more than 8388608 bytes"), "{text}");
}

#[test]
fn json_nested_10000_deep_ends_early() {
    let deep = |stream: &mut Std| {
        stream
            .write_all(format!("{{\"return\": {}", "[".repeat(10_000)).as_bytes())
            .is_ok()
    };
    let (kind, text) = Server::failing(2, deep).told(LONG);
    assert_eq!(kind.word(), "not_qmp");
    assert!(text.contains("nested more than 64 levels deep"), "{text}");
}

#[test]
fn another_json_server_is_not_waited_for() {
    let other = |stream: &mut Std| stream.write_all(b"{\"jsonrpc\": \"2.0\"}\n").is_ok();
    let (_, text) = Server::failing(0, other).told(LONG);
    assert_eq!(
        text,
        "the first message is not a QMP greeting; is this a QMP socket?"
    );
}

#[test]
fn an_answer_that_can_not_be_meant_names_its_command() {
    let odd = |stream: &mut Std| {
        stream
            .write_all(b"{\"return\": [{\"cpu-index\": -1}], \"id\": 2}\n")
            .is_ok()
    };
    let server = Server::start(move |listener| {
        let mut client = Client::accept(&listener);
        client.serve(0);
        client.serve(1);
        client.command();
        odd(&mut client.stream);
        client.serve(3);
    });
    let (_, text) = server.told(LONG);
    assert_eq!(
        text,
        "the answer to query-cpus-fast can't be used: entry 0 has cpu-index -1 (expected a number from 0 to 65535)"
    );
}

#[test]
fn a_flood_of_events_ends_at_the_deadline() {
    let flood = |stream: &mut Std| {
        while stream.write_all(b"{\"event\": \"RTC_CHANGE\"}\r\n").is_ok() {}
        false
    };
    let (kind, _) = Server::failing(2, flood).told(SHORT);
    assert_eq!(kind.word(), "silence");
}
