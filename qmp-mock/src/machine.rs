//! The machine behind a mock's socket: which vCPUs and iothreads there are, and which threads they have.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::MockError;
use crate::guest::{Accel, Guest, RunState, Unplug, cut_comm};
use crate::threads::{Crew, Places, Threads, write};

/// A vCPU that is there, and its host thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Vcpu {
    /// cpu-index.
    pub index: u32,
    /// The host thread.
    pub tid: u32,
}

/// A vCPU as the machine keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    pub(crate) index: u32,
    pub(crate) tid: u32,
    /// Device id, where it was plugged.
    pub(crate) id: Option<String>,
    pub(crate) qom_path: String,
    /// An unplug request runs.
    pub(crate) leaving: bool,
}

/// What ended a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// QEMU cleaned up: pid file and socket are gone.
    Clean,
    /// The process died: pid file and socket stay.
    Crash,
    /// Nobody answers any more, and everything else stays as it is.
    Left,
}

/// State of one mock QEMU.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) guest: Guest,
    pub(crate) places: Places,
    pub(crate) cpus: Vec<Cpu>,
    /// Oldest first.
    pub(crate) iothreads: Vec<(String, u32)>,
    pub(crate) state: RunState,
    pub(crate) events: broadcast::Sender<Arc<Value>>,
    crew: Crew,
    others: BTreeMap<u32, String>,
    dead: Option<u32>,
    ended: bool,
}

impl Machine {
    /// Makes the process and all of its threads; the pid file is left to [`Self::publish`].
    pub(crate) fn start(guest: Guest, threads: &Threads) -> Result<Self, MockError> {
        guest.check()?;
        let (crew, places) = Crew::start(threads, &guest)?;
        let mut machine = Self {
            state: guest.state,
            guest,
            places,
            cpus: Vec::new(),
            iothreads: Vec::new(),
            events: broadcast::channel(64).0,
            crew,
            others: BTreeMap::new(),
            dead: None,
            ended: false,
        };
        match machine.fill() {
            Ok(()) => Ok(machine),
            Err(e) => {
                machine.end(Ending::Clean);
                Err(e)
            }
        }
    }

    fn fill(&mut self) -> Result<(), MockError> {
        // Iothreads of the command line keep the process's name; only later ones are named.
        let comm = self.guest.process_comm();
        for id in self.guest.iothreads.clone() {
            let tid = self.crew.spawn(&comm, false)?;
            self.iothreads.push((id, tid));
        }
        for index in 0..self.guest.boot_vcpus() {
            // device[1] is the interrupt controller of the first vCPU.
            let device = if index == 0 { 0 } else { index + 1 };
            self.add_cpu(index, None, format!("/machine/unattached/device[{device}]"))?;
        }
        for index in self.guest.plugged.clone() {
            self.plug(index, &format!("cpu{}", index + 1))?;
        }
        Ok(())
    }

