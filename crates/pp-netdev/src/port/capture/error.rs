//! What is wrong with a capture, in one sentence, with what to do.

use std::fmt;
use std::io;

/// Why a capture can't be read, or not to its end. See [`Capture`](super::Capture).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It could not be opened.
    #[error("can't open the capture {name}: {source}; check the name and that you may read it")]
    Open {
        /// The capture.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It can be read only once, and the copy that is read instead can't be made.
    #[error("can't copy {name} to a temporary file: {source}; free some space there, or name another folder in TMPDIR")]
    Copy {
        /// The capture.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It could be opened, but reading stopped.
    #[error("can't read the capture {name}: {source}; try again, or copy it to another disk first")]
    Read {
        /// The capture.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory.
    #[error("{name} is a directory; name one pcap or pcapng file in it")]
    Directory {
        /// The directory.
        name: String,
    },
    /// No file at all. A mistake of the caller, not of whoever named it: `afxdp::AfxdpSource` reads from interfaces.
    #[error("`{name}` is an interface and no capture; open it as an AF_XDP port, with the feature `af-xdp` on Linux")]
    Interface {
        /// The port.
        name: crate::port::AfxdpName,
    },
    /// A file without a byte.
    #[error("the capture {name} is empty, it has not even a header; capture it again")]
    Empty {
        /// The capture.
        name: String,
    },
    /// Something else than a capture.
    #[error("{name} is no pcap or pcapng capture; {advice}")]
    NotCapture {
        /// The file.
        name: String,
        /// What it looks like, and what to do then.
        advice: Advice,
    },
    /// Packets that are no Ethernet frames.
    #[error(
        "packet {packet} of the capture {name} has link type {link_type}, only Ethernet (1) can be forwarded; capture on an Ethernet interface"
    )]
    LinkType {
        /// The capture.
        name: String,
        /// The packet, from 1.
        packet: u64,
        /// Its number in the registry of link types.
        link_type: u32,
    },
    /// The file ends inside a packet or block.
    #[error(
        "the capture {name} is truncated: it ends inside what begins at byte {at}, after {packets} whole packets; capture or copy it again, or cut it there"
    )]
    Truncated {
        /// The capture.
        name: String,
        /// Where the unfinished record begins.
        at: u64,
        /// How many packets are whole.
        packets: u64,
    },
    /// The file contradicts itself.
    #[error(
        "the capture {name} is damaged at byte {at}, after {packets} whole packets: {what}; capture or copy it again, or cut it there"
    )]
    Damaged {
        /// The capture.
        name: String,
        /// Where the bad record begins.
        at: u64,
        /// How many packets are good.
        packets: u64,
        /// What contradicts what.
        what: String,
    },
    /// The output needs the capture a second time, and it is not the same any more.
    #[error("the capture {name} changed while it was read; copy it first, or wait until nothing writes to it")]
    Changed {
        /// The capture.
        name: String,
    },
    /// A frame that the capture's next packets do not contain.
    #[error(
        "frame {mark} is not the next one of the capture {name}, or has another length there; send its frames as they come from its source"
    )]
    Foreign {
        /// The capture.
        name: String,
        /// The frame's mark.
        mark: u64,
    },
}

/// What a file that is no capture looks like, and what to do then. See [`Capture`](super::Capture).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Nothing known.
    NameAnother,
    /// Compressed.
    Decompress(&'static str),
    /// A relative of pcap that only few programs write.
    Convert,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameAnother => f.write_str("name a file written by tcpdump, dumpcap or Wireshark"),
            Self::Decompress(tool) => write!(f, "it is compressed, decompress it first with `{tool}`"),
            Self::Convert => f.write_str("it is a variant of pcap, convert it first with `editcap -F pcap`"),
        }
    }
}

impl From<CaptureError> for io::Error {
    fn from(error: CaptureError) -> Self {
        let kind = match &error {
            CaptureError::Open { source, .. }
            | CaptureError::Copy { source, .. }
            | CaptureError::Read { source, .. } => source.kind(),
            CaptureError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
