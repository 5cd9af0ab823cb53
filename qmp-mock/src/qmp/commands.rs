//! What QEMU answers to a command, and what happens afterwards.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::replies;
use crate::MockError;
use crate::guest::{RunState, Unplug};
use crate::machine::{Cpu, Machine};

/// Answer to a command.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The value of `return`, or the error.
    pub(crate) result: Result<Value, QmpError>,
    /// What happens some time after the answer.
    pub(crate) later: Option<(Duration, Later)>,
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QmpError {
    pub(crate) class: &'static str,
    pub(crate) desc: String,
}

/// What happens after the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Later {
    /// The guest's ACPI tells of a plug or unplug request.
    Ost {
        id: String,
        index: u32,
        source: u32,
        status: u32,
    },
    /// The guest lets a vCPU go.
    Gone { index: u32 },
    /// QEMU ends.
    Quit,
}

/// Time in which a guest takes notice of a request. (Seconds in reality.)
const NOTICE: Duration = Duration::from_millis(20);

type Outcome = Result<(Value, Option<(Duration, Later)>), QmpError>;

impl QmpError {
    pub(crate) fn generic(desc: impl Into<String>) -> Self {
        Self {
            class: "GenericError",
            desc: desc.into(),
        }
    }

    pub(crate) fn not_found(desc: impl Into<String>) -> Self {
        Self {
            class: "CommandNotFound",
            desc: desc.into(),
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        json!({ "class": self.class, "desc": self.desc })
    }
}

impl From<MockError> for QmpError {
    fn from(e: MockError) -> Self {
        Self::generic(e.to_string())
    }
}

/// Runs a command after the capabilities have been negotiated.
pub(crate) fn run(machine: &mut Machine, name: &str, args: &Map<String, Value>) -> Answer {
    let (result, later) = match dispatch(machine, name, args) {
        Ok((value, later)) => (Ok(value), later),
        Err(e) => (Err(e), None),
    };
    Answer { result, later }
}

fn dispatch(machine: &mut Machine, name: &str, args: &Map<String, Value>) -> Outcome {
    let guest = &machine.guest;
    let value = match name {
        "device_add" => return device_add(machine, args),
        "device_del" => return device_del(machine, &text(args, "id")?),
        "human-monitor-command" => return human(machine, &text(args, "command-line")?),
        "object-add" => return object_add(machine, args),
        "object-del" => {
            let id = text(args, "id")?;
            let missing = |_| QmpError::generic(format!("object '{id}' not found"));
            machine.unplug_iothread(&id).map_err(missing)?;
            json!({})
        }
        "qmp_capabilities" => {
            let desc = "Capabilities negotiation is already complete, command ignored";
            return Err(QmpError::not_found(desc));
        }
        _ => {
            let value = match name {
                "query-cpus-fast" => replies::cpus_fast(machine),
                "query-hotpluggable-cpus" => replies::hotpluggable_cpus(machine),
                "query-iothreads" => replies::iothreads(machine),
                "query-status" => replies::status(machine),
                "query-name" => json!({ "name": guest.name }),
                "query-version" => replies::version(guest),
                "query-kvm" => replies::kvm(guest),
                "query-uuid" => json!({ "UUID": "00000000-0000-0000-0000-000000000000" }),
                "query-memdev" => replies::memdev(guest),
                "cont" | "stop" | "quit" | "system_reset" => json!({}),
                _ => {
                    let desc = format!("The command {name} has not been found");
                    return Err(QmpError::not_found(desc));
                }
            };
            if let Some(unknown) = args.keys().next() {
                let desc = format!("Parameter '{unknown}' is unexpected");
                return Err(QmpError::generic(desc));
            }
            value
        }
    };
    match name {
        "cont" => machine.set_state(RunState::Running),
        "stop" => machine.set_state(RunState::Paused),
        "system_reset" => {
            let data = json!({ "guest": false, "reason": "host-qmp-system-reset" });
            machine.tell("RESET", Some(data));
        }
        "quit" => return Ok((value, Some((Duration::ZERO, Later::Quit)))),
        _ => {}
    }
    Ok((value, None))
}

fn device_add(machine: &mut Machine, args: &Map<String, Value>) -> Outcome {
    let driver = text(args, "driver")?;
    let wanted = machine.guest.cpu_type();
    if !driver.ends_with("-x86_64-cpu") {
        let desc = format!("'{driver}' is not a valid device model name");
        return Err(QmpError::generic(desc));
    }
    if driver != wanted {
        let desc = format!("Invalid CPU type, expected cpu type: '{wanted}'");
        return Err(QmpError::generic(desc));
    }
    // Proxmox VE always names it; QEMU calls an unnamed one device[N].
    let id = match args.get("id") {
        Some(_) => text(args, "id")?,
        None => format!("device[{}]", machine.cpus.len()),
    };
    // QEMU looks at the id before it looks at the place.
    if machine
        .cpus
        .iter()
        .any(|cpu| cpu.id.as_deref() == Some(&id))
    {
        return Err(QmpError::generic(format!("Duplicate device ID '{id}'")));
    }
    let guest = &machine.guest;
    let part = |key: &str, count: u32, optional: bool| -> Result<u32, QmpError> {
        match args.get(key).map(|value| (integer(value), value)) {
            None if optional && count == 1 => Ok(0),
            None => Err(QmpError::generic(format!("CPU {key} is not set"))),
            Some((Some(n), _)) => u32::try_from(n).ok().filter(|&n| n < count).ok_or_else(|| {
                let last = count - 1;
                QmpError::generic(format!("Invalid CPU {key}: {n} must be in range 0:{last}"))
            }),
            Some((None, value)) => {
                let desc = format!("Parameter '{key}' expects int64, not {value}");
                Err(QmpError::generic(desc))
            }
        }
    };
    let socket = part("socket-id", guest.sockets, false)?;
    let die = part("die-id", guest.dies, true)?;
    let core = part("core-id", guest.cores, false)?;
    let thread = part("thread-id", guest.threads, false)?;
    let index = ((socket * guest.dies + die) * guest.cores + core) * guest.threads + thread;
    machine.plug(index, &id)?;
    let answers = machine.is_up();
    let ost = Later::Ost {
        id,
        index,
        source: 1,
        status: 0,
    };
    Ok((json!({}), answers.then_some((NOTICE, ost))))
}

fn device_del(machine: &mut Machine, id: &str) -> Outcome {
    let named = |cpu: &&mut Cpu| cpu.id.as_deref() == Some(id) || cpu.qom_path == id;
    let type_name = machine.guest.cpu_type();
    let boots = machine.guest.unplug == Unplug::NotBooted || machine.state == RunState::Prelaunch;
    let Some(cpu) = machine.cpus.iter_mut().find(named) else {
        return Err(QmpError {
            class: "DeviceNotFound",
            desc: format!("Device '{id}' not found"),
        });
    };
    if cpu.index == 0 {
        return Err(QmpError::generic("Boot CPU is unpluggable"));
    }
    if boots {
        let desc =
            format!("acpi: device unplug request for not supported device type: {type_name}");
        return Err(QmpError::generic(desc));
    }
    // Asked again while it is under way: QEMU says yes again, and the guest is asked once.
    let asked = std::mem::replace(&mut cpu.leaving, true);
    let index = cpu.index;
    let later = match machine.guest.unplug {
        _ if asked => None,
        Unplug::After(ms) => Some((Duration::from_millis(ms), Later::Gone { index })),
        Unplug::Never | Unplug::NotBooted => None,
        Unplug::Refused => {
            cpu.leaving = false;
            let ost = Later::Ost {
                id: id.to_owned(),
                index,
                source: 3,
                status: 132,
            };
            Some((NOTICE, ost))
        }
    };
    Ok((json!({}), later))
}

fn object_add(machine: &mut Machine, args: &Map<String, Value>) -> Outcome {
    let kind = text(args, "qom-type")?;
    if kind != "iothread" {
        let desc = format!("Parameter 'qom-type' does not accept value '{kind}'");
        return Err(QmpError::generic(desc));
    }
    machine.plug_iothread(&text(args, "id")?)?;
    Ok((json!({}), None))
}

/// The commands of the human monitor that Proxmox VE uses to plug vCPUs: errors are text, and the answer is a success.
fn human(machine: &mut Machine, line: &str) -> Outcome {
    let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let outcome = match command {
        "device_add" => {
            let mut args = Map::new();
            for (place, part) in rest.split(',').enumerate() {
                match part.split_once('=') {
                    None if place == 0 => args.insert("driver".to_owned(), json!(part)),
                    None => args.insert(part.to_owned(), json!("on")),
                    Some((key, value)) => args.insert(key.to_owned(), json!(value)),
                };
            }
            device_add(machine, &args)
        }
        "device_del" => device_del(machine, rest.trim()),
        _ => return Ok((json!(format!("unknown command: '{command}'\r\n")), None)),
    };
    Ok(match outcome {
        Ok((_, later)) => (json!(""), later),
        Err(e) => (json!(format!("Error: {}\r\n", e.desc)), None),
    })
}

fn text(args: &Map<String, Value>, key: &str) -> Result<String, QmpError> {
    match args.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(QmpError::generic(format!(
            "Invalid parameter type for '{key}', expected: string"
        ))),
        None => Err(QmpError::generic(format!("Parameter '{key}' is missing"))),
    }
}

/// Properties may be numbers or their text.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
