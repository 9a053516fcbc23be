//! The command's own words, apart from its log.

use std::io::Write as _;

/// One line for the user on stdout. A closed pipe is no fault.
pub fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", line.as_ref());
}

/// One line for the user on stderr.
pub fn fail(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}
