//! The program `numapin`, built for the tests of this package: they run it as a process, to kill it and to look at what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    numapin_cli::main()
}
