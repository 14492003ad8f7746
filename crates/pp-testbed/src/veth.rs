//! Pairs of interfaces that are each other's cable.

use crate::error::Error;
use crate::frame::Mac;
use crate::namespace::Namespace;

/// A pair of interfaces, each in a namespace of its own or both in one; what goes out of one comes in at the other.
///
/// It lives as long as both namespaces: with either of them both ends are gone.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use pp_testbed::{End, Namespace, Veth};
///
/// let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
/// Veth::new(End::new(&left, "a").address("192.0.2.1/24"), End::new(&right, "b").address("192.0.2.2/24")).mtu(9000).create()?;
/// left.run(&["ping", "-c", "1", "192.0.2.2"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "is not made before `create`"]
pub struct Veth<'a> {
    ends: [End<'a>; 2],
    mtu: u16,
    queues: u16,
}

/// One of the two. An example is at [`Veth`].
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    namespace: &'a Namespace,
    name: &'a str,
    mac: Option<Mac>,
    address: Option<&'a str>,
    offloads: Offloads,
}

/// What an end leaves to the hardware that a veth has not. See [`End::offloads`].
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use pp_testbed::{End, Namespace, Offloads, Veth};
///
/// let namespace = Namespace::new("both")?;
/// Veth::new(End::new(&namespace, "a").offloads(Offloads::Off), End::new(&namespace, "b")).create()?;
/// let features = namespace.run(&["ethtool", "-k", "a"])?;
/// assert!(features.contains("tx-checksumming: off") && features.contains("tcp-segmentation-offload: off"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// As the kernel makes them: checksums are left open, and segments are up to 64 KiB, because both are still in memory at the
    /// other end.
    Default,
    /// Every packet is complete, and no longer than the MTU: what a host has to send when the forwarder copies bytes and
    /// nothing else. An AF_XDP socket passes on neither an open checksum nor the length of segments nor a VLAN tag beside the
    /// packet. Pings are complete anyway; TCP does not even connect without this.
    Off,
}

impl<'a> Veth<'a> {
    /// With an MTU of 1500 bytes and a queue in each direction.
    pub fn new(one: End<'a>, other: End<'a>) -> Self {
        Veth { ends: [one, other], mtu: 1500, queues: 1 }
    }

    /// The longest packet without its Ethernet header, in bytes, of both ends.
    pub fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// How many queues both ends have in each direction. See [`Veth`].
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// Makes it, gives the ends their addresses, and switches them on.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the kernel refuses, for instance because a name is taken.
    pub fn create(self) -> Result<(), Error> {
        let [one, other] = &self.ends;
        let (own, peer) = (self.words(one), self.words(other));
        let other_namespace = other.namespace.path();
        let mut line = vec!["ip", "link", "add", "name"];
        line.extend(own.iter().map(String::as_str));
        line.extend(["type", "veth", "peer", "name"]);
        line.extend(peer.iter().map(String::as_str));
        line.extend(["netns", &other_namespace]);
        one.namespace.run(&line)?;
        self.ends.iter().try_for_each(End::prepare)
    }

    fn words(&self, end: &End<'_>) -> Vec<String> {
        let (mtu, queues) = (self.mtu.to_string(), self.queues.to_string());
        let mut words = vec![end.name.to_owned(), "mtu".into(), mtu];
        words.extend(["numtxqueues".into(), queues.clone(), "numrxqueues".into(), queues]);
        words.extend(end.mac.into_iter().flat_map(|mac| ["address".into(), mac.to_string()]));
        words
    }
}

impl<'a> End<'a> {
    /// Without an address, its Ethernet address chosen by the kernel.
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        End { namespace, name, mac: None, address: None, offloads: Offloads::Default }
    }

    /// Its Ethernet address. See [`Veth`].
    #[must_use]
    pub fn mac(mut self, mac: Mac) -> Self {
        self.mac = Some(mac);
        self
    }

    /// An IPv4 address with the length of its network, as in `192.0.2.1/24`.
    #[must_use]
    pub fn address(mut self, address: &'a str) -> Self {
        self.address = Some(address);
        self
    }

    /// What it leaves to others. See [`Veth`].
    #[must_use]
    pub fn offloads(mut self, offloads: Offloads) -> Self {
        self.offloads = offloads;
        self
    }

    fn prepare(&self) -> Result<(), Error> {
        let End { namespace, name, .. } = self;
        if let Some(address) = self.address {
            namespace.run(&["ip", "address", "add", address, "dev", name])?;
        }
        if self.offloads == Offloads::Off {
            // Checksums, segments, and VLAN tags beside the packet.
            namespace.run(&["ethtool", "-K", name, "tx", "off", "tso", "off", "txvlan", "off"])?;
        }
        namespace.run(&["ip", "link", "set", "dev", name, "up"]).map(|_| ())
    }
}
