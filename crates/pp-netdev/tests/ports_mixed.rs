//! Frames of a capture that came through several queues: each order by itself, the orders mixed. Every packet finds its record,
//! and the file stays one that others can read.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "as in the crate")]

#[path = "support/captures.rs"]
#[allow(dead_code, unreachable_pub, reason = "Shared with other tests, which use the rest.")]
mod captures;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::Path;

use captures::{Fraction, Order};
use pp_netdev::port::{Capture, Repeat};
use pp_netdev::{Frame, FrameSink, FrameSource};

/// A number generator of its own, so that a failure comes again: xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// All frames of a source, dealt to queues, and taken from there in bursts; each `drop`th is lost.
fn mixed(source: &mut dyn FrameSource, queues: usize, drop: u64, numbers: &mut Numbers) -> Vec<(u64, Vec<u8>)> {
    let mut waiting = vec![VecDeque::new(); queues];
    while let Some(frame) = source.next_frame().unwrap() {
        if (frame.mark + 1) % drop != 0 {
            waiting[numbers.below(queues)].push_back((frame.mark, frame.bytes.to_vec()));
        }
    }
    let mut arrived = Vec::new();
    while waiting.iter().any(|queue| !queue.is_empty()) {
        let queue = &mut waiting[numbers.below(queues)];
        let burst = (1 + numbers.below(32)).min(queue.len());
        arrived.extend(queue.drain(..burst));
    }
    arrived
}

fn forward(capture: &Capture, repeat: u64, queues: u16, drop: u64, output: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ u64::from(queues) << 32 ^ repeat);
    let mut source = capture.source(Repeat::Times(NonZeroU64::new(repeat).unwrap()));
    let arrived = mixed(&mut source, usize::from(queues), drop, &mut numbers);
    let mut sink = capture.sink_of_queues(output, NonZeroU16::new(queues).unwrap()).unwrap();
    for (mark, bytes) in &arrived {
        sink.send_frame(Frame { bytes, mark: *mark }).unwrap();
    }
    sink.finish().unwrap();
    arrived
}

#[test]
fn a_pcap_file_is_its_packets_in_the_order_in_which_they_came() {
    let files = tempfile::tempdir().unwrap();
    let (input, output) = (files.path().join("in"), files.path().join("out"));
    let frames = captures::frames(400);
    let order = Order::Big;
    // Where each packet's record lies.
    let mut records = Vec::new();
    let all = captures::pcap_packets(order, &frames);
    let mut rest = &all[..];
    for frame in &frames {
        let (record, after) = rest.split_at(16 + frame.len());
        records.push(record);
        rest = after;
    }
    fs::write(&input, captures::pcap(order, Fraction::Nano, &frames)).unwrap();
    let capture = Capture::open(&input).unwrap();
    for (repeat, queues, drop) in [(1, 2, u64::MAX), (3, 4, 7), (2, 16, 2), (2, 1, 3)] {
        let arrived = forward(&capture, repeat, queues, drop, &output);
        let mut expected = captures::pcap_header(order, Fraction::Nano, 1);
        expected.extend(arrived.iter().flat_map(|(mark, _)| records[*mark as usize % frames.len()]));
        assert!(fs::read(&output).unwrap() == expected, "{repeat} {queues} {drop}");
    }
}

/// What a file says, read block by block by nobody's library: each packet with the block it is in, and blocks of other kinds.
#[derive(Default, PartialEq, Debug)]
struct Blocks {
    /// The packets' blocks in their order, each with its section's byte order.
    packets: Vec<(bool, Vec<u8>)>,
    /// How often each other block is there, the heads of sections aside.
    others: BTreeMap<Vec<u8>, usize>,
}

/// # Panics
///
/// A packet's interface has not been described in its section before it.
fn read(mut file: &[u8]) -> Blocks {
    let (mut blocks, mut little, mut interfaces) = (Blocks::default(), false, Vec::new());
    while !file.is_empty() {
        if file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            little = file[8] == 0x4d;
            interfaces.clear();
        }
        let word = |at: usize| {
            let bytes = *file[at..].first_chunk().unwrap();
            if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        let half = |at: usize| {
            let bytes = *file[at..].first_chunk().unwrap();
            if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
        };
        let (kind, len) = (word(0), word(4) as usize);
        let interface = match kind {
            2 => Some(u32::from(half(8))),
            3 => Some(0),
            6 => Some(word(8)),
            _ => None,
        };
        if let Some(interface) = interface {
            assert_eq!(interfaces.get(interface as usize), Some(&1), "an interface that is there, and Ethernet");
            blocks.packets.push((little, file[..len].to_vec()));
        } else if kind == 1 {
            interfaces.push(half(8));
        } else if kind != 0x0a0d_0d0a {
            *blocks.others.entry(file[..len].to_vec()).or_default() += 1;
        }
        file = &file[len..];
    }
    blocks
}

#[test]
fn a_pcapng_file_keeps_every_packet_in_a_section_of_its_own_kind() {
    let files = tempfile::tempdir().unwrap();
    let (input, output) = (files.path().join("in"), files.path().join("out"));
    let content = captures::pcapng(&captures::frames(300));
    fs::write(&input, &content).unwrap();
    let original = read(&content);
    let capture = Capture::open(&input).unwrap();
    for (repeat, queues, drop) in [(1, 2, u64::MAX), (3, 4, 7), (2, 16, 2), (2, 1, 3)] {
        let arrived = forward(&capture, repeat, queues, drop, &output);
        let found = read(&fs::read(&output).unwrap());
        let expected: Vec<_> = arrived.iter().map(|(mark, _)| original.packets[*mark as usize % 300].clone()).collect();
        assert!(found.packets == expected, "{repeat} {queues} {drop}");
        // Everything else once a pass. What stands behind the last frame that came comes when the source is at its end, which it is.
        let others = original.others.iter().map(|(block, count)| (block.clone(), count * repeat as usize));
        assert_eq!(found.others, others.collect(), "{repeat} {queues} {drop}");
        // And it is a capture that can be read.
        assert_eq!(Capture::open(&output).unwrap().count().unwrap(), arrived.len() as u64);
    }
}

#[test]
fn with_fewer_lanes_than_orders_a_frame_is_refused() {
    let files = tempfile::tempdir().unwrap();
    let (input, output) = (files.path().join("in"), files.path().join("out"));
    let frames = captures::frames(10);
    fs::write(&input, captures::pcap(Order::Little, Fraction::Micro, &frames)).unwrap();
    let capture = Capture::open(&input).unwrap();
    let mut sink = capture.sink_of_queues(&output, NonZeroU16::new(2).unwrap()).unwrap();
    let mut send = |mark: usize| sink.send_frame(Frame { bytes: &frames[mark], mark: mark as u64 });
    for mark in [5, 3, 7, 4] {
        send(mark).unwrap();
    }
    assert!(send(2).is_err(), "both lanes have passed it");
}
