//! Who forwards.

use std::fmt;
use std::path::PathBuf;

use pp_testbed::{Error, Path, Rights, Running};

/// A program that makes client and server reach each other.
pub(crate) enum Contender {
    /// `pagepool`, built in release.
    Ours(PathBuf),
    /// DPDK's `testpmd` on its AF_XDP driver.
    Testpmd(Memory),
}

/// Which ways packets go.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ways {
    /// From the client to the server.
    One,
    /// And answers back.
    Both,
}

/// What DPDK keeps its packets in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Memory {
    HugePages,
    /// What every program has, because nobody has set huge pages aside.
    Ordinary,
}

/// Where the two sides run, so that none takes the other's time.
pub(crate) struct Places {
    /// The hosts; of them the first for the generator, and for whatever of a forwarder does not forward. Not empty.
    pub(crate) traffic: Vec<usize>,
    pub(crate) forwarder: usize,
}

impl Contender {
    /// Starts it between the ports of `path`. It ends by itself after so many seconds, or is killed before.
    pub(crate) fn start(&self, path: &Path, ways: Ways, places: &Places, seconds: u32) -> Result<Running, Error> {
        match self {
            Contender::Ours(program) => {
                let launch = path.forwarder().command(&program.to_string_lossy())?;
                launch.arguments(&ours(ways, seconds)).processors(&[places.forwarder]).spawn()
            }
            // In both directions whatever is asked for; it places its threads itself.
            Contender::Testpmd(memory) => {
                path.forwarder().command(TESTPMD)?.arguments(&testpmd(*memory, places)).spawn()
            }
        }
    }

    /// Why it cannot take part.
    pub(crate) fn missing(&self) -> Option<String> {
        match self {
            Contender::Ours(program) if !program.is_file() => Some(format!("there is no {}", program.display())),
            Contender::Ours(_) => None,
            Contender::Testpmd(_) => Rights::tool(TESTPMD).err().map(|missing| missing.to_string()),
        }
    }
}

impl Places {
    /// The last processor forwards, all others make traffic; none with a single one.
    pub(crate) fn choose(processors: &[usize]) -> Option<Self> {
        let (forwarder, traffic) = processors.split_last()?;
        (!traffic.is_empty()).then(|| Places { traffic: traffic.to_vec(), forwarder: *forwarder })
    }

    pub(crate) fn generator(&self) -> usize {
        self.traffic[0]
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::Ours(_) => f.write_str("pagepool"),
            Contender::Testpmd(_) => f.write_str("DPDK testpmd"),
        }
    }
}

/// The command line of ours.
fn ours(ways: Ways, seconds: u32) -> Vec<String> {
    let (input, output) = (format!("afxdp:{}", Path::IN), format!("afxdp:{}", Path::OUT));
    let mut words: Vec<String> = ["forward", "--in", &input, "--out", &output].map(Into::into).into();
    if ways == Ways::Both {
        words.push("--both".into());
    }
    words.extend(["--seconds".into(), seconds.to_string(), "--json".into()]);
    words
}

const TESTPMD: &str = "dpdk-testpmd";

/// One thread polls both ports, and passes on what comes without a look at it.
fn testpmd(memory: Memory, places: &Places) -> Vec<String> {
    let cores = format!("{},{}", places.generator(), places.forwarder);
    let main = places.generator().to_string();
    let mut words: Vec<String> = ["-l", &cores, "--main-lcore", &main, "--no-pci"].map(Into::into).into();
    words.extend(match memory {
        Memory::HugePages => vec!["--in-memory".into(), "-m".into(), "256".into()],
        Memory::Ordinary => vec!["--no-huge".into(), "-m".into(), "512".into(), "--no-shconf".into()],
    });
    for (number, port) in [Path::IN, Path::OUT].into_iter().enumerate() {
        words.extend(["--vdev".into(), format!("net_af_xdp{number},iface={port}")]);
    }
    // Without `--interactive` it forwards until its input ends.
    words.extend(["--", "--forward-mode=io", "--nb-cores=1", "--total-num-mbufs=16384"].map(Into::into));
    words
}

impl Memory {
    /// Huge pages if enough are free, so that nothing of the machine's settings need be changed.
    pub(crate) fn available() -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        let (free, size) = (field("HugePages_Free:").unwrap_or(0), field("Hugepagesize:").unwrap_or(0));
        if free * size >= 256 << 10 { Memory::HugePages } else { Memory::Ordinary }
    }
}
