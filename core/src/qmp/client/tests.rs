use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream as Std};
use std::thread::{self, JoinHandle};

use rstest::rstest;
use tempfile::TempDir;

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}"#;
const CPUS: &str =
    r#"[{"thread-id": 4711, "props": {"node-id": 1}, "cpu-index": 0, "target": "x86_64"}]"#;
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

/// A server that greets and answers, and what it does instead at one moment: 0 is the greeting, 1 the first command.
struct Server {
    dir: TempDir,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(script: impl FnOnce(UnixListener) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("qmp")).unwrap();
        let thread = thread::spawn(move || script(listener));
        Self { dir, thread }
    }

    /// At the given moment `instead` is done, and the connection held until the client has closed it.
    fn failing(moment: usize, instead: impl FnOnce(&mut Std) -> bool + Send + 'static) -> Self {
        Self::start(move |listener| {
            let mut client = Client::accept(&listener);
            for now in 0..moment {
                client.serve(now);
            }
            if moment > 0 {
                client.command();
            }
            if instead(&mut client.stream) {
                client.wait_for_close();
            }
        })
    }

    fn ask(self, deadline: Duration) -> Result<Answer, QmpError> {
        let answer = self.ask_all(deadline, Questions::default());
        self.thread.join().unwrap();
        answer
    }

    fn ask_all(&self, deadline: Duration, questions: Questions) -> Result<Answer, QmpError> {
        ask(&self.dir.path().join("qmp"), deadline, questions)
    }

    fn told(self, deadline: Duration) -> (QmpErrorKind, String) {
        let dir = self.dir.path().display().to_string();
        let error = self.ask(deadline).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("qmp socket {dir}/qmp: ")),
            "{text}"
        );
        (
            *error.kind,
            text[dir.len() + "qmp socket /qmp: ".len()..].to_owned(),
        )
    }
}

struct Client {
    stream: Std,
    lines: BufReader<Std>,
}

impl Client {
    fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines }
    }

    fn say(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }

    /// The next command with its id; `None` once the client has closed.
    fn command(&mut self) -> Option<(String, Value)> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let command: Value = serde_json::from_str(&line).ok()?;
        Some((
            command["execute"].as_str().unwrap().to_owned(),
            command["id"].clone(),
        ))
    }

    fn serve(&mut self, moment: usize) {
        if moment == 0 {
            return self.say(GREETING);
        }
        if let Some((name, id)) = self.command() {
            let answer = answer_to(&name);
            self.say(&format!(r#"{{"return": {answer}, "id": {id}}}"#));
        }
    }

    fn wait_for_close(&mut self) {
        while self.command().is_some() {}
    }
}

fn answer_to(command: &str) -> &'static str {
    match command {
        "query-cpus-fast" => CPUS,
        "query-iothreads" => r#"[{"id": "iothread0", "thread-id": 4710}]"#,
        "query-hotpluggable-cpus" => r#"[{"vcpus-count": 1, "type": "x"}]"#,
        _ => "{}",
    }
}

#[test]
fn a_whole_conversation_is_told_and_closed() {
    let server = Server::start(|listener| {
        for commands in [3, 4] {
            let mut client = Client::accept(&listener);
            (0..=commands).for_each(|moment| client.serve(moment));
            assert_eq!(client.command(), None, "the client closes at once");
        }
    });
    let answer = server.ask_all(LONG, Questions::default()).unwrap();
    assert_eq!(answer.peer, Some(Pid(std::process::id().cast_signed())));
    assert_eq!(answer.version.as_deref(), Some("10.0.2"));
    assert_eq!(
        (answer.vcpus[0].tid.0, &*answer.iothreads[0].id),
        (4711, "iothread0")
    );
    assert_eq!(answer.raw.hotpluggable, None);
    let answer = server
        .ask_all(LONG, Questions { hotpluggable: true })
        .unwrap();
    assert_eq!(answer.raw.hotpluggable.unwrap()[0]["vcpus-count"], 1);
    assert_eq!(answer.raw.cpus[0]["cpu-index"], 0);
    server.thread.join().unwrap();
}

