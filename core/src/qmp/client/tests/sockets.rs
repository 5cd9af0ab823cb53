//! Sockets that are busy, dead, deep, or none.

use rstest::rstest;

use super::*;

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
    assert!(error.is_busy());
    let text = error.to_string();
    assert!(
        text.contains(": no greeting within ") && text.contains("another client is being served"),
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
        error.to_string().contains("no connection within "),
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
