//! Where a report goes: standard output, a file of its own, or between two marks of a file that has other things in it.

use std::io::{self, Write};
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
    write(path, text).map_err(|error| PlaceError { path: path.into(), error })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // A device or a pipe has nothing in it that could be kept, and may have no end.
    let is_file = match std::fs::metadata(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        there => there.is_ok_and(|there| there.is_file()),
    };
    if !is_file {
        return std::fs::write(path, text);
    }
    let old = std::fs::read_to_string(path)?;
    let new = between(&old, text)?;
    let written = std::fs::write(path, new.as_deref().unwrap_or(text));
    if written.is_err() {
        // A full disk has room for what was there before.
        let _ = std::fs::write(path, old);
    }
    written
}

/// `file` with `text` between its marks, or `None` if it has none. One alone is an error: whoever wrote it wants the rest of the file kept.
fn between(file: &str, text: &str) -> io::Result<Option<String>> {
    let marks = file.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match marks {
        Some((before, after)) => Ok(Some(format!("{before}{BEGIN}\n{text}{END}{after}"))),
        None if file.contains(BEGIN) || file.contains(END) => {
            let why = format!("it has not both marks, `{BEGIN}` and, after it, `{END}`");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BEGIN, END, between, put};

    #[test]
    fn a_report_that_does_not_fit_says_so_and_leaves_what_is_there() {
        let full = Path::new("/dev/full");
        if full.exists() {
            let error = put(full, "text").unwrap_err().to_string();
            assert!(error.starts_with("the report could not be written to /dev/full: "), "{error}");
        }
        let folder = std::env::temp_dir().join(format!("pp-bench-place-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("README.md");
        // No text, so nobody can say what of it is between marks.
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(put(&file, "new").is_err());
        assert_eq!(std::fs::read(&file).unwrap(), [0xff, 0xfe]);
        std::fs::write(&file, format!("a\n{BEGIN}\nb\n")).unwrap();
        assert!(put(&file, "new\n").is_err(), "one mark alone");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("a\n{BEGIN}\nb\n"));
        std::fs::write(&file, format!("a\n{BEGIN}\n{END}\nb\n")).unwrap();
        put(&file, "new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn marks_are_kept_and_what_is_between_them_is_not() {
        let file = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = format!("a\n{BEGIN}\nnew\n{END}\nb\n");
        assert_eq!(between(&file, "new\n").unwrap(), Some(new.clone()));
        assert_eq!(between(&new, "new\n").unwrap(), Some(new));
        assert_eq!(between("no marks", "new\n").unwrap(), None);
    }
}
