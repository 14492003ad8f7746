//! The scene that every forwarder is tried in.

use std::net::Ipv4Addr;

use crate::error::Error;
use crate::frame::{Endpoint, Mac};
use crate::generator::{Generator, Traffic};
use crate::iperf::{Iperf, Transfer};
use crate::namespace::Namespace;
use crate::ping::{Ping, Replies};
use crate::sink::{Hook, Sink};
use crate::veth::{End, Offloads, Veth};

/// A client, a server, and between them a namespace with two ports, `f0` and `f1`; the picture is at [the crate](crate).
///
/// Client and server are in one IPv4 network, and send packets that need nothing done to them. The ports have no addresses: what
/// forwards between them passes whole frames on, in both directions if there shall be answers.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()));
/// use pp_testbed::{Path, Ping};
///
/// let path = Path::builder().mtu(3000).queues(2).build()?;
/// assert!(path.ping(Ping::new().count(1)).is_err()); // nobody forwards
/// path.forwarder().run(&["ip", "link", "show", Path::IN])?;
/// path.bridge()?;
/// assert_eq!(path.ping(Ping::new().count(1))?.received, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Path {
    client: Namespace,
    forwarder: Namespace,
    server: Namespace,
}

/// How a [`Path`] shall be; made by [`Path::builder`], which has an example.
#[derive(Clone, Copy, Debug)]
#[must_use = "is not made before `build`"]
pub struct PathBuilder {
    mtu: u16,
    queues: u16,
    arp: Arp,
    offloads: Offloads,
}

/// How client and server know each other's Ethernet addresses.
///
/// # Examples
///
/// ```
/// use pp_testbed::{Arp, Path};
///
/// let asking = Path::builder().arp(Arp::Asked);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arp {
    /// They are told beforehand, so that no packets are on the way but those that are sent.
    Told,
    /// They ask, which needs a forwarder that passes broadcasts on, in both directions. After asking in vain they take a few
    /// seconds before they ask again.
    Asked,
}

impl Path {
    /// The forwarder's port to the client.
    pub const IN: &str = "f0";
    /// The forwarder's port to the server. See [`Path`].
    pub const OUT: &str = "f1";
    /// The client's interface. See [`Path`].
    pub const CLIENT: &str = "c0";
    /// The server's interface. See [`Path`].
    pub const SERVER: &str = "s0";

    /// An MTU of 1500 bytes, one queue, [`Arp::Told`], and [`Offloads::Off`] at client and server. An example is at [`Path`].
    pub fn builder() -> PathBuilder {
        PathBuilder { mtu: 1500, queues: 1, arp: Arp::Told, offloads: Offloads::Off }
    }

    /// Where the client is. See [`Path`].
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Where whatever forwards has to run.
    pub fn forwarder(&self) -> &Namespace {
        &self.forwarder
    }

    /// Where the server is. See [`Path`].
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// The client's addresses. See [`Path`].
    pub fn client_end(&self) -> Endpoint {
        endpoint(1)
    }

    /// The server's addresses. See [`Path`].
    pub fn server_end(&self) -> Endpoint {
        endpoint(2)
    }

    /// Has Linux forward, by a bridge over the two ports: what other forwarders are held against.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the kernel has no bridges.
    pub fn bridge(&self) -> Result<(), Error> {
        // It neither waits nor listens before it forwards.
        self.forwarder.run(&[
            "ip",
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ])?;
        for port in [Self::IN, Self::OUT] {
            self.forwarder.run(&["ip", "link", "set", "dev", port, "master", "br0"])?;
        }
        self.forwarder.run(&["ip", "link", "set", "dev", "br0", "up"]).map(|_| ())
    }

    /// Pings the server from the client. An example is at [`Ping`].
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if no reply came.
    pub fn ping(&self, ping: Ping) -> Result<Replies, Error> {
        ping.run(&self.client, self.server_end().address)
    }

    /// Sends from the client to the server by iperf3. An example is at [`Iperf`].
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] or [`Error::Answer`] if the two did not reach each other.
    pub fn iperf(&self, iperf: Iperf) -> Result<Transfer, Error> {
        iperf.run(&self.client, &self.server, self.server_end().address)
    }

    /// Packets from the client to the server, for [`generate`](Path::generate).
    pub fn traffic(&self) -> Traffic {
        Traffic::udp(self.client_end(), self.server_end())
    }

    /// Sends `traffic` out of the client's interface, as fast as it says.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), pp_testbed::Error> {
    /// # pp_testbed::skip_without_rights!(return Ok(()));
    /// use pp_testbed::Path;
    ///
    /// let path = Path::builder().build()?;
    /// path.bridge()?;
    /// let sink = path.sink()?;
    /// let sent = path.generate(path.traffic().size(200).rate(20_000).count(1000).numbered())?.wait()?;
    /// std::thread::sleep(std::time::Duration::from_millis(100));
    /// let counts = sink.counts()?;
    /// assert_eq!((counts.numbered, counts.misplaced), (sent, 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::System`] without the right to.
    pub fn generate(&self, traffic: Traffic) -> Result<Generator, Error> {
        // Unless the port polls, it takes no frames by redirection. An XDP program in native mode has it poll, and so does this.
        // It leaves UDP alone.
        self.forwarder.run(&["ethtool", "-K", Self::IN, "gro", "on"])?;
        Generator::start(&self.client, Self::CLIENT, traffic)
    }

    /// Drops and counts what comes to the server. An example is at [`generate`](Path::generate).
    ///
    /// # Errors
    ///
    /// [`Error::System`] without the right to.
    pub fn sink(&self) -> Result<Sink, Error> {
        Sink::attach(&self.server, Self::SERVER, Hook::Native)
    }
}

impl PathBuilder {
    /// The longest packet without its Ethernet header, in bytes, of all interfaces.
    pub fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// How many queues each interface has in each direction.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// How client and server know each other. See [`Path`].
    pub fn arp(mut self, arp: Arp) -> Self {
        self.arp = arp;
        self
    }

    /// What client and server leave to others. See [`Path`].
    pub fn offloads(mut self, offloads: Offloads) -> Self {
        self.offloads = offloads;
        self
    }

    /// Makes it.
    ///
    /// # Errors
    ///
    /// Without the rights; [`Rights::check`](crate::Rights::check) says which.
    pub fn build(self) -> Result<Path, Error> {
        let new = Namespace::new;
        let path = Path { client: new("client")?, forwarder: new("forwarder")?, server: new("server")? };
        let hosts = [
            (&path.client, Path::CLIENT, path.client_end(), path.server_end(), Path::IN, 0x0a),
            (&path.server, Path::SERVER, path.server_end(), path.client_end(), Path::OUT, 0x0b),
        ];
        for (host, interface, own, other, port, mac) in hosts {
            let address = format!("{}/24", own.address);
            let host_end = End::new(host, interface).mac(own.mac).address(&address).offloads(self.offloads);
            let port_end = End::new(&path.forwarder, port).mac(endpoint(mac).mac);
            Veth::new(host_end, port_end).mtu(self.mtu).queues(self.queues).create()?;
            if self.arp == Arp::Told {
                let (to, mac) = (other.address.to_string(), other.mac.to_string());
                host.run(&["ip", "neighbour", "replace", &to, "lladdr", &mac, "dev", interface, "nud", "permanent"])?;
            }
        }
        Ok(path)
    }
}

/// Addresses that say whose they are.
fn endpoint(last: u8) -> Endpoint {
    Endpoint { mac: Mac([0x02, 0, 0, 0x77, 0, last]), address: Ipv4Addr::new(10, 77, 0, last) }
}
