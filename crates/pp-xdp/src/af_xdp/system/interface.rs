//! Network interfaces, by name.

use alloc::string::{String, ToString};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::error::OpenError;
use super::sys;

/// A network interface of this network namespace, as it was when it was looked up.
///
/// # Examples
///
/// ```
/// use pp_xdp::af_xdp::Interface;
/// let lo = Interface::by_name("lo")?;
/// assert_eq!((lo.name(), lo.index() > 0, lo.queues()), ("lo", true, None)); // a driver that does not say
/// println!("{} bytes at most, {} with the header", lo.mtu()?, lo.longest_frame()?);
/// println!("{}", Interface::by_name("nothing0").unwrap_err()); // names it, and says how to list those that there are
/// # Ok::<(), pp_xdp::af_xdp::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    name: String,
    index: u32,
}

/// The longest header in front of what the MTU counts: Ethernet with two VLAN tags.
const LINK_HEADER_BYTES: u32 = 22;

impl Interface {
    /// The interface of that name.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoInterface`], or what the system says.
    pub fn by_name(name: &str) -> Result<Self, OpenError> {
        match netdevice::name_to_index(any_socket()?, name) {
            Ok(index) => Ok(Interface { name: name.to_string(), index }),
            Err(Errno::NODEV | Errno::INVAL) => Err(OpenError::NoInterface { name: name.to_string() }),
            Err(error) => Err(OpenError::os("ioctl(SIOCGIFINDEX)")(error)),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number (`ifindex`).
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The longest packet it has now, in bytes, without the link's header.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoInterface`] if it is gone.
    pub fn mtu(&self) -> Result<u32, OpenError> {
        sys::mtu(any_socket()?, &self.name).map_err(|_| OpenError::NoInterface { name: self.name.clone() })
    }

    /// The longest frame it has now, header included, in bytes.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoInterface`] if it is gone.
    pub fn longest_frame(&self) -> Result<u32, OpenError> {
        self.mtu().map(|mtu| mtu.saturating_add(LINK_HEADER_BYTES))
    }

    /// How many queues it has, if its driver says so (`ethtool -l`): of the direction that has more.
    pub fn queues(&self) -> Option<u32> {
        let queues = sys::queues(any_socket().ok()?, &self.name).ok()?;
        Some(queues.receive.max(queues.send)).filter(|queues| *queues > 0)
    }

    /// How many queues it receives from, if its driver says so. See [`Interface`].
    pub fn receive_queues(&self) -> Option<u32> {
        let queues = sys::queues(any_socket().ok()?, &self.name).ok()?;
        Some(queues.receive).filter(|queues| *queues > 0)
    }
}

/// What calls about interfaces are made on.
fn any_socket() -> Result<OwnedFd, OpenError> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(OpenError::os("socket"))
}
