//! An output file that is whole or is not there.
//!
//! A regular file is written under a hidden name beside its own and takes its place only when it is complete. So the
//! output may be the input's own file, and what a failed run leaves behind is what was there before. Anything else
//! (a pipe, a terminal, a descriptor this process began with) has no second name and is written directly; which is
//! which, [`Target`] says.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::target::Target;

const BUFFER: usize = 256 << 10;

/// Why an output is not there. See [`OutputFile`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// It could not be created.
    #[error("can't write {}: {source}; name a file in a directory that exists and that you may write to", .file.display())]
    Create {
        /// What should have been written.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing stopped in the middle.
    #[error("{} was not written: {source}; {}", .file.display(), advice(.source))]
    Write {
        /// What should have been written.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something was written after the end.
    #[error("{} is complete already; open it again to write it anew", .file.display())]
    Complete {
        /// What was complete.
        file: PathBuf,
    },
    /// No file at all. A mistake of the caller, not of whoever named it: `afxdp::AfxdpSink` writes to interfaces.
    #[error("`{name}` is an interface and no file; open it as an AF_XDP port, with the feature `af-xdp` on Linux")]
    Interface {
        /// The port.
        name: crate::port::AfxdpName,
    },
}

/// A buffered file on its way to its name.
///
/// # Examples
///
/// ```
/// use pp_netdev::port::{OutputError, OutputFile};
/// # let folder = tempfile::tempdir()?;
/// let name = folder.path().join("out.bin");
/// let mut output = OutputFile::create(&name)?;
/// output.write(b"whole or ")?;
/// assert!(!name.exists());
/// output.write(b"not there")?;
/// output.finish()?;
/// assert_eq!(std::fs::read(output.file())?, b"whole or not there");
/// assert!(matches!(output.write(b"!"), Err(OutputError::Complete { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OutputFile {
    file: PathBuf,
    /// `None` once it is complete.
    writer: Option<BufWriter<Target>>,
}

// === impl OutputFile ===

impl OutputFile {
    /// Opens the way to `file`; nothing is seen there before [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// The directory is missing or may not be written to, or `file` is one itself.
    pub fn create(file: &Path) -> Result<Self, OutputError> {
        let target = Target::open(file).map_err(|source| OutputError::Create { file: file.to_owned(), source })?;
        Ok(Self { file: file.to_owned(), writer: Some(BufWriter::with_capacity(BUFFER, target)) })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// What the system said, a full disk for one; or the file is complete already.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        match &mut self.writer {
            Some(writer) => writer.write_all(bytes).map_err(|source| write_error(&self.file, source)),
            None => Err(OutputError::Complete { file: self.file.clone() }),
        }
    }

    /// Brings everything to the device and gives the file its name. Twice is as good as once.
    ///
    /// # Errors
    ///
    /// What the system said; what had the name before still has it.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(Target::finish)
            .map_err(|source| write_error(&self.file, source))
    }

    /// The name it was given.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// For writers of other crates; the errors inside are [`OutputError`]s.
impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: [`finish`](OutputFile::finish) brings everything to the device, once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputFile").field("file", &self.file).field("complete", &self.writer.is_none()).finish()
    }
}

// === impl OutputError ===

impl From<OutputError> for io::Error {
    fn from(error: OutputError) -> Self {
        let kind = match &error {
            OutputError::Create { source, .. } | OutputError::Write { source, .. } => source.kind(),
            OutputError::Complete { .. } | OutputError::Interface { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// What helps against what the system said.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::BrokenPipe => "its reader went away, let it read to the end",
        io::ErrorKind::FileTooLarge => "raise the limit of a file's size (ulimit -f) or write less",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space or name another file",
        _ => "name another file",
    }
}

fn write_error(file: &Path, source: io::Error) -> OutputError {
    OutputError::Write { file: file.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn nothing_is_there_before_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out");
        let mut output = OutputFile::create(&file).unwrap();
        output.write(b"some").unwrap();
        assert!(!file.exists());
        output.finish().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"some");
        assert_eq!(names(directory.path()), ["out"]);
        assert!(matches!(output.write(b"more"), Err(OutputError::Complete { .. })));
        output.finish().unwrap();
    }

    #[test]
    fn a_dropped_output_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out");
        fs::write(&file, b"before").unwrap();
        let mut output = OutputFile::create(&file).unwrap();
        output.write(&[0; 2 * BUFFER]).unwrap();
        drop(output);
        assert_eq!(fs::read(&file).unwrap(), b"before");
        assert_eq!(names(directory.path()), ["out"]);
    }

    #[test]
    fn permissions_are_kept_and_links_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("out"), directory.path().join("link"));
        fs::write(&file, b"before").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut output = OutputFile::create(&link).unwrap();
        output.write(b"after").unwrap();
        output.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let directory = tempfile::tempdir().unwrap();
        for bad in [directory.path().to_owned(), directory.path().join("missing/out")] {
            let error = OutputFile::create(&bad).unwrap_err();
            assert!(matches!(error, OutputError::Create { .. }), "{error}");
            assert!(error.to_string().starts_with(&format!("can't write {}: ", bad.display())), "{error}");
        }
    }

    #[test]
    fn a_full_device_is_an_error_at_the_latest_at_the_end() {
        let mut output = OutputFile::create(Path::new("/dev/full")).unwrap();
        output.write(b"little").unwrap();
        let error = output.finish().unwrap_err();
        assert!(error.to_string().contains("No space left on device"), "{error}");
        let mut output = OutputFile::create(Path::new("/dev/full")).unwrap();
        assert!((0..3).any(|_| output.write(&[0; BUFFER / 2 + 1]).is_err()));
    }
}
