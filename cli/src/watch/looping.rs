//! The loop: the clock, the signals and the service manager. What there is to do is done in the rounds.

use std::io;
use std::time::{Duration, Instant};

use numapin_core::root::reason;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::journal::Journal;
use super::notify::Manager;
use super::{Line, Priority, Watch};
use crate::fault::Fault;

/// What wakes the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Something is due.
    Due,
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// Watches until it is told to stop. Masks stay as they are then.
///
/// # Errors
/// Signals can't be waited for.
pub(crate) fn serve(mut watch: Watch) -> Result<(), Fault> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(no_signals)?;
    let mut signals = Signals::new(&runtime).map_err(no_signals)?;
    let (journal, manager) = (Journal::of_stderr(), Manager::of_environment());
    let begin = Instant::now();
    let mut alive = Duration::ZERO;
    // READY is told after the first round: guests that start after this service find it at work.
    let mut ready = false;
    let mut status = String::new();
    loop {
        journal.write(&watch.round(begin.elapsed()));
        let now = begin.elapsed();
        if !ready || status != watch.status() {
            watch.status().clone_into(&mut status);
            let text = NotifyState::Status(&status);
            match ready {
                true => manager.tell(&[text]),
                false => {
                    journal.write(&[line(format!("watching: {status}"))]);
                    manager.tell(&[NotifyState::Ready, text]);
                }
            }
            ready = true;
        }
        let mut wake = watch.next();
        if let Some(every) = manager.every() {
            if now >= alive {
                manager.tell(&[NotifyState::Watchdog]);
                alive = now + every;
            }
            wake = wake.min(alive);
        }
        match runtime.block_on(signals.next(wake.saturating_sub(now))) {
            Event::Due => {}
            Event::Reload => {
                manager.reloading();
                journal.write(&[line("reading everything again, as SIGHUP asks".to_owned())]);
                watch.reload();
                ready = false;
            }
            Event::Stop => {
                manager.tell(&[NotifyState::Stopping]);
                journal.write(&[line("stopping; all masks stay as they are".to_owned())]);
                return Ok(());
            }
        }
    }
}

impl Signals {
    fn new(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self, wait: Duration) -> Event {
        tokio::select! {
            // In this order where several happened: who is to stop reads nothing again.
            biased;
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
            () = tokio::time::sleep(wait) => Event::Due,
        }
    }
}

fn line(text: String) -> Line {
    Line {
        priority: Priority::Info,
        text,
    }
}

fn no_signals(error: io::Error) -> Fault {
    Fault::system(format!("signals can't be waited for: {}", reason(&error)))
}
