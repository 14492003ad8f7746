//! Programs that run in a namespace.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Output};
use std::thread;
use std::time::Instant;

use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::cpu::CpuTime;
use crate::error::Error;

/// A program in a [`Namespace`](crate::Namespace), which shows how it is started. Dropping it kills it, if it has not ended, and
/// waits until it is gone.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use std::time::Duration;
///
/// let namespace = pp_testbed::Namespace::new("example")?;
/// let mut sleeper = namespace.spawn(&["sleep", "1000"])?;
/// assert!(sleeper.is_running());
/// sleeper.interrupt()?;
/// assert!(!sleeper.wait(Duration::from_secs(5))?.status.success());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: File,
    stderr: File,
}

/// How often a program is looked at that is waited for.
const GLANCE: Duration = Duration::from_millis(2);

impl Running {
    pub(crate) fn new(line: String, child: Child, stdout: File, stderr: File) -> Self {
        Running { line, child, stdout, stderr }
    }

    /// Its process id, for [`CpuTime::of`] for instance. See [`Running`].
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time it has used. See [`Running`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it has ended and was waited for.
    pub fn cpu_time(&self) -> Result<CpuTime, Error> {
        CpuTime::of(self.pid())
    }

    /// What it has written to its standard output so far. See [`Running`].
    pub fn stdout(&self) -> String {
        contents(&self.stdout)
    }

    /// What it has written to its standard error so far. See [`Running`].
    pub fn stderr(&self) -> String {
        contents(&self.stderr)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Writes a line to its standard input. See [`Running`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it has closed that, or has ended.
    pub fn say(&mut self, line: &str) -> Result<(), Error> {
        let stdin = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe);
        let said = stdin.map_err(io::Error::from).and_then(|stdin| writeln!(stdin, "{line}"));
        said.map_err(Error::system(format!("`{line}` as input of `{}`", self.line)))
    }

    /// Asks it to end, as Ctrl-C does.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the signal could not be sent.
    pub fn interrupt(&mut self) -> Result<(), Error> {
        self.signal(Signal::INT)
    }

    /// Kills it, as `kill -9` does, and does not wait. See [`Running`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the signal could not be sent.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::KILL)
    }

    /// Waits until its output, standard output or error, contains `text`. See [`Running`].
    ///
    /// # Errors
    ///
    /// [`Error::Late`], or [`Error::Failed`] if it ended before.
    pub fn until(&mut self, text: &str, limit: Duration) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            // Before the output is read: what ends has written all it will.
            let ended = self.ended()?;
            if self.stdout().contains(text) || self.stderr().contains(text) {
                return Ok(());
            }
            if let Some(status) = ended {
                return Err(self.failed(status));
            }
            self.pause(start, limit, "say what it was waited for")?;
        }
    }

    /// Ends its input, waits until it has ended, and gives back how, and all its output.
    ///
    /// # Errors
    ///
    /// [`Error::Late`]; it is killed then.
    pub fn wait(mut self, limit: Duration) -> Result<Output, Error> {
        let status = self.status(limit)?;
        Ok(Output { status, stdout: self.stdout().into_bytes(), stderr: self.stderr().into_bytes() })
    }

    /// Ends its input, waits until it has ended well, and gives back its standard output.
    ///
    /// # Errors
    ///
    /// [`Error::Late`], and it is killed then; [`Error::Failed`].
    pub fn success(mut self, limit: Duration) -> Result<String, Error> {
        let status = self.status(limit)?;
        if status.success() { Ok(self.stdout()) } else { Err(self.failed(status)) }
    }

    /// The command line, for messages.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    fn status(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        drop(self.child.stdin.take());
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            self.pause(start, limit, "end")?;
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::system(format!("waiting for `{}`", self.line)))
    }

    fn pause(&self, start: Instant, limit: Duration, what: &'static str) -> Result<(), Error> {
        if start.elapsed() > limit {
            let said = format!("{}{}", self.stdout(), self.stderr());
            return Err(Error::Late { line: self.line.clone(), what, limit, said });
        }
        thread::sleep(GLANCE);
        Ok(())
    }

    fn failed(&self, status: ExitStatus) -> Error {
        let stderr = self.stderr();
        let said = if stderr.trim().is_empty() { self.stdout() } else { stderr };
        Error::Failed { line: self.line.clone(), status, said: said.trim().to_owned() }
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // The id is nobody else's until the child has been waited for.
        let sent = match (self.child.try_wait(), pid) {
            (Ok(None), Some(pid)) => rustix::process::kill_process(pid, signal).map_err(io::Error::from),
            _ => Err(io::Error::other("it has ended")),
        };
        sent.map_err(Error::system(format!("a signal to `{}`", self.line)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole file, which the child may still be writing to; its position is the child's and stays.
fn contents(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(0))];
    let read = file.read_exact_at(&mut bytes, 0);
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command line for messages.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
