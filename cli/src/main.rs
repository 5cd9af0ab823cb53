//! The program `numapin`.

use std::process::ExitCode;

// musl's own allocator asks the kernel for memory, and gives it back, dozens of times in a short run.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    numapin_cli::main()
}