    /// Shows the process and writes the pid file: the last thing of a start, so that who sees it finds the rest.
    pub(crate) fn publish(&mut self) -> Result<(), MockError> {
        self.crew.publish()?;
        match &self.places.pid_file {
            Some(path) => write(path, format!("{}\n", self.crew.pid())),
            None => Ok(()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.crew.pid()
    }

    pub(crate) fn main_tid(&self) -> u32 {
        self.crew.main_tid()
    }

    pub(crate) fn vcpus(&self) -> Vec<Vcpu> {
        let cpus = self.cpus.iter();
        cpus.map(|cpu| Vcpu {
            index: cpu.index,
            tid: cpu.tid,
        })
        .collect()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Id of a thread that has ended.
    pub(crate) fn dead_tid(&mut self) -> Result<u32, MockError> {
        if let Some(tid) = self.dead {
            return Ok(tid);
        }
        let tid = self.crew.dead_tid()?;
        self.dead = Some(tid);
        Ok(tid)
    }

    /// Plugs a vCPU under a device id, as device_add does.
    pub(crate) fn plug(&mut self, index: u32, id: &str) -> Result<u32, MockError> {
        self.alive()?;
        let refused = |desc: String| Err(MockError::Refused { desc });
        if self.cpus.iter().any(|cpu| cpu.id.as_deref() == Some(id)) {
            return refused(format!("Duplicate device ID '{id}'"));
        }
        if self.cpus.iter().any(|cpu| cpu.index == index) {
            return refused(format!("CPU[{index}] with APIC ID {index} exists"));
        }
        if index >= self.guest.max_vcpus() {
            return Err(self.missing(format!("vCPU {index}")));
        }
        self.add_cpu(
            index,
            Some(id.to_owned()),
            format!("/machine/peripheral/{id}"),
        )
    }

    fn add_cpu(
        &mut self,
        index: u32,
        id: Option<String>,
        qom_path: String,
    ) -> Result<u32, MockError> {
        let shared = match self.guest.accel {
            Accel::TcgSingle => self.cpus.first().map(|cpu| cpu.tid),
            Accel::Kvm | Accel::TcgMulti => None,
        };
        let tid = match shared {
            Some(tid) => tid,
            None => self.crew.spawn(&self.vcpu_comm(index), self.guest.busy)?,
        };
        self.cpus.push(Cpu {
            index,
            tid,
            id,
            qom_path,
            leaving: false,
        });
        Ok(tid)
    }

    /// The vCPU is gone, its thread too; DEVICE_DELETED tells it of a plugged one.
    pub(crate) fn unplug(&mut self, index: u32) -> Result<(), MockError> {
        self.alive()?;
        let place = self.place_of(index)?;
        let cpu = self.cpus.remove(place);
        if !self.cpus.iter().any(|other| other.tid == cpu.tid) {
            self.crew.end(cpu.tid)?;
        }
        if let Some(id) = cpu.id {
            self.tell(
                "DEVICE_DELETED",
                Some(json!({ "device": id, "path": cpu.qom_path })),
            );
        }
        Ok(())
    }

    /// The thread of a vCPU ends while the vCPU stays listed with it.
    pub(crate) fn kill_vcpu_thread(&mut self, index: u32) -> Result<(), MockError> {
        self.alive()?;
        let tid = self.cpus[self.place_of(index)?].tid;
        self.crew.end(tid)
    }

    /// The thread of a vCPU ends and another one takes its place.
    pub(crate) fn replace_vcpu_thread(&mut self, index: u32) -> Result<u32, MockError> {
        self.kill_vcpu_thread(index)?;
        let place = self.place_of(index)?;
        let tid = self.crew.spawn(&self.vcpu_comm(index), self.guest.busy)?;
        let old = self.cpus[place].tid;
        // Round-robin TCG: they all move to the new thread.
        for cpu in self.cpus.iter_mut().filter(|cpu| cpu.tid == old) {
            cpu.tid = tid;
        }
        Ok(tid)
    }

    pub(crate) fn plug_iothread(&mut self, id: &str) -> Result<u32, MockError> {
        self.alive()?;
        if self.iothreads.iter().any(|(other, _)| other == id) {
            let desc =
                format!("attempt to add duplicate property '{id}' to object (type 'container')");
            return Err(MockError::Refused { desc });
        }
        let comm = if self.guest.debug_threads {
            cut_comm(&format!("IO {id}"))
        } else {
            self.guest.process_comm()
        };
        let tid = self.crew.spawn(&comm, false)?;
        self.iothreads.push((id.to_owned(), tid));
        Ok(tid)
    }

    pub(crate) fn unplug_iothread(&mut self, id: &str) -> Result<(), MockError> {
        self.alive()?;
        let place = self.iothreads.iter().position(|(other, _)| other == id);
        let Some(place) = place else {
            return Err(self.missing(format!("iothread {id:?}")));
        };
        let (_, tid) = self.iothreads.remove(place);
        self.crew.end(tid)
    }

    /// Any other thread, such as a worker or a vhost task.
    pub(crate) fn add_thread(&mut self, comm: &str) -> Result<u32, MockError> {
        self.alive()?;
        let comm = cut_comm(comm);
        let tid = self.crew.spawn(&comm, false)?;
        self.others.insert(tid, comm);
        Ok(tid)
    }

    /// Ends a thread that [`Self::add_thread`] made.
    pub(crate) fn end_thread(&mut self, tid: u32) -> Result<(), MockError> {
        self.alive()?;
        match self.others.remove(&tid) {
            Some(_) => self.crew.end(tid),
            None => Err(self.missing(format!("added thread {tid}"))),
        }
    }

    /// Changes the run state, with the event that belongs to it.
    pub(crate) fn set_state(&mut self, state: RunState) {
        let was = std::mem::replace(&mut self.state, state);
        match (was == RunState::Running, state == RunState::Running) {
            (false, true) => self.tell("RESUME", None),
            (true, false) => self.tell("STOP", None),
            _ => {}
        }
    }

    /// Tells that the guest has taken a plugged vCPU; without a running system nothing answers.
    pub(crate) fn tell_plugged(&self, id: &str, index: u32) {
        if self.is_up() {
            self.tell_ost(id, index, 1, 0);
        }
    }

    /// Whether a system runs in the guest that answers to plugging.
    pub(crate) fn is_up(&self) -> bool {
        self.state == RunState::Running && self.guest.unplug != Unplug::NotBooted
    }

    /// What the guest's ACPI answers to a plug or unplug request, as QEMU passes it on.
    pub(crate) fn tell_ost(&self, id: &str, index: u32, source: u32, status: u32) {
        let info = json!({
            "device": id, "source": source, "status": status, "slot": index.to_string(), "slot-type": "CPU"
        });
        self.tell("ACPI_DEVICE_OST", Some(json!({ "info": info })));
    }

    /// Sends an event to the client, if there is one.
    pub(crate) fn tell(&self, name: &str, data: Option<Value>) {
        // No client, nobody to tell.
        let _ = self.events.send(Arc::new(event(name, data)));
    }

    /// Ends the machine; the second time nothing is done.
    pub(crate) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if ending == Ending::Left {
            return;
        }
        if ending == Ending::Clean {
            let pid_file = self.places.pid_file.iter();
            for path in pid_file.chain([&self.places.socket]) {
                // Never made, or removed by somebody else.
                let _ = fs::remove_file(path);
            }
        }
        self.crew.end_all();
    }

    fn vcpu_comm(&self, index: u32) -> String {
        if !self.guest.debug_threads {
            return self.guest.process_comm();
        }
        cut_comm(&match self.guest.accel {
            Accel::Kvm => format!("CPU {index}/KVM"),
            Accel::TcgMulti => format!("CPU {index}/TCG"),
            Accel::TcgSingle => "ALL CPUs/TCG".to_owned(),
        })
    }

    fn place_of(&self, index: u32) -> Result<usize, MockError> {
        let place = self.cpus.iter().position(|cpu| cpu.index == index);
        place.ok_or_else(|| self.missing(format!("vCPU {index}")))
    }

    fn alive(&self) -> Result<(), MockError> {
        if self.ended {
            return Err(MockError::Ended {
                guest: self.guest.name.clone(),
            });
        }
        Ok(())
    }

    fn missing(&self, what: String) -> MockError {
        MockError::Missing {
            guest: self.guest.name.clone(),
            what,
        }
    }
}

/// An event as QEMU sends it, with the time.
pub(crate) fn event(name: &str, data: Option<Value>) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut event = json!({
        "timestamp": { "seconds": now.as_secs(), "microseconds": now.subsec_micros() },
        "event": name,
    });
    if let Some(data) = data {
        event["data"] = data;
    }
    event
}
