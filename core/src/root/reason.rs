//! What the system says of a file, as numapin's messages say things.

use std::io;
use std::path::PathBuf;

/// A file or directory that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), reason(source))]
pub struct FileError {
    /// Which one.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What an error of the system says, without its number and in lower case; where privilege is lacking, what to do.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        return text;
    };
    let text = text.strip_suffix(&format!(" (os error {number})"));
    let mut text = text.map_or_else(|| error.to_string(), str::to_owned);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => text + "; run as root",
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(io::Error::from_raw_os_error(2), "no such file or directory")]
    #[case(io::Error::from_raw_os_error(13), "permission denied; run as root")]
    #[case(io::Error::from_raw_os_error(28), "no space left on device")]
    #[case(
        io::Error::other("it changed while it was edited"),
        "it changed while it was edited"
    )]
    fn the_system_speaks_as_numapin_does(#[case] error: io::Error, #[case] says: &str) {
        assert_eq!(reason(&error), says);
    }
}
