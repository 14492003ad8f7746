//! Network namespaces, and what runs in them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use std::time::Duration;

use crate::error::Error;
use crate::running::{Running, shown};
use crate::sys::settle;

/// A network that this process has to itself: no interfaces but `lo`, no addresses, no IPv6.
///
/// It goes away with the value, at the latest with the process, however that ends; what still runs in it keeps it until it ends,
/// so let go of [`Running`] programs, sockets and threads first.
///
/// To look around in it while a test stands still: `nsenter --net=PATH sh`, with its [`path`](Namespace::path).
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use std::net::UdpSocket;
/// use pp_testbed::Namespace;
///
/// let quiet = Namespace::new("quiet")?;
/// quiet.run(&["ip", "address", "add", "192.0.2.1/24", "dev", "lo"])?;
/// let socket = quiet.enter(|| UdpSocket::bind("192.0.2.1:9"))?;
/// assert!(socket.is_ok());
/// assert!(UdpSocket::bind("192.0.2.1:9").is_err()); // not out here
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Namespace {
    label: String,
    network: OwnedFd,
}

/// A program about to be started in a [`Namespace`].
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use std::time::Duration;
/// use pp_testbed::Namespace;
///
/// let namespace = Namespace::new("example")?;
/// let mut cat = namespace.command("cat")?.processors(&[0]).spawn()?;
/// cat.say("hello")?;
/// cat.until("hello", Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Launch {
    command: Command,
    network: OwnedFd,
    processors: Vec<usize>,
}

/// The longest that a program may take which is run for its result.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Namespace ===

impl Namespace {
    /// Makes one. `label` is for messages; any number of namespaces may have the same.
    ///
    /// # Errors
    ///
    /// [`Error::System`] without the right to.
    pub fn new(label: &str) -> Result<Self, Error> {
        let make = || -> io::Result<OwnedFd> {
            let network = settle::unshare_network()?;
            for scope in ["all", "default"] {
                // No neighbour discovery among the packets that are counted. A kernel without IPv6 has none anyway.
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
            Ok(network)
        };
        let refused = || format!("network namespace `{label}`");
        // On a thread of its own, because the thread is in the new namespace from then on.
        let network = thread::scope(|scope| thread::Builder::new().spawn_scoped(scope, make).map(joined));
        let network = network.flatten().map_err(Error::system(refused()))?;
        let namespace = Namespace { label: label.to_owned(), network };
        namespace.enter(|| ())?;
        Ok(namespace)
    }

    /// What it was called. See [`Namespace`].
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A file that stands for it as long as it lives, for programs that take a namespace by its file. See [`Namespace`].
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }

    /// Another owner of the same namespace.
    pub(crate) fn handle(&self) -> Result<Self, Error> {
        let network = self.network.try_clone().map_err(Error::system("a descriptor of the namespace"))?;
        Ok(Namespace { label: self.label.clone(), network })
    }

