//! `numapin record`.

use std::fs;
use std::path::Path;

use numapin_core::root::reason;

use crate::Answer;
use crate::args::{Global, Record};
use crate::fault::{Exit, Fault};
use crate::{intent, tell};

/// Writes the host's topology into one text file.
pub(crate) fn run(global: &Global, args: &Record) -> Result<Answer, Fault> {
    let dir = intent::directory(global).unwrap_or(Path::new("/"));
    let mut recording = numapin_sysfs_sim::record(dir).map_err(Fault::malformed)?;
    if let Some(provenance) = &args.provenance {
        recording.provenance.clone_from(provenance);
    }
    for note in &recording.notes {
        tell(note);
    }
    let text = recording.to_string();
    if args.file.as_os_str() == "-" {
        return Ok(Answer {
            out: text,
            exit: Exit::Done,
        });
    }
    fs::write(&args.file, text)
        .map_err(|e| Fault::system(format!("{}: {}", args.file.display(), reason(&e))))?;
    Ok(Answer {
        out: String::new(),
        exit: Exit::Done,
    })
}
