//! Stand-ins between a transaction and the kernel: they count what is asked, and refuse at a chosen call.

use std::cell::{Cell, RefCell};

use numapin_core::apply::{Affinity, AffinityError, Thread};
use numapin_core::idset::CpuSet;

/// Passes everything on, and refuses one call.
pub struct FailsAt {
    inner: Box<dyn Affinity>,
    at: usize,
    with: fn() -> AffinityError,
    calls: Cell<usize>,
    refused: Cell<bool>,
}

/// Passes everything on, and keeps the threads whose masks were to be set, in order.
pub struct Watched {
    inner: Box<dyn Affinity>,
    sets: RefCell<Vec<Thread>>,
}

impl FailsAt {
    /// The set call of this number (from 0) fails with this error; those before and after are passed on.
    #[must_use]
    pub fn new(inner: Box<dyn Affinity>, at: usize, with: fn() -> AffinityError) -> Self {
        Self {
            inner,
            at,
            with,
            calls: Cell::new(0),
            refused: Cell::new(false),
        }
    }

    /// Whether the call came.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.refused.get()
    }
}

impl Watched {
    /// Watches this one.
    #[must_use]
    pub fn new(inner: Box<dyn Affinity>) -> Self {
        Self {
            inner,
            sets: RefCell::default(),
        }
    }

    /// The threads that masks were set of since the last question.
    pub fn take(&self) -> Vec<Thread> {
        self.sets.take()
    }
}

impl Affinity for FailsAt {
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
        let call = self.calls.replace(self.calls.get() + 1);
        if call == self.at {
            self.refused.set(true);
            return Err((self.with)());
        }
        self.inner.set(thread, cpus)
    }

    fn is_there(&self, thread: Thread) -> bool {
        self.inner.is_there(thread)
    }

    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
        self.inner.get(thread)
    }
}

impl Affinity for Watched {
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
        self.sets.borrow_mut().push(thread);
        self.inner.set(thread, cpus)
    }

    fn is_there(&self, thread: Thread) -> bool {
        self.inner.is_there(thread)
    }

    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
        self.inner.get(thread)
    }
}
