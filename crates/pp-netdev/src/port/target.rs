//! Where an output's bytes go until it is complete.
//!
//! | the name leads to | bytes go to |
//! |---|---|
//! | nothing yet, or a regular file | a hidden file beside it, renamed when complete |
//! | a descriptor of this process (`/dev/stdout`, `/proc/self/fd/3`) | that descriptor, where it stands, nothing cut off |
//! | a pipe, a device, a socket | it |
//!
//! A name is judged by what it leads to and not by how it begins: `/dev/shm/x` is a file like others, and a link to
//! `/dev/stdout` is standard output.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::{NamedTempFile, TempPath};

/// Links that may follow each other, as in the kernel.
const MAX_LINKS: usize = 40;

/// Of a hidden name, the most that comes from the name it stands for: the whole must fit where names are short.
const MAX_HINT: usize = 128;

/// The hidden files there are, for [`remove_unfinished`].
static HIDDEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub(super) enum Target {
    /// What a name will be when all is written.
    Hidden(Hidden),
    /// Written as it comes.
    Direct(File),
}

/// A file under a hidden name, removed unless it is given its own.
pub(super) struct Hidden {
    file: File,
    /// `None` once it is where it belongs.
    path: Option<TempPath>,
    place: PathBuf,
}

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A descriptor of this process.
    Descriptor(u32),
    /// A file or a name that is free, without links on the way.
    Path(PathBuf),
}

/// Removes the hidden files of every output that is not complete: the last thing before a process ends without dropping
/// what it has. No output can be begun or completed afterwards; whoever tries waits for ever.
///
/// # Examples
///
/// ```no_run
/// // In a second Ctrl-C's handler thread: at once, and without leaving anything behind.
/// pp_netdev::port::remove_unfinished();
/// std::process::exit(130);
/// ```
pub fn remove_unfinished() {
    let hidden = hidden_files();
    for path in &*hidden {
        // Nobody is left to be told.
        let _ = fs::remove_file(path);
    }
    std::mem::forget(hidden);
}

/// Names are added and taken out whole, so a panic elsewhere leaves nothing half done.
fn hidden_files() -> MutexGuard<'static, Vec<PathBuf>> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Target ===

impl Target {
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        let path = match Place::of(file)? {
            Place::Descriptor(number) => return descriptor(number).map(Self::Direct),
            Place::Path(path) => path,
        };
        let mode = match fs::metadata(&path) {
            // Whoever may replace a file by its directory may not therefore write it: ask, and keep what it allows.
            Ok(there) => {
                let opened = OpenOptions::new().write(true).open(&path)?;
                if !there.is_file() {
                    return Ok(Self::Direct(opened));
                }
                there.permissions().mode()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0o666,
            Err(error) => return Err(error),
        };
        Hidden::create(path, mode).map(Self::Hidden)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Hidden(hidden) => hidden.finish(),
            Self::Direct(mut file) => file.flush(),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Hidden(hidden) => hidden.file.write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Another handle on a descriptor, with its offset.
fn descriptor(number: u32) -> io::Result<File> {
    let owned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        // The others belong to nobody that could be asked for them: opened again, to go on where they stand.
        _ => return opened_again(number),
    };
    owned.map(File::from)
}

fn opened_again(number: u32) -> io::Result<File> {
    const O_APPEND: u64 = 0o2000;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let append = u64::from_str_radix(field("flags:"), 8).is_ok_and(|flags| flags & O_APPEND != 0);
    let mut file = OpenOptions::new().write(true).append(append).open(format!("/proc/self/fd/{number}"))?;
    if file.metadata()?.is_file() {
        file.seek(SeekFrom::Start(field("pos:").parse().unwrap_or_default()))?;
    }
    Ok(file)
}

// === impl Hidden ===

impl Hidden {
    fn create(place: PathBuf, mode: u32) -> io::Result<Self> {
        let directory = place.parent().unwrap_or(Path::new("/"));
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let hint = &name[..name.floor_char_boundary(MAX_HINT)];
        // Held until the name is in the list, so that no hidden file is missed.
        let mut hidden = hidden_files();
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{hint}."))
            .suffix(".part")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)
            .map_err(without_path)?;
        hidden.push(temporary.path().to_owned());
        drop(hidden);
        let (file, path) = NamedTempFile::into_parts(temporary);
        Ok(Self { file, path: Some(path), place })
    }

    fn finish(mut self) -> io::Result<()> {
        // Some file systems tell of a full disk only here.
        self.file.sync_all()?;
        let Some(path) = self.path.take() else { return Ok(()) };
        let mut hidden = hidden_files();
        hidden.retain(|one| *one != *path);
        path.persist(&self.place).map_err(|error| error.error)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let mut hidden = hidden_files();
            hidden.retain(|one| *one != *path);
            // Removes it, before anybody looks at the list again.
            drop(path);
        }
    }
}

