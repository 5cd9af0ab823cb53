//! The names under which kernels of different age write the same set.

use std::fmt;

use crate::cpulist::{each_in_list, parse_mask};
use crate::host::HostError;
use crate::host::error::{Problem, parse, trimmed};
use crate::id::CpuId;
use crate::root::Reader;

/// How a file writes a set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    List,
    Mask,
}

/// The names of one set; the one that was right before is tried first.
pub(super) struct Names {
    names: &'static [(&'static str, Form)],
    first: usize,
}

impl Names {
    pub(super) fn of(names: &'static [(&'static str, Form)]) -> Self {
        Self { names, first: 0 }
    }

    /// Hands on the members of the set as a directory has it; false where it has it under none of the names.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        dir: fmt::Arguments<'_>,
        mut each: impl FnMut(CpuId),
    ) -> Result<bool, HostError> {
        let order = std::iter::once(self.first).chain(0..self.names.len());
        for (nth, choice) in order.enumerate() {
            if nth > 0 && choice == self.first {
                continue;
            }
            let (name, form) = self.names[choice];
            let file = format_args!("{dir}/{name}");
            if parse(reader, file, |text| form.each(text, &mut each))?.is_some() {
                self.first = choice;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Form {
    fn each(self, text: &str, mut each: impl FnMut(CpuId)) -> Result<(), Problem> {
        match self {
            Self::List => each_in_list(text, each)?,
            Self::Mask if trimmed(text).is_empty() => {}
            Self::Mask => parse_mask(text)?.iter().for_each(&mut each),
        }
        Ok(())
    }
}
