//! The program `numapin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    numapin_cli::main()
}
