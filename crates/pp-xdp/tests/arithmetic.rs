//! Headroom, tailroom, metadata and fragments against an oracle that keeps every byte and computes in 128 bits.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::{pool, queue};
use pp_core::PagePool;
use pp_xdp::{AdjustError, Buffer, MAX_FRAGS, Memory, PoolFrags, Registry, XdpBuff};
use proptest::prelude::*;

const PAGE: usize = 4096;
const PART: usize = 1024;

#[derive(Clone, Debug)]
enum Op {
    Head(i32),
    Tail(i32),
    /// The end to where so many bytes are left, or a byte or two beside the buffer's.
    CutTo(usize),
    GrowToEnd(i32),
    Meta(i32),
    /// A page as the next fragment, or several parts one after the other, of which the packet gets these bytes of each.
    AddPage(usize, usize),
    AddParts(usize, usize, usize),
    Pop,
    WriteData(u8),
    WriteMeta(u8),
    Load(usize, usize),
}

/// Amounts that programs would use, and those that they would not.
fn delta() -> impl Strategy<Value = i32> {
    prop_oneof![
        4 => -64..64i32,
        4 => (-65..65i32).prop_map(|words| words * 4),
        4 => -5000..5000i32,
        1 => any::<i32>(),
        1 => prop::sample::select(vec![i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 1, -4096, 4096]),
    ]
}

/// Numbers up to `max`, mostly, and some that are far beyond.
fn size(max: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..=max,
        2 => prop::sample::select(vec![0, 1, max - 1, max, max + 1]),
        1 => prop::sample::select(vec![usize::MAX, usize::MAX - 1, usize::MAX / 2, u32::MAX as usize, 1 << 32, 1 << 31]),
        1 => any::<usize>(),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => delta().prop_map(Op::Head),
        4 => delta().prop_map(Op::Tail),
        1 => (12..17usize).prop_map(Op::CutTo),
        1 => (-1..2i32).prop_map(Op::GrowToEnd),
        3 => delta().prop_map(Op::Meta),
        2 => (size(PAGE), size(PAGE)).prop_map(|(offset, len)| Op::AddPage(offset, len)),
        2 => Just(Op::AddPage(0, PAGE)),
        2 => (1..4usize, size(PART), size(PART)).prop_map(|(parts, offset, len)| Op::AddParts(parts, offset, len)),
        3 => (1..8usize).prop_map(|parts| Op::AddParts(parts, 0, PART)),
        1 => Just(Op::Pop),
        1 => any::<u8>().prop_map(Op::WriteData),
        1 => any::<u8>().prop_map(Op::WriteMeta),
        2 => (size(PAGE * 2), size(PAGE * 2)).prop_map(|(offset, len)| Op::Load(offset, len.min(PAGE * 20))),
    ]
}

/// A stretch of memory with a stretch of the packet in it.
struct Piece {
    /// Where it lies, which tells neighbours.
    address: usize,
    bytes: Vec<u8>,
    start: i128,
    end: i128,
}

impl Piece {
    fn used(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }
}

struct Oracle {
    head: Piece,
    meta: i128,
    frags: Vec<Piece>,
}

impl Oracle {
    fn len(&self) -> i128 {
        let frags: i128 = self.frags.iter().map(|frag| frag.end - frag.start).sum();
        self.head.end - self.head.start + frags
    }

    fn adjust_head(&mut self, delta: i128) -> bool {
        let (meta, data) = (self.meta + delta, self.head.start + delta);
        if meta < 0 || data > self.head.end - 14 {
            return false;
        }
        let moved = self.head.bytes[self.meta as usize..self.head.start as usize].to_vec();
        self.head.bytes[meta as usize..data as usize].copy_from_slice(&moved);
        (self.meta, self.head.start) = (meta, data);
        true
    }

    fn adjust_meta(&mut self, delta: i128) -> bool {
        let meta = self.meta + delta;
        let len = self.head.start - meta;
        let fits = meta >= 0 && (0..=255).contains(&len) && len % 4 == 0;
        if fits {
            self.meta = meta;
        }
        fits
    }

    fn adjust_tail(&mut self, delta: i128) -> bool {
        let several = !self.frags.is_empty();
        let last = self.frags.last_mut().unwrap_or(&mut self.head);
        if delta >= 0 {
            // Without fragments the rule that a header must be left holds for growing as well.
            let header = several || last.end + delta - last.start >= 14;
            let fits = last.end + delta <= last.bytes.len() as i128 && header;
            if fits {
                last.bytes[last.end as usize..(last.end + delta) as usize].fill(0);
                last.end += delta;
            }
            return fits;
        }
        if self.len() + delta < 14 {
            return false;
        }
        let mut cut = -delta;
        while cut > 0 {
            let last = self.frags.last_mut().unwrap_or(&mut self.head);
            let here = cut.min(last.end - last.start);
            last.end -= here;
            cut -= here;
            if last.end == last.start {
                self.frags.pop();
            }
        }
        true
    }

