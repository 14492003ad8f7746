//! Which combinations there are, and a choice of them in which any three settings meet.

use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{AttachMode, BindMode, Buffers, BusyPoll, ChunkLayout, Packets, QueueConfig, Umem, Wakeups};

use crate::memory::Kind;
use crate::scene::{SOON, Setup};

/// How chunks lie: the layout, bytes in a chunk and in the provider's unit, bytes of headroom.
pub(crate) type Chunks = (ChunkLayout, u32, usize, u32);

const ATTACH: [AttachMode; 2] = [AttachMode::Generic, AttachMode::Native];
const CHUNKS: [Chunks; 6] = [
    (ChunkLayout::Aligned, 2048, 2048, 0),
    (ChunkLayout::Aligned, 4096, 4096, 0),
    (ChunkLayout::Aligned, 4096, 4096, 100),
    (ChunkLayout::Unaligned, 2048, 2048, 64),
    (ChunkLayout::Unaligned, 3000, 4096, 0),
    (ChunkLayout::Unaligned, 4096, 4096, 0),
];
const MEMORY: [Kind; 3] = [Kind::Ordinary, Kind::Memfd, Kind::Huge];
const WAKEUPS: [Wakeups; 2] = [Wakeups::WhenNeeded, Wakeups::Always];
const BIND: [BindMode; 2] = [BindMode::Best, BindMode::Copy];
const BUSY: [Option<BusyPoll>; 2] = [None, Some(BusyPoll { microseconds: 20, budget: 64 })];
const BUFFERS: [Buffers; 2] = [Buffers::One, Buffers::Several];
const QUEUES: [u32; 2] = [1, 2];
const UMEMS: [usize; 2] = [1, 2];

/// How many values each setting has, in the order of [`Row::at`].
const LEVELS: [usize; 9] = [
    ATTACH.len(),
    CHUNKS.len(),
    MEMORY.len(),
    BIND.len(),
    WAKEUPS.len(),
    BUSY.len(),
    BUFFERS.len(),
    QUEUES.len(),
    UMEMS.len(),
];

/// Which value of each setting.
type Choice = [usize; LEVELS.len()];

/// One combination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) attach: AttachMode,
    pub(crate) chunks: Chunks,
    pub(crate) memory: Kind,
    pub(crate) bind: BindMode,
    pub(crate) wakeups: Wakeups,
    pub(crate) busy_poll: Option<BusyPoll>,
    pub(crate) buffers: Buffers,
    pub(crate) queues: u32,
    pub(crate) umems: usize,
}

impl Row {
    fn at([attach, chunks, memory, bind, wakeups, busy, buffers, queues, umems]: Choice) -> Self {
        Row {
            attach: ATTACH[attach],
            chunks: CHUNKS[chunks],
            memory: MEMORY[memory],
            bind: BIND[bind],
            wakeups: WAKEUPS[wakeups],
            busy_poll: BUSY[busy],
            buffers: BUFFERS[buffers],
            queues: QUEUES[queues],
            umems: UMEMS[umems],
        }
    }

    /// All of them.
    pub(crate) fn all() -> Vec<Row> {
        choices().into_iter().map(Row::at).collect()
    }

    /// Some of them, among which is each combination of values of any three settings.
    pub(crate) fn triples() -> Vec<Row> {
        let all: Vec<_> = choices().into_iter().map(|choice| (choice, triples_of(&choice))).collect();
        let mut met = vec![false; TRIPLES];
        let mut rows = Vec::new();
        loop {
            let news = |triples: &Vec<usize>| triples.iter().filter(|&&triple| !met[triple]).count();
            let Some((choice, triples)) = all.iter().max_by_key(|(_, triples)| news(triples)) else { return rows };
            if news(triples) == 0 {
                return rows;
            }
            triples.iter().for_each(|&triple| met[triple] = true);
            rows.push(Row::at(*choice));
        }
    }

    pub(crate) fn mtu(&self) -> usize {
        if self.buffers == Buffers::Several { 9000 } else { 1500 }
    }

    pub(crate) fn setup(&self) -> Setup {
        let packets = if self.buffers == Buffers::Several { Packets::SeveralBuffers } else { Packets::Whole };
        let config = QueueConfig {
            entries: 64,
            buffers: self.buffers,
            bind: self.bind,
            wakeups: self.wakeups,
            busy_poll: self.busy_poll,
            patience: SOON,
            ..QueueConfig::default()
        };
        Setup { attach: self.attach, packets, queues: self.queues, config, ..Setup::default() }
    }

    pub(crate) fn umem(&self, buddy: &Buddy) -> Umem {
        let (layout, chunk_bytes, _, headroom) = self.chunks;
        let builder = Umem::builder(buddy).headroom(headroom);
        let umem = match layout {
            ChunkLayout::Aligned => builder.build(),
            ChunkLayout::Unaligned => builder.unaligned(chunk_bytes).build(),
        }
        .unwrap();
        assert_eq!((umem.layout(), umem.chunk_bytes(), umem.headroom()), (layout, chunk_bytes, headroom));
        umem
    }
}

impl core::fmt::Display for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (layout, chunk_bytes, _, headroom) = self.chunks;
        write!(
            f,
            "{:?}, {layout:?} chunks of {chunk_bytes} with {headroom} in front, {:?} memory, bound as {:?}, wake-ups {:?}, busy poll {}, {:?} \
             buffer, {} queue(s), {} UMEM(s)",
            self.attach,
            self.memory,
            self.bind,
            self.wakeups,
            if self.busy_poll.is_some() { "on" } else { "off" },
            self.buffers,
            self.queues,
            self.umems
        )
    }
}

fn choices() -> Vec<Choice> {
    LEVELS.iter().enumerate().fold(vec![[0; LEVELS.len()]], |choices, (setting, &levels)| {
        let with = |choice: &Choice, level| {
            let mut choice = *choice;
            choice[setting] = level;
            choice
        };
        choices.iter().flat_map(|choice| (0..levels).map(move |level| with(choice, level))).collect()
    })
}

/// More than any setting has values, and how many numbers of triples there are then.
const MOST: usize = 8;
const TRIPLES: usize = (LEVELS.len() * MOST).pow(3);

/// Each three settings of a choice with their values, as a number.
fn triples_of(choice: &Choice) -> Vec<usize> {
    let values: Vec<_> = choice.iter().enumerate().map(|(setting, value)| setting * MOST + value).collect();
    let mut triples = Vec::new();
    for (at, first) in values.iter().enumerate() {
        for (between, second) in values[at + 1..].iter().enumerate() {
            let rest = &values[at + between + 2..];
            triples
                .extend(rest.iter().map(|third| (first * LEVELS.len() * MOST + second) * LEVELS.len() * MOST + third));
        }
    }
    triples
}

#[test]
fn any_three_settings_meet() {
    let (rows, all) = (Row::triples(), Row::all());
    assert_eq!(all.len(), LEVELS.iter().product());
    assert!(rows.len() * 10 < all.len(), "{} of {}", rows.len(), all.len());
    // Two of the 84 sorts of threes, looked at another way.
    let one = |row: &Row| (row.attach == AttachMode::Native, row.chunks, row.memory);
    let two = |row: &Row| (row.queues, row.umems, row.buffers == Buffers::Several);
    for wanted in &all {
        assert!(rows.iter().any(|row| one(row) == one(wanted)), "{wanted}");
        assert!(rows.iter().any(|row| two(row) == two(wanted)), "{wanted}");
    }
}
