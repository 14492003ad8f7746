//! Packets that come from the kernel itself.
//!
//! An XDP program is run over and over on made-up frames, and redirects each into the interface. It costs the processor that it
//! runs on, also for the other end's receiving, and no other: nothing of it is in the path between the ports under test.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::time::Instant;

use crate::assembly::{Assembler, Helper, If, Reg, Verdict, Width, Word};
use crate::error::Error;
use crate::frame::{self, Endpoint, HEADERS, MARK, MARK_AT, NUMBER_AT};
use crate::namespace::Namespace;
use crate::sink::Hook;
use crate::sys::bpf::{Counters, Link, Program};

/// Which packets, how many, how fast. Made by [`Path::traffic`](crate::Path::traffic) for its client and server.
///
/// # Examples
///
/// ```
/// use pp_testbed::{Endpoint, Mac, Traffic};
///
/// let end = |last| Endpoint { mac: Mac([2, 0, 0, 0, 0, last]), address: [10, 77, 0, last].into() };
/// let traffic = Traffic::udp(end(1), end(2)).size(1514).rate(100_000).count(50_000).numbered();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    from: Endpoint,
    to: Endpoint,
    size: u16,
    rate: Option<u64>,
    count: Option<u64>,
    numbers: Numbers,
    processor: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    None,
    Each,
}

/// Traffic that is being made. Dropping it ends that. Started by [`Path::generate`](crate::Path::generate), which has an example.
#[derive(Debug)]
pub struct Generator {
    work: Arc<Work>,
    /// Whether it shall end. Relaxed everywhere: nothing is handed over with it.
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// What the thread that runs the program shares.
#[derive(Debug)]
struct Work {
    program: Program,
    frame: Vec<u8>,
    sent: Counters<1>,
    /// The program on an interface of a namespace where nothing ever happens. The kernel calls programs that are in use
    /// directly, and it takes 20 ms to arrange that, and to end it: for each run, if the run is all that uses the program.
    #[expect(dead_code, reason = "is held, so that runs are short")]
    parked: (Link, Namespace),
}

/// The largest batch: as many as the kernel's own receive loop takes at a time, and less than a veth has places for.
const BATCH: u32 = 64;
/// How many frames a run makes if they may be made as fast as possible: some milliseconds' work.
const RUN: u32 = 8192;
/// The number of the first interface of every namespace.
const LOOPBACK: u32 = 1;

// === impl Traffic ===

impl Traffic {
    /// The smallest and the largest frame, in bytes without the checksum that hardware adds. See [`Traffic`].
    pub const SIZES: (u16, u16) = (60, 1514);

    /// UDP packets of 60 bytes, without an end and as fast as they can be made.
    pub fn udp(from: Endpoint, to: Endpoint) -> Self {
        Traffic { from, to, size: Self::SIZES.0, rate: None, count: None, numbers: Numbers::None, processor: None }
    }

    /// Bytes of a frame, without the checksum that hardware adds. What is outside of [`SIZES`](Traffic::SIZES) becomes the
    /// nearest that is inside.
    #[must_use]
    pub fn size(mut self, bytes: u16) -> Self {
        self.size = bytes.clamp(Self::SIZES.0, Self::SIZES.1);
        self
    }

    /// So many packets a second, if the machine can. High rates come in bursts, a millisecond's packets each.
    #[must_use]
    pub fn rate(mut self, packets_per_second: u64) -> Self {
        self.rate = Some(packets_per_second.max(1));
        self
    }

    /// Ends after so many packets.
    #[must_use]
    pub fn count(mut self, packets: u64) -> Self {
        self.count = Some(packets);
        self
    }

    /// Numbers the packets, from 0, so that a [`Sink`](crate::Sink) sees which change places.
    #[must_use]
    pub fn numbered(mut self) -> Self {
        self.numbers = Numbers::Each;
        self
    }

    /// Makes them on this processor. With several queues it also says which queue of a veth's other end they come to: the
    /// processor's number modulo the number of queues. See [`Traffic`].
    #[must_use]
    pub fn processor(mut self, processor: usize) -> Self {
        self.processor = Some(processor);
        self
    }
}

// === impl Generator ===

impl Generator {
    /// Sends `traffic` out of an interface that is one end of a veth pair. The other end has to have an XDP program in native
    /// mode, or generic receive offload on, else the kernel drops everything. See [`Generator`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such interface, or no right to.
    pub fn start(namespace: &Namespace, interface: &str, traffic: Traffic) -> Result<Self, Error> {
        let refused = |source: io::Error| Error::system(format!("a generator on `{interface}`"))(source);
        let out = namespace.index(interface)?;
        let frame = frame::udp(traffic.from, traffic.to, traffic.size);
        let sent = Counters::new().map_err(refused)?;
        let program = Program::load(&program(&frame, out, traffic.numbers, &sent)).map_err(refused)?;
        let parking = Namespace::new("parking")?;
        let parked = parking.enter(|| program.attach(LOOPBACK, Hook::Generic.flag()))?.map_err(refused)?;
        let work = Arc::new(Work { program, frame, sent, parked: (parked, parking) });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (work, stop, namespace) = (Arc::clone(&work), Arc::clone(&stop), namespace.handle()?);
            let inside = move || namespace.enter(|| work.run(&traffic, &stop).map_err(refused_run)).flatten();
            thread::Builder::new().name("generator".into()).spawn(inside).map_err(refused)?
        };
        Ok(Generator { work, stop, thread: Some(thread) })
    }