    fn add(&mut self, address: usize, bytes: Vec<u8>, offset: usize, len: usize) -> bool {
        let end = offset as i128 + len as i128;
        if len == 0 || end > bytes.len() as i128 {
            return false;
        }
        if let Some(last) = self.frags.last_mut() {
            let behind = last.address + last.bytes.len() == address && !address.is_multiple_of(PAGE);
            if behind && offset == 0 && last.end == last.bytes.len() as i128 {
                last.end += end;
                last.bytes.extend(bytes);
                return true;
            }
        }
        if self.frags.len() == MAX_FRAGS {
            return false;
        }
        self.frags.push(Piece { address, bytes, start: offset as i128, end });
        true
    }

    fn packet(&self) -> Vec<u8> {
        core::iter::once(&self.head).chain(&self.frags).flat_map(|piece| piece.used().to_vec()).collect()
    }

    fn check(&self, buff: &XdpBuff<'_>) {
        let last = self.frags.last().unwrap_or(&self.head);
        assert_eq!(buff.len() as i128, self.len());
        assert_eq!(buff.headroom() as i128, self.meta);
        assert_eq!(buff.tailroom() as i128, last.bytes.len() as i128 - last.end);
        assert_eq!(buff.meta().unwrap(), &self.head.bytes[self.meta as usize..self.head.start as usize]);
        assert_eq!(buff.meta().unwrap().len(), buff.meta_len());
        assert_eq!(buff.data().unwrap(), self.head.used());
        assert_eq!(buff.frags().len(), self.frags.len());
        for (frag, piece) in buff.frags().iter().zip(&self.frags) {
            assert_eq!(frag.data().unwrap(), piece.used());
            assert_eq!((frag.truesize(), frag.len(), frag.is_empty()), (piece.bytes.len(), piece.used().len(), false));
        }
        let truesize = self.frags.iter().map(|piece| piece.bytes.len()).sum::<usize>() + self.head.bytes.len();
        assert_eq!(buff.truesize(), truesize);
        // Whatever happens to them, not a byte beyond the marks is changed.
        assert_eq!(buff.head().bytes().unwrap(), self.head.bytes);
    }
}

/// Fills a buffer with a pattern of its own and says where it lies.
fn tag(buffer: &mut Buffer, seed: &mut u8) -> (usize, Vec<u8>) {
    *seed = seed.wrapping_add(1);
    let bytes = buffer.bytes_mut().expect("host memory");
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = seed.wrapping_mul(31) ^ (at as u8) ^ ((at >> 8) as u8);
    }
    (bytes.as_ptr().addr(), bytes.to_vec())
}

fn add(buff: &mut XdpBuff<'_>, oracle: &mut Oracle, mut buffer: Buffer, offset: usize, len: usize, seed: &mut u8) {
    let (address, bytes) = tag(&mut buffer, seed);
    let expected = oracle.add(address, bytes.clone(), offset, len);
    match buff.add_frag(buffer, offset, len) {
        Ok(()) => assert!(expected, "{len} bytes at {offset} were taken"),
        Err(refused) => {
            assert!(!expected, "{len} bytes at {offset}: {}", refused.reason);
            assert_eq!(refused.buffer.bytes().unwrap(), bytes, "given back as it was");
        }
    }
}