#[test]
fn events_stale_ids_and_what_is_not_known_are_passed_over() {
    let server = Server::start(|listener| {
        let mut client = Client::accept(&listener);
        client.say(r#"{"event": "RESUME"}"#);
        client.say(r#"{"return": "stale", "id": 99}"#);
        client.say(GREETING);
        while let Some((name, id)) = client.command() {
            client.say(r#"{"event": "NEVER_HEARD_OF", "data": {"x": [1, {"y": null}]}}"#);
            client.say(r#"{"return": [], "id": 77}"#);
            client.say(r#"{"error": {"class": "GenericError", "desc": "late"}, "id": "1:1"}"#);
            client.say(r#"{"something": "new"}"#);
            client.say(GREETING);
            client.say(&format!(
                r#"{{"return": {}, "id": {id}, "hint": 1}}"#,
                answer_to(&name)
            ));
        }
    });
    assert_eq!(server.ask(LONG).unwrap().vcpus.len(), 1);
}

#[test]
fn answers_without_an_id_are_ours() {
    let server = Server::start(|listener| {
        let mut client = Client::accept(&listener);
        client.say(GREETING);
        while let Some((name, _)) = client.command() {
            client.say(&format!(r#"{{"return": {}}}"#, answer_to(&name)));
        }
    });
    assert_eq!(server.ask(LONG).unwrap().vcpus.len(), 1);
}

#[test]
fn a_machine_without_hotpluggable_cpus_is_no_failure() {
    let server = Server::start(|listener| {
        let mut client = Client::accept(&listener);
        (0..=3).for_each(|moment| client.serve(moment));
        let (_, id) = client.command().unwrap();
        client.say(&format!(r#"{{"error": {{"class": "GenericError", "desc": "The feature is not enabled"}}, "id": {id}}}"#));
    });
    let answer = server
        .ask_all(LONG, Questions { hotpluggable: true })
        .unwrap();
    assert_eq!(answer.raw.hotpluggable, None);
    server.thread.join().unwrap();
}

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
    let expected = format!(
        "closed by the other side, {}, after 0.0 s; did the guest stop?",
        STEPS[moment]
    );
    assert_eq!(text, expected);
}

#[rstest]
fn silence_at_every_step(#[values(1, 2, 3)] moment: usize) {
    let (kind, text) = Server::failing(moment, |_| true).told(SHORT);
    assert!(
        matches!(kind, QmpErrorKind::Silence { unfinished: 0, .. }),
        "{kind:?}"
    );
    let step = STEPS[moment];
    let start = format!("silence until the deadline, {step}, after 0.");
    assert!(text.starts_with(&start), "{text}");
}

#[rstest]
fn half_a_line_and_silence_at_every_step(#[values(0, 1, 2, 3)] moment: usize) {
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

#[test]
fn a_busy_socket_is_served_when_the_other_client_closes() {
    let server = Server::start(|listener| {
        let other = Client::accept(&listener);
        thread::sleep(Duration::from_millis(200));
        drop(other);
        let mut client = Client::accept(&listener);
        (0..=3).for_each(|moment| client.serve(moment));
    });
    let holder = Std::connect(server.dir.path().join("qmp")).unwrap();
    assert_eq!(server.ask(LONG).unwrap().vcpus.len(), 1);
    drop(holder);
}

#[test]
fn a_socket_that_stays_busy_gives_no_greeting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = ask(&path, SHORT, Questions::default()).unwrap_err();
    assert!(error.kind.is_busy());
    let text = error.to_string();
    assert!(
        text.contains(": no greeting within 0.") && text.contains("another client is being served"),
        "{text}"
    );
    assert!(error.waited >= SHORT && error.waited < LONG);
}

#[test]
fn a_full_queue_is_tried_again_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp");
    // QEMU listens with a backlog of 1: two clients wait, a third is turned away.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listen = async {
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        socket.listen(1).unwrap()
    };
    let listener = runtime.block_on(listen);
    let waiting = [Std::connect(&path).unwrap(), Std::connect(&path).unwrap()];
    let error = ask(&path, SHORT, Questions::default()).unwrap_err();
    assert!(matches!(*error.kind, QmpErrorKind::Busy), "{error:?}");
    assert!(
        error.to_string().contains("no connection within 0."),
        "{error}"
    );
    drop((waiting, listener));
}

#[test]
fn a_socket_nobody_listens_on_is_refused_soon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp");
    drop(UnixListener::bind(&path).unwrap());
    let error = ask(&path, LONG, Questions::default()).unwrap_err();
    assert_eq!(error.kind.word(), "refused");
    assert!(error.waited < Duration::from_secs(5));
    assert!(
        error
            .to_string()
            .ends_with("its QEMU has ended and left the file; start the guest again")
    );
}

#[rstest]
#[case("absent", "no_socket")]
#[case("file/below", "no_socket")]
#[case("file", "not_a_socket")]
#[case("", "not_a_socket")]
fn paths_without_a_socket_are_told(#[case] name: &str, #[case] word: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = ask(&dir.path().join(name), LONG, Questions::default()).unwrap_err();
    assert_eq!(error.kind.word(), word, "{error}");
}

#[test]
fn sockets_below_deep_roots_are_reached() {
    let server = Server::start(|listener| {
        let mut client = Client::accept(&listener);
        (0..=3).for_each(|moment| client.serve(moment));
    });
    let deep = server
        .dir
        .path()
        .join("d".repeat(120))
        .join("e".repeat(200));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("100.qmp");
    std::fs::rename(server.dir.path().join("qmp"), &path).unwrap();
    assert_eq!(
        ask(&path, LONG, Questions::default()).unwrap().vcpus.len(),
        1
    );
    server.thread.join().unwrap();
}

#[test]
fn a_question_from_within_a_runtime_is_answered() {
    let server = Server::start(|listener| {
        let mut client = Client::accept(&listener);
        (0..=3).for_each(|moment| client.serve(moment));
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async { server.ask_all(Duration::MAX, Questions::default()) });
    assert_eq!(answer.unwrap().vcpus.len(), 1);
    server.thread.join().unwrap();
}
