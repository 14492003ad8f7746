//! Ports end to end without a device between: what a capture's source gives, its sink writes back byte for byte.

#![allow(clippy::std_instead_of_core, reason = "as in the crate")]

#[path = "support/captures.rs"]
#[allow(dead_code, unreachable_pub, reason = "Shared with the program's tests, which use the rest.")]
mod captures;

use std::fs;
use std::io;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};

use captures::{Fraction, Order};
use pp_netdev::port::{Capture, Format, Input, OutPort, Repeat};
use pp_netdev::{Frame, FrameSink, FrameSource};
use tempfile::TempDir;

const ONCE: Repeat = Repeat::Times(NonZeroU64::MIN);

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    fn error_of(&self, content: &[u8]) -> String {
        let file = self.with("bad.pcap", content);
        let error = Capture::open(&file).and_then(|capture| capture.count()).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The first frames of a source.
struct First<S>(u64, S);

impl<S: FrameSource> FrameSource for First<S> {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(None) };
        self.0 = left;
        self.1.next_frame()
    }
}

/// Hands every frame from `source` to `sink`, changed by `change`; `None` drops it.
fn pump(
    source: &mut dyn FrameSource,
    sink: &mut dyn FrameSink,
    change: impl Fn(Frame<'_>) -> Option<Vec<u8>>,
) -> io::Result<u64> {
    let mut sent = 0;
    while let Some(frame) = source.next_frame()? {
        if let Some(bytes) = change(frame) {
            sink.send_frame(Frame { bytes: &bytes, mark: frame.mark })?;
            sent += 1;
        }
    }
    sink.finish()?;
    Ok(sent)
}

fn copy(input: &Path, repeat: Repeat, change: impl Fn(Frame<'_>) -> Option<Vec<u8>>) -> Vec<u8> {
    let capture = Capture::open(input).unwrap();
    let output = input.with_extension("out");
    pump(&mut capture.source(repeat), &mut capture.sink(&output).unwrap(), change).unwrap();
    fs::read(output).unwrap()
}

fn same(frame: Frame<'_>) -> Option<Vec<u8>> {
    Some(frame.bytes.to_vec())
}

fn each_pcap() -> impl Iterator<Item = (Order, Fraction)> {
    [Order::Little, Order::Big]
        .into_iter()
        .flat_map(|order| [Fraction::Micro, Fraction::Nano].map(|fraction| (order, fraction)))
}

#[test]
fn pcap_comes_out_as_it_went_in() {
    let files = Files::new();
    let frames = captures::frames(1000);
    for (order, fraction) in each_pcap() {
        let content = captures::pcap(order, fraction, &frames);
        let input = files.with("a.pcap", &content);
        assert!(copy(&input, ONCE, same) == content, "{order:?} {fraction:?}");
        let exchanged: Vec<_> = frames.iter().map(|frame| captures::swapped(frame)).collect();
        let expected = captures::pcap(order, fraction, &exchanged);
        assert!(copy(&input, ONCE, |frame| Some(captures::swapped(frame.bytes))) == expected, "{order:?} {fraction:?}");
    }
}

#[test]
fn pcapng_comes_out_as_it_went_in() {
    let files = Files::new();
    let frames = captures::frames(1000);
    let content = captures::pcapng(&frames);
    let input = files.with("a.pcapng", &content);
    assert_eq!(Capture::open(&input).unwrap().format(), Format::PcapNg);
    assert_eq!(Capture::open(&input).unwrap().count().unwrap(), 1000);
    assert!(copy(&input, ONCE, same) == content);
    let exchanged: Vec<_> = frames.iter().map(|frame| captures::swapped(frame)).collect();
    assert!(copy(&input, ONCE, |frame| Some(captures::swapped(frame.bytes))) == captures::pcapng(&exchanged));
}

#[test]
fn records_larger_than_any_buffer_are_copied() {
    let files = Files::new();
    let order = Order::Big;
    let frames = [captures::frame(0, 60), captures::frame(1, 262_144), captures::frame(2, 60)];
    let pcap = captures::pcap(order, Fraction::Micro, &frames);
    let mut pcapng = [captures::section(order), captures::interface(order, 1, 0)].concat();
    pcapng.extend(captures::block(order, 10, &vec![7; 5 << 20]));
    pcapng.extend(captures::enhanced(order, 0, 0, &frames[1]));
    for content in [pcap, pcapng] {
        assert!(copy(&files.with("a", &content), ONCE, same) == content);
    }
}

#[test]
fn the_source_gives_the_frames_in_order() {
    let files = Files::new();
    let frames = captures::frames(500);
    for content in [captures::pcap(Order::Big, Fraction::Micro, &frames), captures::pcapng(&frames)] {
        let mut source = Capture::open(&files.with("a", &content)).unwrap().source(ONCE);
        for (mark, expected) in (0..).zip(&frames) {
            assert_eq!(source.next_frame().unwrap(), Some(Frame { bytes: expected, mark }));
        }
        assert_eq!(source.next_frame().unwrap(), None);
        assert_eq!(source.next_frame().unwrap(), None);
    }
}

#[test]
fn dropped_packets_are_left_out_and_all_else_stays() {
    let files = Files::new();
    let frames = captures::frames(100);
    let (order, fraction) = (Order::Little, Fraction::Nano);
    let input = files.with("a.pcap", &captures::pcap(order, fraction, &frames));
    let odd = copy(&input, ONCE, |frame| (frame.mark % 2 == 1).then(|| frame.bytes.to_vec()));
    let packets = captures::pcap_packets(order, &frames);
    let mut expected = captures::pcap_header(order, fraction, 1);
    let mut at = 0;
    for (number, frame) in frames.iter().enumerate() {
        let end = at + 16 + frame.len();
        if number % 2 == 1 {
            expected.extend(&packets[at..end]);
        }
        at = end;
    }
    assert!(odd == expected);
    assert_eq!(copy(&input, ONCE, |_| None), captures::pcap_header(order, fraction, 1));

    // Without its packets a pcapng file is the blocks around them.
    let input = files.with("a.pcapng", &captures::pcapng(&frames));
    let output = files.with("b.pcapng", &copy(&input, ONCE, |_| None));
    let left = Capture::open(&output).unwrap();
    assert_eq!(left.count().unwrap(), 0);
    let unknown = |content: &[u8]| content.windows(19).filter(|bytes| bytes == b"unknown to everyone").count();
    assert_eq!(unknown(&fs::read(&output).unwrap()), unknown(&fs::read(&input).unwrap()));
    assert_eq!(copy(&output, Repeat::Forever, same), fs::read(&output).unwrap());
}

#[test]
fn repetition_repeats_packets_and_sections_but_not_the_header() {
    let files = Files::new();
    let frames = captures::frames(50);
    let three = Repeat::Times(NonZeroU64::new(3).unwrap());
    let (order, fraction) = (Order::Big, Fraction::Nano);
    let packets = captures::pcap_packets(order, &frames);
    let input = files.with("a.pcap", &captures::pcap(order, fraction, &frames));
    let expected = [&captures::pcap_header(order, fraction, 1)[..], &packets, &packets, &packets].concat();
    assert!(copy(&input, three, same) == expected);

    let content = captures::pcapng(&frames);
    let input = files.with("a.pcapng", &content);
    assert!(copy(&input, three, same) == [&content[..], &content, &content].concat());

    // A whole pass without a packet that arrives.
    let late = copy(&input, three, |frame| (frame.mark >= 100).then(|| frame.bytes.to_vec()));
    assert_eq!(Capture::open(&files.with("late", &late)).unwrap().count().unwrap(), 50);
}

#[test]
fn what_comes_after_the_last_sent_packet_is_not_copied() {
    let files = Files::new();
    let frames = captures::frames(50);
    let (order, fraction) = (Order::Little, Fraction::Micro);
    let capture = Capture::open(&files.with("a.pcap", &captures::pcap(order, fraction, &frames))).unwrap();
    let output = files.0.path().join("out");
    let mut source = First(20, capture.source(Repeat::Forever));
    assert_eq!(pump(&mut source, &mut capture.sink(&output).unwrap(), same).unwrap(), 20);
    assert!(fs::read(&output).unwrap() == captures::pcap(order, fraction, &frames[..20]));

    let content = captures::pcapng(&frames);
    let capture = Capture::open(&files.with("a.pcapng", &content)).unwrap();
    pump(&mut First(20, capture.source(ONCE)), &mut capture.sink(&output).unwrap(), same).unwrap();
    assert!(content.starts_with(&fs::read(&output).unwrap()));
}

#[test]
fn the_output_may_be_the_input() {
    let files = Files::new();
    let frames = captures::frames(3000);
    let input = files.with("a.pcap", &captures::pcap(Order::Little, Fraction::Micro, &frames));
    let capture = Capture::open(&input).unwrap();
    let change = |frame: Frame<'_>| Some(captures::swapped(frame.bytes));
    pump(&mut capture.source(ONCE), &mut capture.sink(&input).unwrap(), change).unwrap();
    let exchanged: Vec<_> = frames.iter().map(|frame| captures::swapped(frame)).collect();
    assert!(fs::read(&input).unwrap() == captures::pcap(Order::Little, Fraction::Micro, &exchanged));
}

#[test]
fn a_capture_cut_anywhere_is_truncated_or_shorter_but_never_wrong() {
    let files = Files::new();
    let frames: Vec<_> = (0..6).map(|number| captures::frame(number, 18 + number as usize)).collect();
    for content in [captures::pcap(Order::Little, Fraction::Micro, &frames), captures::pcapng(&frames)] {
        let mut whole = 0;
        for len in 1..content.len() {
            let input = files.with("cut", &content[..len]);
            let output = files.0.path().join("out");
            let result = Capture::open(&input)
                .map_err(io::Error::from)
                .and_then(|capture| pump(&mut capture.source(ONCE), &mut capture.sink(&output).unwrap(), same));
            match result {
                Ok(_) => {
                    whole += 1;
                    assert!(fs::read(&output).unwrap() == content[..len]);
                    fs::remove_file(&output).unwrap();
                }
                Err(error) => {
                    assert!(error.to_string().contains("is truncated: it ends inside"), "{len}: {error}");
                    assert!(!output.exists(), "a partial file at {len}");
                }
            }
        }
        // Only cuts between records are whole captures.
        assert!((6..30).contains(&whole), "{whole}");
    }
}

#[test]
fn bad_captures_get_one_sentence() {
    let files = Files::new();
    let frames = captures::frames(3);
    let good = captures::pcap(Order::Little, Fraction::Micro, &frames);
    let tail = "; capture or copy it again, or cut it there";

    assert_eq!(files.error_of(b""), "the capture bad.pcap is empty, it has not even a header; capture it again");
    assert_eq!(
        files.error_of(b"#!/bin/sh\n"),
        "bad.pcap is no pcap or pcapng capture; name a file written by tcpdump, dumpcap or Wireshark"
    );
    assert!(files.error_of(&[0x1f, 0x8b, 8, 0]).contains("decompress it first with `gunzip`"));
    assert!(files.error_of(&[0x34, 0xcd, 0xb2, 0xa1]).contains("editcap -F pcap"));
    assert_eq!(
        files.error_of(&captures::pcap_header(Order::Big, Fraction::Nano, 113)[..20]),
        format!("the capture bad.pcap is truncated: it ends inside what begins at byte 0, after 0 whole packets{tail}")
    );
    assert_eq!(
        files.error_of(&good[..good.len() - 1]),
        format!(
            "the capture bad.pcap is truncated: it ends inside what begins at byte {}, after 2 whole packets{tail}",
            good.len() - 16 - frames[2].len()
        )
    );
    let cooked = [captures::pcap_header(Order::Big, Fraction::Nano, 113), vec![0; 16]].concat();
    assert_eq!(
        files.error_of(&cooked),
        "packet 1 of the capture bad.pcap has link type 113, only Ethernet (1) can be forwarded; capture on an Ethernet interface"
    );
    let mut huge = good.clone();
    huge[24 + 8..24 + 12].copy_from_slice(&[0xff; 4]);
    assert!(files.error_of(&huge).contains("is damaged at byte 24, after 0 whole packets: a record claims"));
    let mut old = good.clone();
    old[6] = 3;
    assert!(files.error_of(&old).contains("its version is 2.3, only 2.4 is known"));

    let order = Order::Little;
    let begin = [captures::section(order), captures::interface(order, 1, 64)].concat();
    let frame = captures::frame(0, 60);
    let with = |block: Vec<u8>| files.error_of(&[&begin[..], &block].concat());
    assert!(with(captures::enhanced(order, 7, 0, &frame)).contains("names interface 7, which no block describes"));
    assert!(with(captures::simple(order, 64, &frame)).contains("longer than its block"));
    assert!(with(captures::block(order, 6, &[0; 8])).contains("too short for a packet"));
    let cooked = [captures::interface(order, 113, 0), captures::enhanced(order, 1, 0, &frame)].concat();
    assert!(with(cooked).contains("has link type 113"));
    let mut mismatch = captures::enhanced(order, 0, 0, &frame);
    *mismatch.last_mut().unwrap() ^= 1;
    assert!(with(mismatch).contains("is damaged at byte"));

    let missing = Capture::open(Path::new("missing.pcap")).unwrap_err().to_string();
    assert!(missing.starts_with("can't open the capture missing.pcap: No such file or directory"), "{missing}");
    let directory = Capture::open(files.0.path()).unwrap_err().to_string();
    assert!(directory.ends_with("is a directory; name one pcap or pcapng file in it"), "{directory}");
}

#[test]
fn a_sink_refuses_frames_that_are_not_next() {
    let files = Files::new();
    let frames = captures::frames(5);
    let capture = Capture::open(&files.with("a", &captures::pcap(Order::Big, Fraction::Micro, &frames))).unwrap();
    let sink = || capture.sink(&files.0.path().join("out")).unwrap();
    let refused = |sink: &mut dyn FrameSink, mark: u64, bytes: &[u8]| {
        let error = sink.send_frame(Frame { bytes, mark }).unwrap_err().to_string();
        assert!(error.contains("is not the next one of the capture"), "{error}");
    };
    let mut late = sink();
    late.send_frame(Frame { bytes: &frames[3], mark: 3 }).unwrap();
    refused(&mut late, 2, &frames[2]);
    refused(&mut sink(), 0, &frames[0][1..]);
}

#[test]
fn a_capture_that_changes_is_noticed() {
    let files = Files::new();
    let frames = captures::frames(5);
    let input = files.with("a", &captures::pcap(Order::Big, Fraction::Micro, &frames));
    let capture = Capture::open(&input).unwrap();
    let mut sink = capture.sink(&files.0.path().join("out")).unwrap();
    fs::write(&input, captures::pcap(Order::Big, Fraction::Micro, &[])).unwrap();
    let error = sink.send_frame(Frame { bytes: &frames[0], mark: 0 }).unwrap_err().to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

/// Whatever it becomes between two passes: fewer packets, none, no capture at all, more, or other ones.
#[test]
fn a_pass_that_differs_from_the_counted_one_is_noticed() {
    let files = Files::new();
    let (order, fraction) = (Order::Little, Fraction::Micro);
    let frames = captures::frames(5);
    let content = captures::pcap(order, fraction, &frames);
    let mut exchanged = frames.clone();
    exchanged.swap(1, 2);
    let more = [&content[..], &captures::pcap_packets(order, &frames[..1])].concat();
    for later in [
        captures::pcap(order, fraction, &frames[..3]),
        captures::pcap(order, fraction, &[]),
        Vec::new(),
        content[..content.len() - 1].to_vec(),
        vec![0xff; 1000],
        captures::pcap(order, fraction, &exchanged),
        more,
    ] {
        for counted in [true, false] {
            let input = files.with("a", &content);
            let capture = Capture::open(&input).unwrap();
            if counted {
                assert_eq!(capture.count().unwrap(), 5);
            }
            let mut source = capture.source(Repeat::Forever);
            // The end of a pass is seen when the next frame is asked for: one more, so that it was seen.
            for _ in 0..6 {
                source.next_frame().unwrap().unwrap();
            }
            files.with("a", &later);
            let error = (0..20).find_map(|_| source.next_frame().err()).unwrap().to_string();
            assert!(error.contains("changed while it was read"), "{error}");
            assert_eq!(source.next_frame().unwrap(), None);
        }
    }
}

#[test]
fn a_pass_without_packets_ends() {
    let files = Files::new();
    let content = captures::pcap(Order::Little, Fraction::Micro, &[]);
    let capture = Capture::open(&files.with("a", &content)).unwrap();
    assert_eq!(capture.source(Repeat::Forever).next_frame().unwrap(), None);
}

/// The source is done with the capture; the sink reads it later.
#[test]
fn a_sink_notices_a_change_that_its_source_did_not_see() {
    let files = Files::new();
    let (order, fraction) = (Order::Little, Fraction::Micro);
    let frames = captures::frames(5);
    let content = captures::pcap(order, fraction, &frames);
    for later in [captures::pcap(order, fraction, &frames[..3]), content[..content.len() - 1].to_vec()] {
        let input = files.with("a", &content);
        let capture = Capture::open(&input).unwrap();
        let mut source = capture.source(Repeat::Times(NonZeroU64::new(3).unwrap()));
        let mut sink = capture.sink(&files.0.path().join("out")).unwrap();
        let mut sent = Vec::new();
        while let Some(frame) = source.next_frame().unwrap() {
            sent.push((frame.bytes.to_vec(), frame.mark));
        }
        files.with("a", &later);
        let mut send = |(bytes, mark): &(Vec<u8>, u64)| sink.send_frame(Frame { bytes, mark: *mark }).err();
        let error = sent.iter().find_map(&mut send).unwrap().to_string();
        assert!(error.contains("changed while it was read"), "{error}");
    }
}

/// A mark that no source can have given is refused after a pass, and not looked for in pass after pass.
#[test]
fn a_mark_beyond_the_source_is_refused() {
    let files = Files::new();
    let frames = captures::frames(5);
    let capture = Capture::open(&files.with("a", &captures::pcap(Order::Big, Fraction::Micro, &frames))).unwrap();
    let mut source = capture.source(Repeat::Forever);
    for _ in 0..12 {
        source.next_frame().unwrap().unwrap();
    }
    let mut sink = capture.sink(&files.0.path().join("out")).unwrap();
    sink.send_frame(Frame { bytes: &frames[1], mark: 11 }).unwrap();
    assert!(sink.send_frame(Frame { bytes: &frames[0], mark: u64::MAX }).is_err());
}

#[test]
fn generated_frames_become_a_capture() {
    let files = Files::new();
    let input = Input::open(&"gen:100".parse().unwrap(), ONCE).unwrap();
    let file = files.0.path().join("gen.pcap");
    let port = OutPort::Pcap(file.clone());
    let mut sent = Vec::new();
    let mut source = First(10, input.source(NonZeroU16::MIN));
    let mut sink = input.sink(&port, NonZeroU16::MIN).unwrap();
    while let Some(frame) = source.next_frame().unwrap() {
        sent.push(frame.bytes.to_vec());
        sink.send_frame(frame).unwrap();
    }
    sink.finish().unwrap();
    let mut read = Capture::open(&file).unwrap().source(ONCE);
    for frame in &sent {
        assert_eq!(read.next_frame().unwrap().unwrap().bytes, frame);
    }
    assert_eq!(read.next_frame().unwrap(), None);
    let content = fs::read(&file).unwrap();
    assert_eq!(content[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    assert_eq!(content[24 + 12..24 + 16], 100_u32.to_le_bytes());
}

/// Bytes changed at random: what is still a capture comes out as it is, everything else gets a sentence.
#[test]
fn a_damaged_capture_is_refused_or_copied_as_it_is() {
    let files = Files::new();
    let frames: Vec<_> = (0..20).map(|number| captures::frame(number, 60 + number as usize)).collect();
    let bases = [captures::pcap(Order::Big, Fraction::Nano, &frames), captures::pcapng(&frames)];
    // xorshift64: the same bytes on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut copied, mut refused) = (0, 0);
    for _ in 0..1500 {
        let mut content = bases[random(2)].clone();
        for _ in 0..=random(3) {
            // As often in the headers as anywhere.
            let at = if random(2) == 0 { random(200) } else { random(content.len()) };
            content[at] = [0, 0xff, content[at] ^ (1 << random(8)), random(256) as u8][random(4)];
        }
        let input = files.with("a", &content);
        match Capture::open(&input).and_then(|capture| capture.count().map(|_| capture)) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("; "), "no advice in: {error}");
            }
            Ok(_) => {
                copied += 1;
                assert!(copy(&input, ONCE, same) == content);
            }
        }
    }
    assert!(copied > 100 && refused > 100, "{copied} copied, {refused} refused");
}
