use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream as Std};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tempfile::TempDir;

use super::*;

mod faults;
mod sockets;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}"#;
const CPUS: &str =
    r#"[{"thread-id": 4711, "props": {"node-id": 1}, "cpu-index": 0, "target": "x86_64"}]"#;
const LONG: Duration = Duration::from_secs(20);
/// Long enough for a conversation on a busy machine.
const SHORT: Duration = Duration::from_millis(600);

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
    assert_eq!(answer.slots, None);
    let answer = server
        .ask_all(LONG, Questions { hotpluggable: true })
        .unwrap();
    assert_eq!(answer.slots.unwrap()[0].vcpus, 1);
    assert_eq!(answer.vcpus[0].index.0, 0);
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
    assert_eq!(answer.slots, None);
    server.thread.join().unwrap();
}
