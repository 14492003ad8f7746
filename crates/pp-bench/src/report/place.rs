//! Where a report goes: standard output, a file of its own, or between two marks of a file that has other things in it.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Around what is replaced in a file that has both.
const BEGIN: &str = "<!-- bench: begin, written by the command above -->";
const END: &str = "<!-- bench: end -->";

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the report could not be written to {path}: {error}; choose a file in a folder that exists and may be written")]
pub(crate) struct PlaceError {
    path: PathBuf,
    error: std::io::Error,
}

/// Writes `text` to `path`, or to standard output when that is `-`.
pub(crate) fn put(path: &Path, text: &str) -> Result<(), PlaceError> {
    if path.as_os_str() == "-" {
        // A reader that has seen enough, such as `head`, is no error.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    let there = std::fs::read_to_string(path).ok();
    let text = there.and_then(|there| between(&there, text)).unwrap_or_else(|| text.to_owned());
    std::fs::write(path, text).map_err(|error| PlaceError { path: path.into(), error })
}

/// `file` with `text` between its marks, if it has them.
fn between(file: &str, text: &str) -> Option<String> {
    let (before, rest) = file.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, between};

    #[test]
    fn marks_are_kept_and_what_is_between_them_is_not() {
        let file = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = format!("a\n{BEGIN}\nnew\n{END}\nb\n");
        assert_eq!(between(&file, "new\n"), Some(new.clone()));
        assert_eq!(between(&new, "new\n"), Some(new));
        assert_eq!(between("no marks", "new\n"), None);
    }
}
