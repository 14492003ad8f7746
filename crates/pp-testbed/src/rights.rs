//! Whether this machine lets us make networks at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::assembly::Assembler;
use crate::namespace::Namespace;
use crate::sys::bpf::Program;

/// Why no network can be made here; the sentence also says what to do. See [`Rights`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// No right to make namespaces, or to mount in them.
    #[error("network namespaces cannot be made ({0}); run the test as root")]
    Namespaces(String),
    /// No right to load programs into the kernel, or a kernel without them.
    #[error("XDP programs cannot be loaded ({0}); run the test as root, on a kernel with CONFIG_BPF_SYSCALL")]
    Bpf(String),
    /// No right to make interfaces, or a kernel without this kind.
    #[error("no veth pair can be made ({0}); run the test as root, on a kernel with CONFIG_VETH")]
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

/// The programs that are run, and the packages that bring them.
const PACKAGES: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("iperf3", "iperf3"),
    ("dpdk-testpmd", "dpdk-dev"),
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

    /// Whether a program is there; `ping`, `iperf3` and `dpdk-testpmd` are those that only some tests need.
    ///
    /// # Errors
    ///
    /// [`Missing::Tool`].
    pub fn tool(name: &'static str) -> Result<(), Missing> {
        let is_there = |folder: PathBuf| {
            let mode = fs::metadata(folder.join(name)).map_or(0, |file| if file.is_file() { file.mode() } else { 0 });
            mode & 0o111 != 0
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(is_there) {
            return Ok(());
        }
        let package = PACKAGES.iter().find(|(tool, _)| *tool == name).map_or(name, |(_, package)| *package);
        Err(Missing::Tool { name, package })
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
/// not hide from tests that pass. See [`Rights`].
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