    /// Runs `work` on a fresh thread inside, with a `/sys` that shows this namespace's devices, and waits for it.
    ///
    /// Sockets that it makes belong to the namespace wherever they are used later. A panic in it goes on out here.
    ///
    /// # Errors
    ///
    /// [`Error::System`] without the right to.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let inside = || settle::settle(self.network.as_fd()).map(|()| work());
        let done = thread::scope(|scope| thread::Builder::new().spawn_scoped(scope, inside).map(joined));
        done.flatten().map_err(Error::system(format!("entering the network namespace `{}`", self.label)))
    }

    /// Prepares to start `program` inside; it inherits the environment, in the language `C`. See [`Namespace`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if this process may open no more files.
    pub fn command(&self, program: &str) -> Result<Launch, Error> {
        let Namespace { network, .. } = self.handle()?;
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        Ok(Launch { command, network, processors: Vec::new() })
    }

    /// Starts a command line inside; the first word is the program.
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`].
    pub fn spawn(&self, line: &[&str]) -> Result<Running, Error> {
        let (program, arguments) = line.split_first().unwrap_or((&"", &[]));
        self.command(program)?.arguments(arguments).spawn()
    }

    /// Runs a command line inside to its end, and gives back how it ended and what it said. See [`Namespace`].
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`], or [`Error::Late`] after a minute. That it failed is no error: see [`run`](Namespace::run).
    pub fn exec(&self, line: &[&str]) -> Result<Output, Error> {
        self.spawn(line)?.wait(PATIENCE)
    }

    /// The same for a command that has to succeed; gives back its standard output.
    ///
    /// # Errors
    ///
    /// As [`exec`](Namespace::exec), and [`Error::Failed`].
    pub fn run(&self, line: &[&str]) -> Result<String, Error> {
        self.spawn(line)?.success(PATIENCE)
    }

    /// The number that the kernel has for an interface inside. See [`Namespace`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such interface.
    pub fn index(&self, interface: &str) -> Result<u32, Error> {
        let file = format!("/sys/class/net/{interface}/ifindex");
        let read = self.enter(|| fs::read_to_string(&file))?;
        let number = read.and_then(|text| text.trim().parse().map_err(io::Error::other));
        number.map_err(Error::system(format!("the number of `{interface}` in `{}`", self.label)))
    }
}

/// What the thread gave, or its panic.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

// === impl Launch ===

impl Launch {
    /// Adds words to the command line. See [`Launch`].
    #[must_use]
    pub fn arguments<S: AsRef<std::ffi::OsStr>>(mut self, words: &[S]) -> Self {
        self.command.args(words);
        self
    }

    /// Keeps it, and what it starts, on these processors.
    #[must_use]
    pub fn processors(mut self, processors: &[usize]) -> Self {
        self.processors = processors.to_vec();
        self
    }

    /// Starts it, in a process group of its own: a signal to ours, as a terminal sends with Ctrl-C, is for us to act on. Its output
    /// is kept in a file without a name.
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`].
    pub fn spawn(self) -> Result<Running, Error> {
        let Launch { mut command, network, processors } = self;
        let line = shown(&command);
        let not_started = |source| Error::NotStarted { line: line.clone(), source };
        let output = Outputs::new().map_err(not_started)?;
        output.connect(&mut command).map_err(not_started)?;
        command.process_group(0);
        settle::settle_child(&mut command, network, &processors);
        let child = start(command).map_err(not_started)?;
        Ok(Running::new(line, child, output.stdout, output.stderr))
    }
}

/// Where a program's output goes.
struct Outputs {
    stdout: File,
    stderr: File,
}

impl Outputs {
    fn new() -> io::Result<Self> {
        Ok(Outputs { stdout: tempfile::tempfile()?, stderr: tempfile::tempfile()? })
    }

    fn connect(&self, command: &mut Command) -> io::Result<()> {
        command.stdin(Stdio::piped()).stdout(self.stdout.try_clone()?).stderr(self.stderr.try_clone()?);
        Ok(())
    }
}

/// Starts a child from the one thread that starts all of them.
///
/// The kernel kills a child with the *thread* that started it, and the threads of tests end before their process does.
fn start(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static ORDERS: Mutex<Option<Sender<Order>>> = Mutex::new(None);

    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let gone = || io::Error::other("the thread that starts programs is gone");
    if orders.is_none() {
        let (sender, receiver) = mpsc::channel::<Order>();
        let serve = move || {
            for (mut command, reply) in receiver {
                // Who does not wait for the answer any more wants no child.
                if let Err(mpsc::SendError(Ok(mut unwanted))) = reply.send(command.spawn()) {
                    let _ = unwanted.kill().and_then(|()| unwanted.wait());
                }
            }
        };
        thread::Builder::new().name("testbed-starter".into()).spawn(serve)?;
        *orders = Some(sender);
    }
    let (reply, answer) = mpsc::channel();
    orders.as_ref().ok_or_else(gone)?.send((command, reply)).map_err(|_| gone())?;
    drop(orders);
    answer.recv().map_err(|_| gone())?
}
