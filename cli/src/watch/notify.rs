//! What systemd is told (sd_notify(3)): when the watch is ready, that it is alive, what it does, when it reloads and stops.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, where one is told of in the environment.
pub(super) struct Manager {
    socket: Option<OsString>,
    /// How often it wants to hear that the watch is alive; half of it is how often it is told.
    watchdog: Option<Duration>,
}

impl Manager {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say.
    pub(super) fn of_environment() -> Self {
        Self {
            socket: env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: sd_notify::watchdog_enabled().filter(|every| !every.is_zero()),
        }
    }

    /// How often the watch says that it is alive.
    pub(super) fn every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// Tells it something. Nobody is helped by a watch that ends because nobody listens.
    pub(super) fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(socket) = &self.socket {
            let _ = send(socket, &message(states));
        }
    }

    /// Tells it that the settings are read again, and since when: `Type=notify-reload` waits for a `READY` after that time.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }
}

fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

/// A name that begins with `@` is one of the abstract namespace, where there are no files.
fn send(socket: &OsString, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // The manager may be busy for a moment, but never long enough to hold up the guests.
    sender.set_write_timeout(Some(Duration::from_secs(1)))?;
    sender.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: OsString, listener: &UnixDatagram) -> String {
        let manager = Manager {
            socket: Some(socket),
            watchdog: None,
        };
        manager.tell(&[NotifyState::Ready, NotifyState::Status("2 guest(s)")]);
        let mut text = [0; 200];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn sockets_are_files_or_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("numapin-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let expected = "READY=1\nSTATUS=2 guest(s)\n";
        assert_eq!(received(path.into(), &by_path), expected);
        assert_eq!(received(format!("@{name}").into(), &by_name), expected);
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        let nobody = Manager {
            socket: Some("/nowhere/at/all".into()),
            watchdog: Some(Duration::from_secs(60)),
        };
        nobody.tell(&[NotifyState::Watchdog]);
        assert_eq!(nobody.every(), Some(Duration::from_secs(30)));
    }
}