fn run(headroom: usize, len: usize, ops: &[Op]) {
    let (home, pool) = pool(512);
    let mut frags = PoolFrags::new(pool, PART).unwrap();
    let mut pages = PagePool::builder(home.clone()).build().unwrap();
    let rxq = queue(&Registry::new(), &frags);
    let mut seed = 0;
    let mut buffer = Buffer::from(pages.alloc().unwrap());
    let (address, bytes) = tag(&mut buffer, &mut seed);
    let fits = headroom as i128 + len as i128 <= PAGE as i128;
    let mut buff = match rxq.prepare(buffer, headroom, len) {
        Ok(buff) => buff,
        Err(refused) => {
            assert!(!fits, "{headroom} + {len}: {}", refused.reason);
            assert_eq!(refused.buffer.bytes().unwrap(), bytes);
            return;
        }
    };
    assert!(fits, "{headroom} + {len}");
    let (start, end) = (headroom as i128, headroom as i128 + len as i128);
    let mut oracle = Oracle { head: Piece { address, bytes, start, end }, meta: start, frags: Vec::new() };
    for op in ops {
        let op = &match *op {
            Op::CutTo(left) => Op::Tail(left as i32 - buff.len() as i32),
            Op::GrowToEnd(beside) => Op::Tail(buff.tailroom() as i32 + beside),
            ref op => op.clone(),
        };
        match *op {
            Op::CutTo(_) | Op::GrowToEnd(_) => unreachable!("made into `Tail` above"),
            Op::Head(delta) => assert_eq!(buff.adjust_head(delta).is_ok(), oracle.adjust_head(delta.into()), "{op:?}"),
            Op::Tail(delta) => {
                let (tailroom, outcome) = (buff.tailroom(), buff.adjust_tail(delta));
                assert_eq!(outcome.is_ok(), oracle.adjust_tail(delta.into()), "{op:?}");
                if usize::try_from(delta).is_ok_and(|delta| delta > tailroom) {
                    assert_eq!(outcome, Err(AdjustError::NoTailroom { delta, tailroom }));
                }
            }
            Op::Meta(delta) => assert_eq!(buff.adjust_meta(delta).is_ok(), oracle.adjust_meta(delta.into()), "{op:?}"),
            Op::AddPage(offset, len) => {
                let page = pages.alloc().unwrap().into();
                add(&mut buff, &mut oracle, page, offset, len, &mut seed);
            }
            Op::AddParts(parts, offset, len) => {
                for _ in 0..parts {
                    let part = frags.alloc().unwrap();
                    add(&mut buff, &mut oracle, part, offset, len, &mut seed);
                }
            }
            Op::Pop => assert_eq!(buff.pop_frag().is_some(), oracle.frags.pop().is_some()),
            Op::WriteData(byte) => {
                buff.data_mut().unwrap().fill(byte);
                let (start, end) = (oracle.head.start as usize, oracle.head.end as usize);
                oracle.head.bytes[start..end].fill(byte);
            }
            Op::WriteMeta(byte) => {
                buff.meta_mut().unwrap().fill(byte);
                let (meta, start) = (oracle.meta as usize, oracle.head.start as usize);
                oracle.head.bytes[meta..start].fill(byte);
            }
            Op::Load(offset, len) => {
                let mut out = vec![0; len];
                let packet = oracle.packet();
                let expected = packet.get(offset..).and_then(|rest| rest.get(..len));
                assert_eq!(buff.load_bytes(offset, &mut out).is_ok(), expected.is_some(), "{op:?}");
                assert!(expected.is_none_or(|expected| expected == out), "{op:?}");
            }
        }
        oracle.check(&buff);
    }
    drop(buff);
    assert_eq!((pages.stats().in_use(), frags.pool().stats().in_use().min(1)), (0, frags.pool().stats().in_use()));
    drop((pages, frags));
    assert_eq!(home.out(), 0);
}

proptest! {
    #[test]
    fn a_packet_is_what_the_oracle_says(
        headroom in prop_oneof![4 => 0..600usize, 1 => size(PAGE)],
        len in prop_oneof![4 => 0..2000usize, 1 => size(PAGE)],
        ops in prop::collection::vec(op(), 0..60),
    ) {
        run(headroom, len, &ops);
    }
}

#[test]
fn the_limits_of_metadata_are_exact() {
    let (_home, mut pool) = pool(8);
    let rxq = queue(&Registry::new(), &pool);
    let mut buff = rxq.prepare(pool.alloc().unwrap(), 300, 100).unwrap();
    for (delta, fits) in
        [(-252, true), (252, true), (-256, false), (-253, false), (-255, false), (-2, false), (4, false)]
    {
        assert_eq!(buff.adjust_meta(delta).is_ok(), fits, "{delta}");
    }
    assert_eq!((buff.meta_len(), buff.headroom()), (0, 300));
    // All of the headroom is the program's: there is no frame in it.
    buff.adjust_meta(-252).unwrap();
    buff.adjust_head(-48).unwrap();
    assert_eq!((buff.headroom(), buff.len()), (0, 148));
    assert!(buff.adjust_head(-1).is_err() && buff.adjust_meta(-4).is_err());
    buff.adjust_tail(4096 - 400).unwrap();
    assert_eq!((buff.tailroom(), buff.adjust_tail(1).is_ok()), (0, false));
}

#[test]
fn cutting_returns_whole_fragments_at_once() {
    let (_home, mut pool) = pool(64);
    let rxq = queue(&Registry::new(), &pool);
    let mut buff = rxq.prepare(pool.alloc().unwrap(), 0, 100).unwrap();
    for _ in 0..3 {
        buff.add_frag(pool.alloc().unwrap(), 0, 1000).unwrap();
    }
    buff.adjust_tail(-1500).unwrap();
    assert_eq!((buff.len(), buff.frags().len(), pool.stats().recycle.ring), (1600, 2, 1));
    buff.adjust_tail(-1586).unwrap();
    assert_eq!((buff.len(), buff.frags().len(), pool.stats().recycle.ring), (14, 0, 3));
    assert!(buff.adjust_tail(-1).is_err() && buff.adjust_tail(i32::MIN).is_err());

    // A header that lies in both, as after a header split.
    let mut buff = rxq.prepare(pool.alloc().unwrap(), 0, 6).unwrap();
    buff.add_frag(pool.alloc().unwrap(), 0, 9).unwrap();
    assert_eq!(buff.adjust_tail(-2), Err(AdjustError::TooShort { delta: -2, len: 15 }));
    assert_eq!(buff.adjust_tail(-1), Ok(()));
    assert_eq!(buff.adjust_tail(-1), Err(AdjustError::TooShort { delta: -1, len: 14 }));
    assert_eq!((buff.len(), buff.frags().len()), (14, 1));
}
