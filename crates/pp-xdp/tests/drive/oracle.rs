//! What must be true of a queue, in the simplest words: lists, counts, and who has each chunk.

use std::collections::VecDeque;

use pp_xdp::af_xdp::{QueueCounters, XdpDesc};

/// Which way a chunk was given to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Receive,
    Transmit,
}

/// Where a chunk is, as far as that is known: a page that a queue took from a pool is known once the kernel has read its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// With its provider, in a pool, or in a ring where nobody has seen it yet.
    Home,
    /// With the user; a page of this pool.
    User { pool: usize },
    /// Given to this queue; a page of this pool.
    Kernel { queue: usize, way: Way, pool: usize },
}

/// A cursor of the kernel is where none can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Astray;

/// A ring that the user writes: what it holds, and what the user thinks.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) size: usize,
    pub(crate) unpublished: usize,
    /// Published, and not read by the kernel.
    pub(crate) in_ring: usize,
    /// The same when the user looked last.
    pub(crate) believed: usize,
    pub(crate) astray: bool,
}

impl Written {
    pub(crate) fn new(size: usize) -> Self {
        Written { size, unpublished: 0, in_ring: 0, believed: 0, astray: false }
    }

    /// What the user is told when it asks for so many places.
    pub(crate) fn room(&mut self, want: usize) -> Result<usize, Astray> {
        if self.size - self.unpublished - self.believed < want {
            if self.astray {
                return Err(Astray);
            }
            self.believed = self.in_ring;
        }
        Ok(self.size - self.unpublished - self.believed)
    }

    pub(crate) fn publish(&mut self) {
        self.in_ring += self.unpublished;
        self.believed += self.unpublished;
        self.unpublished = 0;
    }

    /// The kernel reads an entry, if there is one.
    pub(crate) fn read(&mut self) -> bool {
        let some = self.in_ring > 0;
        self.in_ring -= usize::from(some);
        self.astray &= !some;
        some
    }
}

/// A ring that the kernel writes.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) size: usize,
    pub(crate) entries: VecDeque<T>,
    /// How many of them the user knows of.
    pub(crate) known: usize,
    pub(crate) astray: bool,
}

impl<T> Read<T> {
    pub(crate) fn new(size: usize) -> Self {
        Read { size, entries: VecDeque::new(), known: 0, astray: false }
    }

    /// What the user is told is there, who wants so many; and whether it was found astray then.
    pub(crate) fn available(&mut self, want: usize) -> (usize, bool) {
        let looks = self.known < want;
        if looks && !self.astray {
            self.known = self.entries.len();
        }
        (self.known, looks && self.astray)
    }

    pub(crate) fn read(&mut self) -> Option<T> {
        self.known = self.known.checked_sub(1)?;
        self.entries.pop_front()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < self.size
    }

    pub(crate) fn write(&mut self, entry: T) {
        self.entries.push_back(entry);
        self.astray = false;
    }
}

/// An entry of the transmit ring.
#[derive(Debug)]
pub(crate) struct Sent {
    /// `None` for a copy, whose page is known once the kernel has read its entry.
    pub(crate) addr: Option<u64>,
    pub(crate) continued: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) pool: usize,
}

/// The chunks of a packet whose last one has not been read.
#[derive(Debug)]
pub(crate) enum Begun {
    Nothing,
    Packet(Wanted),
    Broken,
}

/// A packet as it must come out: its chunks, and the bytes in each where those are known.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) chunks: Vec<usize>,
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) bytes: Option<Vec<u8>>,
}

/// A received descriptor, with what the kernel wrote there if it could.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) desc: XdpDesc,
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Counts by the names that [`QueueCounters`] has for them.
macro_rules! counts {
    ($($name:ident),+ $(,)?) => {
        /// What the counters must say.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counts {
            $(pub(crate) $name: usize,)+
        }

        impl Counts {
            pub(crate) fn of(counters: &QueueCounters) -> Self {
                Counts { $($name: counters.$name.get(),)+ }
            }

            pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counts! {
    given, received, packets_in, bytes_in, sent, packets_out, bytes_out, completed, copied_bytes, wakes,
    out_of_area, not_given, bad_length, broken_packets, astray,
}

impl Counts {
    pub(crate) fn nonsense(&self) -> usize {
        self.out_of_area + self.not_given + self.bad_length + self.astray
    }
}