    /// How many packets were sent so far, also those that the interface had no room for.
    ///
    /// # Errors
    ///
    /// [`Error::System`], which would be a kernel's bug.
    pub fn sent(&self) -> Result<u64, Error> {
        self.work.sent.read().map(|[sent]| sent).map_err(Error::system("the generator's count"))
    }

    /// Waits until all are sent, and says how many; for ever, if that was not limited.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refused to send.
    pub fn wait(mut self) -> Result<u64, Error> {
        self.join()?;
        self.sent()
    }

    /// Ends it, and says how many packets were sent. See [`Generator`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refused to send.
    pub fn stop(self) -> Result<u64, Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    fn join(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its error belongs to who asks for the count; here nobody did.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn refused_run(source: io::Error) -> Error {
    Error::system("a run of the generator's program")(source)
}

impl Work {
    fn run(&self, traffic: &Traffic, stop: &AtomicBool) -> io::Result<()> {
        if let Some(processor) = traffic.processor {
            let mut set = rustix::thread::CpuSet::new();
            set.set(processor);
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        let mut pace = traffic.rate.map(Pace::new);
        let mut left = traffic.count.unwrap_or(u64::MAX);
        while left > 0 && !stop.load(Ordering::Relaxed) {
            let due = pace.as_mut().map_or(u32::MAX, Pace::wait);
            let frames = due.min(RUN).min(u32::try_from(left).unwrap_or(u32::MAX));
            if frames == 0 {
                continue;
            }
            match self.program.run_live(&self.frame, frames, frames.min(BATCH)) {
                // A signal may cut a run short: how many frames were made is in the count, which is asked for the next run.
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let sent = self.sent.read()?[0];
            left = traffic.count.map_or(u64::MAX, |count| count.saturating_sub(sent));
            if let Some(pace) = &mut pace {
                pace.sent = sent;
            }
        }
        Ok(())
    }
}

/// When how many packets are due.
struct Pace {
    rate: u64,
    start: Instant,
    /// What was sent since `start`, and what is forgiven.
    sent: u64,
    forgiven: u64,
}

impl Pace {
    /// Fewer runs a second than packets, where there are many: a run costs as much as some hundred of them.
    const NAP: Duration = Duration::from_micros(500);
    /// What is later than this is not made up for.
    const MEMORY: Duration = Duration::from_millis(20);

    fn new(rate: u64) -> Self {
        Pace { rate, start: Instant::now(), sent: 0, forgiven: 0 }
    }

    /// How many packets shall be sent now; before it says none it sleeps.
    fn wait(&mut self) -> u32 {
        let most = Self::packets(self.rate, Self::MEMORY).max(1);
        // The first one at once.
        let planned = 1 + Self::packets(self.rate, self.start.elapsed());
        let due = planned.saturating_sub(self.sent + self.forgiven);
        self.forgiven += due.saturating_sub(most);
        if due == 0 {
            thread::sleep(
                Self::NAP.max(Duration::from_secs(1) / u32::try_from(self.rate.saturating_mul(2)).unwrap_or(u32::MAX)),
            );
        }
        u32::try_from(due.min(most)).unwrap_or(u32::MAX)
    }

    fn packets(rate: u64, time: Duration) -> u64 {
        u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// Counts, writes the headers and the number, and redirects to `out`.
///
/// The headers are written each time, because the kernel uses the same memory again, and a router will have changed it.
fn program(frame: &[u8], out: u32, numbers: Numbers, sent: &Counters<1>) -> Vec<Word> {
    let (context, number, data, end) = (Reg::R6, Reg::R7, Reg::R2, Reg::R3);
    let mut code = Assembler::new();
    code.copy(context, Reg::R1);
    code.look_up(sent.descriptor());
    let no_count = code.jump_if_null(Reg::R0);
    code.set(number, 1);
    code.fetch_add(Reg::R0, 0, number);
    code.load(Width::Four, data, context, 0);
    code.load(Width::Four, end, context, 4);
    code.copy(Reg::R4, data);
    code.add(Reg::R4, i32::from(Traffic::SIZES.0));
    let too_short = code.jump_if(Reg::R4, If::Greater, end);
    // Not the last two bytes, the UDP checksum, which nobody changes.
    for (at, word) in (0..).step_by(4).zip(frame[..HEADERS - 2].chunks_exact(4)) {
        code.store_value(Width::Four, data, at, i32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    code.store_value(Width::Two, data, HEADERS as i16 - 2, 0);
    if numbers == Numbers::Each {
        code.store_value(Width::Four, data, MARK_AT as i16, MARK.cast_signed());
        code.store(Width::Eight, data, NUMBER_AT as i16, number);
    }
    code.set(Reg::R1, out.cast_signed());
    code.set(Reg::R2, 0);
    code.call(Helper::Redirect);
    code.exit();
    code.land(no_count);
    code.land(too_short);
    code.end(Verdict::Aborted);
    code.finish()
}
