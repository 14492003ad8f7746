//! Where the frames lie in the records of the two formats.

use std::ops::Range;

use pcap_file::Endianness;
use pcap_file::pcap::{PcapParseError, PcapParser};
use pcap_file::pcapng::blocks::block_common::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, PACKET_BLOCK, SECTION_HEADER_BLOCK, SIMPLE_PACKET_BLOCK,
};
use pcap_file::pcapng::{PcapNgParseError, PcapNgParser, RawBlock};

use super::error::Advice;

/// The most a record may claim to hold; what claims more is damaged. Wireshark draws the line at the same place.
pub(super) const MAX_RECORD: usize = 16 << 20;

const ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Type and length; the length stands at the end again.
const BLOCK_HEADER: usize = 8;

/// The two formats. See [`Capture`](super::Capture).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// libpcap's own, either byte order, microseconds or nanoseconds.
    Pcap,
    /// Sections of blocks.
    PcapNg,
}

/// Finds the records of one pass through a capture.
#[derive(Debug)]
pub(super) enum Parser {
    /// `None` before the header.
    Pcap(Option<PcapParser>),
    /// `None` before the first section.
    PcapNg(Option<PcapNgParser>),
}

/// One record, by its place in the bytes it was found in.
#[derive(Debug)]
pub(super) struct Found {
    /// Bytes of the record, which begins where the bytes begin.
    pub(super) len: usize,
    /// Where the frame lies in them; `None` if the record is no packet.
    pub(super) frame: Option<Range<usize>>,
    /// Whether it is of a section's head.
    pub(super) head: Option<Head>,
}

/// What a record is to a section's head: all that its packets need before them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    /// The header of a section or a pcap file.
    Begins,
    /// An interface.
    Continues,
}

/// Why no record was found.
#[derive(Debug)]
pub(super) enum Flaw {
    /// There must be more bytes.
    Short,
    /// They contradict themselves.
    Damaged(String),
    /// A packet, but no Ethernet frame.
    LinkType(u32),
}

// === impl Format ===

impl Format {
    /// The format of a file that begins with these bytes, up to four.
    pub(super) fn of(head: &[u8]) -> Result<Self, Advice> {
        // A file cut inside its magic is still recognised, and then found to be truncated.
        let is = |magic: &[u8]| head.starts_with(magic) || (head.len() < magic.len() && magic.starts_with(head));
        let any = |magics: &[[u8; 4]]| magics.iter().any(|magic| is(magic));
        if any(&[
            [0xa1, 0xb2, 0xc3, 0xd4],
            [0xd4, 0xc3, 0xb2, 0xa1],
            [0xa1, 0xb2, 0x3c, 0x4d],
            [0x4d, 0x3c, 0xb2, 0xa1],
        ]) {
            Ok(Self::Pcap)
        } else if is(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            Ok(Self::PcapNg)
        } else if any(&[[0xa1, 0xb2, 0xcd, 0x34], [0x34, 0xcd, 0xb2, 0xa1]]) {
            Err(Advice::Convert)
        } else if head.starts_with(&[0x1f, 0x8b]) {
            Err(Advice::Decompress("gunzip"))
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Err(Advice::Decompress("unzstd"))
        } else if head.starts_with(&[0xfd, b'7', b'z', b'X']) {
            Err(Advice::Decompress("unxz"))
        } else if head.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
            Err(Advice::Decompress("unlz4"))
        } else if head.starts_with(b"BZh") {
            Err(Advice::Decompress("bunzip2"))
        } else {
            Err(Advice::NameAnother)
        }
    }
}

// === impl Parser ===

impl Parser {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Pcap => Self::Pcap(None),
            Format::PcapNg => Self::PcapNg(None),
        }
    }

    /// The record that `bytes` begin with.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Found, Flaw> {
        match self {
            Self::Pcap(Some(parser)) => find_packet(parser, bytes),
            Self::Pcap(start) => {
                let (_, parser) = PcapParser::new(bytes).map_err(pcap_flaw)?;
                let header = parser.header();
                // Before 2.4 the lengths of a packet stood the other way round, at times.
                if (header.version_major, header.version_minor) != (2, 4) {
                    let version = format!("{}.{}", header.version_major, header.version_minor);
                    return Err(Flaw::Damaged(format!("its version is {version}, only 2.4 is known")));
                }
                *start = Some(parser);
                Ok(Found { len: FILE_HEADER, frame: None, head: Some(Head::Begins) })
            }
            Self::PcapNg(Some(parser)) => {
                let (rest, block) = parser.next_raw_block(bytes).map_err(pcapng_flaw)?;
                let frame = frame_of(parser, &block)?;
                let head = match block.type_ {
                    SECTION_HEADER_BLOCK => Some(Head::Begins),
                    INTERFACE_DESCRIPTION_BLOCK => Some(Head::Continues),
                    _ => None,
                };
                Ok(Found { len: bytes.len() - rest.len(), frame, head })
            }
            Self::PcapNg(start) => {
                let (rest, parser) = PcapNgParser::new(bytes).map_err(pcapng_flaw)?;
                *start = Some(parser);
                Ok(Found { len: bytes.len() - rest.len(), frame: None, head: Some(Head::Begins) })
            }
        }
    }
}

