//! Whether this machine lets us make networks at all.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::assembly::Assembler;
use crate::namespace::Namespace;
use crate::sys::bpf::Program;

/// Why no network can be made here; the sentence also says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// No right to make namespaces, or to mount in them.
    #[error("network namespaces cannot be made ({0}); run the test as root")]
    Namespaces(String),
    /// No right to load programs into the kernel, or a kernel without them.
    #[error("XDP programs cannot be loaded ({0}); run the test as root, on a kernel with CONFIG_BPF_SYSCALL")]
    Bpf(String),
    /// A kernel without the device.
    #[error("no veth pair can be made ({0}); the kernel needs CONFIG_VETH")]
    Veth(String),
    /// A program is not there.
    #[error("`{name}` is not installed; on Debian it is in the package {package}")]
    Tool {
        /// What it is called.
        name: &'static str,
        /// What to install.
        package: &'static str,
    },
}

/// The rights, programs and devices that everything here needs.
///
/// # Examples
///
/// ```
/// use pp_testbed::Rights;
///
/// match Rights::check() {
///     Ok(()) => println!("networks can be made"),
///     Err(missing) => pp_testbed::skip("example", &missing),
/// }
/// if let Err(missing) = Rights::tool("iperf3") {
///     assert!(missing.to_string().contains("not installed"));
/// }
/// ```
#[derive(Debug)]
pub enum Rights {}

/// The programs that are run, and how each is asked whether it is there.
const TOOLS: [(&str, &str, &str); 5] = [
    ("ip", "-V", "iproute2"),
    ("ethtool", "--version", "ethtool"),
    ("ping", "-V", "iputils-ping"),
    ("iperf3", "--version", "iperf3"),
    ("dpdk-testpmd", "-v", "dpdk-dev"),
];

impl Rights {
    /// Tries each thing once, in a namespace that goes away again; the answer is kept for the process.
    ///
    /// # Errors
    ///
    /// What is [`Missing`] first.
    pub fn check() -> Result<(), Missing> {
        static ANSWER: OnceLock<Result<(), Missing>> = OnceLock::new();
        ANSWER.get_or_init(try_everything).clone()
    }

    /// Whether one of the programs is there that only some tests need: `ping`, `iperf3`, `dpdk-testpmd`.
    ///
    /// # Errors
    ///
    /// [`Missing::Tool`].
    pub fn tool(name: &'static str) -> Result<(), Missing> {
        let known = TOOLS.iter().find(|(tool, ..)| *tool == name);
        let (option, package) = known.map_or(("--version", name), |(_, option, package)| (*option, *package));
        let mut command = Command::new(name);
        command.arg(option).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().map(|_| ()).map_err(|_| Missing::Tool { name, package })
    }
}

fn try_everything() -> Result<(), Missing> {
    let namespace = Namespace::new("rights").map_err(|error| Missing::Namespaces(error.to_string()))?;
    namespace.enter(|| ()).map_err(|error| Missing::Namespaces(error.to_string()))?;
    Program::load(&Assembler::new().pass()).map_err(|error| Missing::Bpf(error.to_string()))?;
    Rights::tool("ip")?;
    Rights::tool("ethtool")?;
    let veth = namespace.run(&["ip", "link", "add", "name", "t0", "type", "veth", "peer", "name", "t1"]);
    veth.map(|_| ()).map_err(|error| Missing::Veth(error.to_string()))
}

/// Says that `what` is not tested, and why, where nobody overlooks it: on the real standard error, which the test harness does
/// not hide from tests that pass. See [`skip_without_rights`](crate::skip_without_rights).
///
/// # Panics
///
/// If the environment has `PP_TESTBED_REQUIRED`: on a machine that is meant to test everything, skipping is failing.
pub fn skip(what: &str, why: &Missing) {
    assert!(std::env::var_os("PP_TESTBED_REQUIRED").is_none(), "{what} may not be skipped here: {why}");
    let rule = "!".repeat(80);
    // Nobody is served by a test that fails because it could not say why it does nothing.
    let _ = writeln!(io::stderr(), "\n{rule}\n!! SKIPPED {what}: {why}\n{rule}");
}

/// Returns from the calling test, loudly, unless networks can be made here and the named programs are installed.
///
/// # Examples
///
/// ```
/// fn needs_iperf() {
///     pp_testbed::skip_without_rights!("ping", "iperf3");
///     // ... the test
/// }
///
/// fn has_a_result() -> Result<(), pp_testbed::Error> {
///     pp_testbed::skip_without_rights!(return Ok(()));
///     // ... the test
///     # Ok(())
/// }
/// # needs_iperf();
/// # has_a_result().unwrap();
/// ```
#[macro_export]
macro_rules! skip_without_rights {
    ($($tool:literal),*) => { $crate::skip_without_rights!(@check (return) $($tool),*) };
    (return $value:expr $(, $tool:literal)*) => { $crate::skip_without_rights!(@check (return $value) $($tool),*) };
    (@check ($($return:tt)*) $($tool:literal),*) => {
        let rights = $crate::Rights::check()$(.and_then(|()| $crate::Rights::tool($tool)))*;
        if let Err(missing) = rights {
            let place = format!("{} ({}:{})", module_path!(), file!(), line!());
            $crate::skip(&place, &missing);
            $($return)*;
        }
    };
}
