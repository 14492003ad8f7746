//! Where packets end and are counted.

use std::io;

use crate::assembly::{Assembler, Helper, If, Reg, Verdict, Width, Word};
use crate::error::Error;
use crate::frame::{MARK, MARK_AT, NUMBER_AT};
use crate::namespace::Namespace;
use crate::sys::bpf::{Counters, Link, Program};

/// Drops every packet that comes to an interface, and counts. Dropping it lets them come in again.
///
/// What it costs is the processor of who sends: a veth is received from where it is sent to. An example is at
/// [`Path::generate`](crate::Path::generate).
#[derive(Debug)]
pub struct Sink {
    counters: Counters<FIELDS>,
    #[expect(dead_code, reason = "is held, so that the program stays attached")]
    link: Link,
}

/// Where on the way in an XDP program runs.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use pp_testbed::{Hook, Path, Sink};
///
/// let path = Path::builder().build()?;
/// let sink = Sink::attach(path.server(), Path::SERVER, Hook::Generic)?;
/// assert_eq!(sink.counts()?.packets, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// In the driver.
    Native,
    /// After the driver, on packets as the kernel's stack sees them.
    Generic,
}

/// What a [`Sink`] has seen. [`Path::generate`](crate::Path::generate) shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All packets.
    pub packets: u64,
    /// All their bytes, without the checksums that hardware adds.
    pub bytes: u64,
    /// Packets that a [`Generator`](crate::Generator) has numbered.
    pub numbered: u64,
    /// Those of them whose number was not higher than that of the one before: they came twice, or after one sent later. Right if
    /// they come from one generator, and come to one queue.
    pub misplaced: u64,
    /// One more than the last packet's number, 0 before the first.
    pub next: u64,
}

const FIELDS: usize = 5;
/// Where in the map's value the fields are.
const PACKETS: i16 = 0;
const BYTES: i16 = 8;
const NUMBERED: i16 = 16;
const MISPLACED: i16 = 24;
const NEXT: i16 = 32;

impl Hook {
    /// XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE.
    pub(crate) fn flag(self) -> u32 {
        match self {
            Hook::Native => 1 << 2,
            Hook::Generic => 1 << 1,
        }
    }
}

impl Sink {
    /// Begins on an interface. See [`Path`](crate::Path).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such interface, it has a program already, or there is no right to.
    pub fn attach(namespace: &Namespace, interface: &str, hook: Hook) -> Result<Self, Error> {
        let refused = |source: io::Error| Error::system(format!("a sink on `{interface}`"))(source);
        let index = namespace.index(interface)?;
        let counters = Counters::new().map_err(refused)?;
        let program = Program::load(&program(&counters)).map_err(refused)?;
        let link = namespace.enter(|| program.attach(index, hook.flag()))?.map_err(refused)?;
        Ok(Sink { counters, link })
    }

    /// What it has seen so far.
    ///
    /// # Errors
    ///
    /// [`Error::System`], which would be a kernel's bug.
    pub fn counts(&self) -> Result<Counts, Error> {
        let fields = self.counters.read().map_err(Error::system("the sink's counts"))?;
        let [packets, bytes, numbered, misplaced, next] = fields;
        Ok(Counts { packets, bytes, numbered, misplaced, next })
    }
}

fn program(counters: &Counters<FIELDS>) -> Vec<Word> {
    let (context, counts, data, end, next) = (Reg::R6, Reg::R7, Reg::R2, Reg::R3, Reg::R8);
    let mut code = Assembler::new();
    code.copy(context, Reg::R1);
    code.look_up(counters.descriptor());
    let no_counts = code.jump_if_null(Reg::R0);
    code.copy(counts, Reg::R0);
    code.copy(Reg::R1, context);
    code.call(Helper::BufferLength);
    code.atomic_add(counts, BYTES, Reg::R0);
    code.set(Reg::R0, 1);
    code.atomic_add(counts, PACKETS, Reg::R0);

    code.load(Width::Four, data, context, 0);
    code.load(Width::Four, end, context, 4);
    code.copy(Reg::R4, data);
    code.add(Reg::R4, NUMBER_AT as i32 + 8);
    let too_short = code.jump_if(Reg::R4, If::Greater, end);
    code.load(Width::Four, Reg::R4, data, MARK_AT as i16);
    let not_numbered = code.jump_if_value(Reg::R4, If::NotEqual, MARK.cast_signed());
    code.atomic_add(counts, NUMBERED, Reg::R0);
    code.load(Width::Eight, next, data, NUMBER_AT as i16);
    code.add(next, 1);
    code.load(Width::Eight, Reg::R4, counts, NEXT);
    let in_order = code.jump_if(next, If::Greater, Reg::R4);
    code.atomic_add(counts, MISPLACED, Reg::R0);
    code.land(in_order);
    code.store(Width::Eight, counts, NEXT, next);

    code.land(no_counts);
    code.land(too_short);
    code.land(not_numbered);
    code.end(Verdict::Drop);
    code.finish()
}