/// What the system said, without the hidden name that nobody gave.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    text.split_once(" at path \"").map(|(said, _)| io::Error::new(error.kind(), said)).unwrap_or(error)
}

// === impl Place ===

impl Place {
    /// Follows `file`, also where its last link leads to nothing yet.
    fn of(file: &Path) -> io::Result<Self> {
        let own = fs::canonicalize("/proc/self").ok();
        let mut path = file.to_owned();
        for _ in 0..MAX_LINKS {
            if [&b"/"[..], b"/."].iter().any(|end| path.as_os_str().as_bytes().ends_with(end)) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            // `.`, `..` and `/`: nothing that could be a file.
            let Some(name) = path.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
            let parent = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            let parent = fs::canonicalize(parent)?;
            if own.as_ref().is_some_and(|own| parent.starts_with(own))
                && parent.file_name() == Some(OsStr::new("fd"))
                && let Some(number) = name.to_str().and_then(|name| name.parse().ok())
            {
                fs::symlink_metadata(parent.join(name))?;
                return Ok(Self::Descriptor(number));
            }
            let place = parent.join(name);
            match fs::read_link(&place) {
                Ok(link) => path = parent.join(link),
                // No link, or nothing yet.
                Err(_) => return Ok(Self::Path(place)),
            }
        }
        // What the system says of such a chain.
        fs::metadata(file).map(|_| Self::Path(file.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::port::OutputFile;

    #[test]
    fn a_name_is_judged_by_what_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let [link, dangling, chain] = ["link", "dangling", "chain"].map(|name| root.join(name));
        symlink("/dev/stdout", &link).unwrap();
        symlink("free", &dangling).unwrap();
        symlink("chain", &chain).unwrap();
        let standard = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "/dev/fd/../fd/1"];
        for name in standard.map(Path::new).into_iter().chain([&*link]) {
            assert_eq!(Place::of(name).unwrap(), Place::Descriptor(1), "{}", name.display());
        }
        assert_eq!(Place::of(&dangling).unwrap(), Place::Path(root.join("free")));
        for name in ["/dev/null", "/dev/shm/x", "/dev/typo"] {
            assert_eq!(Place::of(Path::new(name)).unwrap(), Place::Path(name.into()));
        }
        assert!(Place::of(&chain).is_err());
        assert!(Place::of(Path::new("/proc/self/fd/4000")).is_err());
        for name in ["new/", "new/.", ".", "..", "/", "missing/new"] {
            assert!(Place::of(&root.join(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn files_under_dev_and_proc_are_files() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("!!!! SKIPPED: no /dev/shm here");
            return;
        };
        let file = directory.path().join("out");
        let through = Path::new("/proc/self/root").join(file.strip_prefix("/").unwrap());
        for name in [&file, &through] {
            fs::write(&file, b"before").unwrap();
            let mut output = OutputFile::create(name).unwrap();
            output.write(b"after").unwrap();
            assert_eq!(fs::read(&file).unwrap(), b"before", "{}", name.display());
            drop(output);
            assert_eq!(fs::read(&file).unwrap(), b"before", "{}", name.display());
            let mut output = OutputFile::create(name).unwrap();
            output.write(b"after").unwrap();
            output.finish().unwrap();
            assert_eq!(fs::read(&file).unwrap(), b"after");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_nothing_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [link, place] = ["link", "place"].map(|name| directory.path().join(name));
        symlink("place", &link).unwrap();
        let mut output = OutputFile::create(&link).unwrap();
        output.write(b"some").unwrap();
        output.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(place).unwrap(), b"some");
    }

    #[test]
    fn a_name_may_be_as_long_as_names_are() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a".repeat(255), "ä".repeat(127), "a".repeat(248)] {
            let file = directory.path().join(name);
            let mut output = OutputFile::create(&file).unwrap();
            output.write(b"some").unwrap();
            output.finish().unwrap();
            assert_eq!(fs::read(file).unwrap(), b"some");
        }
    }

    #[test]
    fn messages_name_no_hidden_file() {
        let directory = tempfile::tempdir().unwrap();
        // Longer than names may be, and a place where nobody creates files.
        for bad in [directory.path().join("a".repeat(256)), "/proc/self/new".into(), directory.path().join("new/")] {
            let error = OutputFile::create(&bad).unwrap_err().to_string();
            assert!(!error.contains(".part"), "{error}");
        }
    }

    #[test]
    fn a_descriptor_goes_on_where_it_stands() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"before, ").unwrap();
        let mut output = OutputFile::create(Path::new(&format!("/dev/fd/{}", file.as_raw_fd()))).unwrap();
        output.write(b"after").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"before, after");
    }
}
