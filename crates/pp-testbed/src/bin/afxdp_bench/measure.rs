//! One round: a fresh scene, a forwarder, traffic, and what came of it in the steady state.

use std::thread;
use std::time::{Duration, Instant};

use pp_testbed::{Error, Iperf, Path, Ping, Running};

use crate::contender::{Contender, Places, Ways};

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// Made-up packets of so many bytes, as many as can be made, to the server.
    Packets(u16),
    /// A TCP stream to the server, its acknowledgements back.
    Tcp,
}

/// What one round gave, in the unit of the case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// A second of time.
    pub(crate) per_second: f64,
    /// A second of a processor that the forwarder used.
    pub(crate) per_cpu_second: f64,
    /// What there was to forward in a second of time, if that is known.
    pub(crate) offered: Option<f64>,
}

/// Why a round gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Testbed(#[from] Error),
    #[error("nothing came through it in time: {0}")]
    NeverReady(String),
    #[error("it ended before it was measured: {0}")]
    Ended(String),
    #[error("it forwarded nothing while it was measured")]
    Nothing,
}

/// How long a forwarder may take to begin. DPDK takes some seconds.
const READY: Duration = Duration::from_secs(30);
/// What passes between the first packet and the measuring.
const WARM_UP: Duration = Duration::from_millis(500);

impl Case {
    /// Its name in the table.
    pub(crate) fn name(self) -> String {
        match self {
            Case::Packets(bytes) => format!("{bytes}-byte packets"),
            Case::Tcp => "TCP".into(),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Case::Packets(_) => "kpackets",
            Case::Tcp => "Mbit",
        }
    }

    /// Measures for so many seconds.
    pub(crate) fn round(self, contender: &Contender, places: &Places, seconds: u32) -> Result<Sample, Failure> {
        let path = Path::builder().build()?;
        let ways = match self {
            Case::Packets(_) => Ways::One,
            Case::Tcp => Ways::Both,
        };
        let most = READY + 2 * WARM_UP + Duration::from_secs(seconds.into());
        let mut forwarder = contender.start(&path, ways, places, u32::try_from(most.as_secs()).unwrap_or(u32::MAX))?;
        match self {
            Case::Packets(bytes) => packets(&path, &mut forwarder, bytes, places, seconds),
            Case::Tcp => tcp(&path, &mut forwarder, places, seconds),
        }
    }
}

fn packets(path: &Path, forwarder: &mut Running, bytes: u16, places: &Places, seconds: u32) -> Result<Sample, Failure> {
    let sink = path.sink()?;
    let generator = path.generate(path.traffic().size(bytes).processor(places.generator()))?;
    ready(forwarder, || Ok(sink.counts()?.packets > 0))?;
    let now = |forwarder: &Running| -> Result<_, Error> {
        Ok((Instant::now(), forwarder.cpu_time()?, sink.counts()?.packets, generator.sent()?))
    };
    thread::sleep(WARM_UP);
    let (start, cpu_before, before, sent_before) = now(forwarder)?;
    thread::sleep(Duration::from_secs(seconds.into()));
    if !forwarder.is_running() {
        return Err(Failure::Ended(said(forwarder)));
    }
    let (end, cpu_after, after, sent_after) = now(forwarder)?;
    generator.stop()?;
    let (thousands, sent) = ((after - before) as f64 / 1e3, (sent_after - sent_before) as f64 / 1e3);
    let offered = Some(sent / (end - start).as_secs_f64());
    Ok(Sample { offered, ..sample(thousands, end - start, cpu_after - cpu_before)? })
}

fn tcp(path: &Path, forwarder: &mut Running, places: &Places, seconds: u32) -> Result<Sample, Failure> {
    ready(forwarder, || Ok(path.ping(Ping::new().count(1)).is_ok()))?;
    thread::sleep(WARM_UP);
    // Starting and ending the transfer is in the processor's time and not in the transfer's: some hundredths.
    let (start, cpu_before) = (Instant::now(), forwarder.cpu_time()?);
    let transfer = path.iperf(Iperf::tcp().seconds(seconds).processors(&places.traffic))?;
    let (took, cpu) = (start.elapsed(), forwarder.cpu_time()? - cpu_before);
    let transferred = transfer.bits_per_second / 1e6 * f64::from(seconds);
    Ok(Sample { per_second: transfer.bits_per_second / 1e6, ..sample(transferred, took, cpu)? })
}

fn sample(amount: f64, took: Duration, cpu: Duration) -> Result<Sample, Failure> {
    if amount <= 0.0 || cpu.is_zero() {
        return Err(Failure::Nothing);
    }
    let (per_second, per_cpu_second) = (amount / took.as_secs_f64(), amount / cpu.as_secs_f64());
    Ok(Sample { per_second, per_cpu_second, offered: None })
}

/// Waits until something comes through.
fn ready(forwarder: &mut Running, came_through: impl Fn() -> Result<bool, Error>) -> Result<(), Failure> {
    let start = Instant::now();
    while !came_through()? {
        if !forwarder.is_running() {
            return Err(Failure::Ended(said(forwarder)));
        }
        if start.elapsed() > READY {
            return Err(Failure::NeverReady(said(forwarder)));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The line of what it said that looks like a reason, or its last one.
fn said(forwarder: &Running) -> String {
    let text = [forwarder.stdout(), forwarder.stderr()].join("\n");
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let reason = lines().find(|line| line.starts_with("error")).or(lines().next_back());
    reason.unwrap_or("it said nothing").to_owned()
}
