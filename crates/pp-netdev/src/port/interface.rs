//! The names of AF_XDP ports.

use std::fmt;
use std::str::FromStr;

/// A port on a network interface: `afxdp:IFACE[@QUEUE][,generic|native][,copy|zerocopy]`.
///
/// The name alone; nothing is opened, and it can be said on machines that have no such ports.
/// `afxdp::AfxdpPort` opens it, with the feature `af-xdp` on Linux.
///
/// # Examples
///
/// ```
/// use pp_netdev::port::{AfxdpName, Attach, Copies};
///
/// let name: AfxdpName = "eth0@2,native,zerocopy".parse()?;
/// assert_eq!((name.interface(), name.queue()), ("eth0", Some(2)));
/// assert_eq!((name.attach(), name.copies()), (Attach::Native, Copies::None));
/// assert_eq!(name.to_string(), "afxdp:eth0@2,native,zerocopy");
///
/// assert_eq!("eth0".parse::<AfxdpName>()?, AfxdpName::new("eth0")?);
/// assert!("eth0,fast".parse::<AfxdpName>().is_err());
/// # Ok::<(), pp_netdev::port::AfxdpNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfxdpName {
    interface: String,
    queue: Option<u32>,
    attach: Attach,
    copies: Copies,
}

/// Where the program goes that brings packets to the port. See [`AfxdpName`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// In the driver if it can, else in the ordinary stack.
    #[default]
    Best,
    /// In the ordinary stack.
    Generic,
    /// In the driver, or the port is not opened.
    Native,
}

/// Whether the kernel copies between its buffers and ours. See [`AfxdpName`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// Not where the driver can do without.
    #[default]
    Best,
    /// It does.
    Always,
    /// It does not, or the port is not opened.
    None,
}

/// What can't be the name of an AF_XDP port. See [`AfxdpName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AfxdpNameError {
    /// No interface is named.
    #[error("no interface is named; write afxdp:IFACE[@QUEUE][,generic|native][,copy|zerocopy], as in afxdp:eth0")]
    NoInterface,
    /// No interface can have that name.
    #[error(
        "no interface can be called `{name}`: names have 1 to {LONGEST} bytes, without spaces, colons and slashes; `ip link` lists them"
    )]
    Interface {
        /// What was given.
        name: String,
    },
    /// What follows the `@` is no queue. The kernel's packets have 16 bits for its number.
    #[error("`{queue}` is no queue; give its number, counted from 0, at most 65535, as in {interface}@0")]
    Queue {
        /// The interface.
        interface: String,
        /// What was given.
        queue: String,
    },
    /// An option that there is not.
    #[error("there is no option `{option}`; those are generic or native, and copy or zerocopy")]
    Option {
        /// What was given.
        option: String,
    },
    /// Two options about the same.
    #[error(
        "`{option}` comes after another option that says how; give one of generic and native, one of copy and zerocopy"
    )]
    Twice {
        /// The second one.
        option: String,
    },
}

/// Bytes of an interface's name at most (`IFNAMSIZ`, less the zero at the end).
const LONGEST: usize = 15;

// === impl AfxdpName ===

impl AfxdpName {
    /// The interface's first queue, in the best modes that there are.
    ///
    /// # Errors
    ///
    /// [`AfxdpNameError::Interface`], [`AfxdpNameError::NoInterface`].
    pub fn new(interface: &str) -> Result<Self, AfxdpNameError> {
        let possible = |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b':');
        match interface.len() {
            0 => Err(AfxdpNameError::NoInterface),
            1..=LONGEST if interface.bytes().all(possible) && !matches!(interface, "." | "..") => Ok(AfxdpName {
                interface: interface.to_owned(),
                queue: None,
                attach: Attach::Best,
                copies: Copies::Best,
            }),
            _ => Err(AfxdpNameError::Interface { name: interface.to_owned() }),
        }
    }

    /// The interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The first of its queues that is used; the interface's first unless one is named.
    #[must_use]
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// Where the program goes.
    #[must_use]
    pub fn attach(&self) -> Attach {
        self.attach
    }

    /// Whether the kernel may copy.
    #[must_use]
    pub fn copies(&self) -> Copies {
        self.copies
    }
}

impl FromStr for AfxdpName {
    type Err = AfxdpNameError;

    /// With `afxdp:` in front or without.
    fn from_str(text: &str) -> Result<Self, AfxdpNameError> {
        let mut words = text.strip_prefix("afxdp:").unwrap_or(text).split(',');
        let place = words.next().unwrap_or_default();
        let (interface, queue) = place.rsplit_once('@').map_or((place, None), |(name, queue)| (name, Some(queue)));
        let mut port = AfxdpName::new(interface)?;
        if let Some(queue) = queue {
            let error = || AfxdpNameError::Queue { interface: interface.to_owned(), queue: queue.to_owned() };
            let number: u16 = queue.parse().map_err(|_| error())?;
            port.queue = Some(number.into());
        }
        for option in words {
            let fresh = match option {
                "generic" | "native" => port.attach == Attach::Best,
                "copy" | "zerocopy" => port.copies == Copies::Best,
                _ => return Err(AfxdpNameError::Option { option: option.to_owned() }),
            };
            if !fresh {
                return Err(AfxdpNameError::Twice { option: option.to_owned() });
            }
            match option {
                "generic" => port.attach = Attach::Generic,
                "native" => port.attach = Attach::Native,
                "copy" => port.copies = Copies::Always,
                _ => port.copies = Copies::None,
            }
        }
        Ok(port)
    }
}

impl fmt::Display for AfxdpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "afxdp:{}", self.interface)?;
        if let Some(queue) = self.queue {
            write!(f, "@{queue}")?;
        }
        f.write_str(match self.attach {
            Attach::Best => "",
            Attach::Generic => ",generic",
            Attach::Native => ",native",
        })?;
        f.write_str(match self.copies {
            Copies::Best => "",
            Copies::Always => ",copy",
            Copies::None => ",zerocopy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_as_they_were_given() {
        for name in [
            "eth0",
            "eth0@0",
            "lo@31,generic",
            "f1,copy",
            "veth-a.7@2,native,copy",
            "x,generic,zerocopy",
            "a@b@1",
            "e@65535",
        ] {
            let port: AfxdpName = name.parse().unwrap();
            assert_eq!(port.to_string(), format!("afxdp:{name}"));
            assert_eq!(port.to_string().parse(), Ok(port));
        }
        assert_eq!("eth0,copy,native".parse::<AfxdpName>().unwrap().to_string(), "afxdp:eth0,native,copy");
    }

    #[test]
    fn what_is_no_name_says_why() {
        let error = |name: &str| name.parse::<AfxdpName>().unwrap_err().to_string();
        assert!(error("").starts_with("no interface is named; write afxdp:IFACE"));
        assert!(error("@1").starts_with("no interface is named"));
        assert!(error("an-interface-too-long").starts_with("no interface can be called `an-interface-too-long`"));
        assert!(error("a/b").starts_with("no interface can be called `a/b`"));
        for queue in ["", "-1", "65536", "4294967295", "4294967296"] {
            assert_eq!(
                error(&format!("eth0@{queue}")),
                format!("`{queue}` is no queue; give its number, counted from 0, at most 65535, as in eth0@0")
            );
        }
        assert!(error("eth0,").starts_with("there is no option ``"));
        assert!(error("eth0,fast").starts_with("there is no option `fast`; those are generic or native"));
        assert!(error("eth0,native,generic").starts_with("`generic` comes after another option"));
        assert!(error("eth0,copy,copy").starts_with("`copy` comes after another option"));
    }
}