fn find_packet(parser: &PcapParser, bytes: &[u8]) -> Result<Found, Flaw> {
    // The upper bits say whether and how long a checksum follows the frame; it is forwarded with it.
    let link_type = u32::from(parser.header().datalink) & 0xffff;
    if link_type != ETHERNET {
        return Err(Flaw::LinkType(link_type));
    }
    let (rest, _) = parser.next_raw_packet(bytes).map_err(pcap_flaw)?;
    let len = bytes.len() - rest.len();
    Ok(Found { len, frame: Some(PACKET_HEADER..len), head: None })
}

/// Where the frame lies in a block; `None` if it is no packet.
fn frame_of(parser: &PcapNgParser, block: &RawBlock<'_>) -> Result<Option<Range<usize>>, Flaw> {
    let body = &block.body;
    let order = parser.section().endianness;
    let word = |at: usize| -> Result<[u8; 4], Flaw> {
        let word = body.get(at..).and_then(|rest| rest.first_chunk());
        word.copied().ok_or_else(|| Flaw::Damaged("the block is too short for a packet".to_owned()))
    };
    let u32_at = |at: usize| word(at).map(|word| u32_from(order, word));
    let (interface, start, len): (u32, usize, u32) = match block.type_ {
        // Interface, time in two halves, captured length, original length.
        ENHANCED_PACKET_BLOCK => (u32_at(0)?, 20, u32_at(12)?),
        // The obsolete one: the interface is half a word, the other half counts drops.
        PACKET_BLOCK => {
            let [first, second, ..] = word(0)?;
            let interface = u32_from(order, if order.is_big() { [0, 0, first, second] } else { [first, second, 0, 0] });
            (interface, 20, u32_at(12)?)
        }
        // The original length alone; cut at what the first interface captures at most, where 0 is no limit.
        SIMPLE_PACKET_BLOCK => {
            let limit = parser.interfaces().first().map_or(0, |first| first.snaplen);
            let original = u32_at(0)?;
            (0, 4, if limit == 0 { original } else { original.min(limit) })
        }
        _ => return Ok(None),
    };
    let Some(described) = parser.interfaces().get(interface as usize) else {
        return Err(Flaw::Damaged(format!("a packet names interface {interface}, which no block describes")));
    };
    let link_type = u32::from(described.linktype);
    if link_type != ETHERNET {
        return Err(Flaw::LinkType(link_type));
    }
    // Checked: where addresses have 32 bits, the sum may have more.
    let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).filter(|end| *end <= body.len());
    let Some(end) = end else { return Err(Flaw::Damaged("a packet is longer than its block".to_owned())) };
    Ok(Some(BLOCK_HEADER + start..BLOCK_HEADER + end))
}

fn u32_from(order: Endianness, bytes: [u8; 4]) -> u32 {
    match order {
        Endianness::Big => u32::from_be_bytes(bytes),
        Endianness::Little => u32::from_le_bytes(bytes),
    }
}

fn pcap_flaw(error: PcapParseError) -> Flaw {
    match error {
        PcapParseError::IncompleteBuffer(needed, _) => short(needed),
        error => Flaw::Damaged(error.to_string()),
    }
}

fn pcapng_flaw(error: PcapNgParseError) -> Flaw {
    match error {
        PcapNgParseError::IncompleteBuffer(needed, _) => short(needed),
        error => Flaw::Damaged(error.to_string()),
    }
}

fn short(needed: usize) -> Flaw {
    if needed > MAX_RECORD {
        Flaw::Damaged(format!("a record claims {needed} bytes, more than the {MAX_RECORD} that make sense"))
    } else {
        Flaw::Short
    }
}
