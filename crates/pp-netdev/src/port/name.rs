//! The names of ports on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::generator::{FrameSize, FrameSizeError};
use super::interface::{AfxdpName, AfxdpNameError};

/// A port that frames come in from. See [`Input`](super::Input).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InPort {
    /// `gen` or `gen:SIZE`.
    Gen(FrameSize),
    /// `pcap:FILE`; pcap or pcapng, told apart by content.
    Pcap(PathBuf),
    /// `afxdp:IFACE` and more.
    Afxdp(AfxdpName),
}

/// A port that frames go out to. See [`Input`](super::Input).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutPort {
    /// `null`.
    Null,
    /// `pcap:FILE`.
    Pcap(PathBuf),
    /// `afxdp:IFACE` and more.
    Afxdp(AfxdpName),
}

/// A name that no port has, on the side it was given for. See [`Input`](super::Input).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortNameError {
    /// No port is called that.
    #[error("there is no port `{name}`; {ports}")]
    Unknown {
        /// What was given.
        name: String,
        /// What could have been.
        ports: Ports,
    },
    /// `pcap` without a file.
    #[error("`{name}` names no file; write pcap:FILE, as in pcap:trace.pcap")]
    NoFile {
        /// What was given.
        name: String,
    },
    /// `gen` on the way out, `null` on the way in, or something after a name that takes nothing.
    #[error("`{name}` can't stand here; {ports}")]
    WrongSide {
        /// What was given.
        name: String,
        /// What could have been.
        ports: Ports,
    },
    /// `afxdp:...` with something that no AF_XDP port is called.
    #[error("`{name}`: {source}")]
    Afxdp {
        /// What was given.
        name: String,
        /// What is wrong with it.
        source: AfxdpNameError,
    },
    /// `gen:SIZE` with a size that no frame can have.
    #[error("`{name}`: {source}")]
    Size {
        /// What was given.
        name: String,
        /// What is wrong with it.
        source: FrameSizeError,
    },
}

/// The ports of one side, for messages. See [`Input`](super::Input).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ports {
    /// Those that frames come in from.
    In,
    /// Those that frames go out to.
    Out,
}

// === impl InPort ===

impl InPort {
    /// What plain `gen` makes.
    pub const GEN: Self = Self::Gen(FrameSize::MIN);
}

impl FromStr for InPort {
    type Err = PortNameError;

    fn from_str(name: &str) -> Result<Self, PortNameError> {
        let owned = || name.to_owned();
        match split(name) {
            ("gen", None) => Ok(Self::GEN),
            ("gen", Some(size)) => {
                size.parse().map(Self::Gen).map_err(|source| PortNameError::Size { name: owned(), source })
            }
            ("pcap", file) => pcap(name, file).map(Self::Pcap),
            ("null", _) => Err(PortNameError::WrongSide { name: owned(), ports: Ports::In }),
            ("afxdp", port) => afxdp(name, port).map(Self::Afxdp),
            _ => Err(PortNameError::Unknown { name: owned(), ports: Ports::In }),
        }
    }
}

impl fmt::Display for InPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gen(size) => write!(f, "gen:{}", size.bytes()),
            Self::Pcap(file) => write!(f, "pcap:{}", file.display()),
            Self::Afxdp(port) => port.fmt(f),
        }
    }
}

// === impl OutPort ===

impl FromStr for OutPort {
    type Err = PortNameError;

    fn from_str(name: &str) -> Result<Self, PortNameError> {
        let owned = || name.to_owned();
        match split(name) {
            ("null", None) => Ok(Self::Null),
            ("pcap", file) => pcap(name, file).map(Self::Pcap),
            ("gen" | "null", _) => Err(PortNameError::WrongSide { name: owned(), ports: Ports::Out }),
            ("afxdp", port) => afxdp(name, port).map(Self::Afxdp),
            _ => Err(PortNameError::Unknown { name: owned(), ports: Ports::Out }),
        }
    }
}

impl fmt::Display for OutPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Pcap(file) => write!(f, "pcap:{}", file.display()),
            Self::Afxdp(port) => port.fmt(f),
        }
    }
}

// === impl Ports ===

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "frames come in from gen[:SIZE], pcap:FILE or afxdp:IFACE",
            Self::Out => "frames go out to pcap:FILE, afxdp:IFACE or null",
        })
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(kind, rest)| (kind, Some(rest)))
}

fn pcap(name: &str, file: Option<&str>) -> Result<PathBuf, PortNameError> {
    match file {
        None | Some("") => Err(PortNameError::NoFile { name: name.to_owned() }),
        Some(file) => Ok(PathBuf::from(file)),
    }
}

fn afxdp(name: &str, port: Option<&str>) -> Result<AfxdpName, PortNameError> {
    port.unwrap_or_default().parse().map_err(|source| PortNameError::Afxdp { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_error(name: &str) -> String {
        name.parse::<InPort>().unwrap_err().to_string()
    }

    fn out_error(name: &str) -> String {
        name.parse::<OutPort>().unwrap_err().to_string()
    }

    #[test]
    fn good_names_parse_and_print() {
        for name in ["gen:60", "gen:1514", "pcap:a.pcap", "pcap:dir/with:colon.pcapng", "afxdp:eth0@1,native"] {
            assert_eq!(name.parse::<InPort>().unwrap().to_string(), name);
        }
        for name in ["null", "pcap:a.pcap", "pcap:/dev/stdout", "afxdp:eth0,zerocopy"] {
            assert_eq!(name.parse::<OutPort>().unwrap().to_string(), name);
        }
        assert_eq!("gen".parse::<InPort>().unwrap().to_string(), "gen:60");
    }

    #[test]
    fn bad_names_say_what_would_be_good() {
        assert_eq!(
            in_error("eth0"),
            "there is no port `eth0`; frames come in from gen[:SIZE], pcap:FILE or afxdp:IFACE"
        );
        assert_eq!(in_error(""), "there is no port ``; frames come in from gen[:SIZE], pcap:FILE or afxdp:IFACE");
        assert_eq!(
            in_error("null"),
            "`null` can't stand here; frames come in from gen[:SIZE], pcap:FILE or afxdp:IFACE"
        );
        assert_eq!(in_error("pcap:"), "`pcap:` names no file; write pcap:FILE, as in pcap:trace.pcap");
        assert_eq!(
            in_error("gen:12"),
            "`gen:12`: `12` is no size for a frame; give a number of bytes from 60 to 65535"
        );
        assert!(in_error("afxdp").starts_with("`afxdp`: no interface is named; write afxdp:IFACE"));
        assert_eq!(out_error("gen"), "`gen` can't stand here; frames go out to pcap:FILE, afxdp:IFACE or null");
        assert_eq!(out_error("null:x"), "`null:x` can't stand here; frames go out to pcap:FILE, afxdp:IFACE or null");
        assert_eq!(out_error("pcap"), "`pcap` names no file; write pcap:FILE, as in pcap:trace.pcap");
        assert!(out_error("afxdp:eth0,slow").starts_with("`afxdp:eth0,slow`: there is no option `slow`"));
    }
}
