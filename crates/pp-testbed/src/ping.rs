//! ping(8) as a check.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, recv, socket_with};

use crate::error::Error;
use crate::namespace::Namespace;

/// A few echo requests, five unless said otherwise, 10 ms after each other.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()), "ping");
/// use pp_testbed::{Path, Ping};
///
/// let path = Path::builder().build()?;
/// path.bridge()?;
/// let replies = path.ping(Ping::new().count(20).payload(1472))?;
/// assert_eq!((replies.sent, replies.received), (20, 20));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    count: u32,
    payload: u16,
    interval: Duration,
}

/// What came back. An example is at [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replies {
    /// Requests.
    pub sent: u32,
    /// Replies.
    pub received: u32,
}

impl Default for Ping {
    fn default() -> Self {
        Ping { count: 5, payload: 56, interval: Duration::from_millis(10) }
    }
}

impl Ping {
    /// How long the replies are waited for after the last request.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Five requests with 56 bytes of payload.
    pub fn new() -> Self {
        Ping::default()
    }

    /// So many requests.
    #[must_use]
    pub fn count(mut self, requests: u32) -> Self {
        self.count = requests.max(1);
        self
    }

    /// Bytes after the ICMP header; a packet is 28 bytes longer, a frame 42. They are not fragmented on the way.
    #[must_use]
    pub fn payload(mut self, bytes: u16) -> Self {
        self.payload = bytes;
        self
    }

    /// The time from one request to the next. See [`Ping`].
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Asks `to` from inside of `from`. See [`Ping`].
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if not a single reply came; [`Error::NotStarted`] without `ping`.
    pub fn run(self, from: &Namespace, to: Ipv4Addr) -> Result<Replies, Error> {
        let (count, payload, interval) =
            (self.count.to_string(), self.payload.to_string(), self.interval.as_secs_f64());
        let limit = self.interval * self.count + Self::PATIENCE;
        // Not by its own deadline, under which it sends more requests for those that were lost. And not by its own count of replies: it waits
        // for the last one no longer than for an interval or two of the round trips before, which is too short on a busy machine.
        let (interval, patience) = (format!("{interval:.4}"), Self::PATIENCE.as_secs().to_string());
        let mut ears = Ears::open(from, to)?;
        let line = ["ping", "-n", "-q", "-M", "do", "-c", &count, "-s", &payload, "-i", &interval, "-W", &patience];
        let mut ping = from.spawn(&[&line[..], &[&to.to_string()]].concat())?;
        let (start, mut ended) = (Instant::now(), None::<Instant>);
        while ears.heard.len() < self.count as usize && start.elapsed() < 2 * limit {
            ears.listen()?;
            match ended {
                Some(at) if at.elapsed() >= Self::PATIENCE => break,
                None if !ping.is_running() => ended = Some(Instant::now()),
                _ => {}
            }
        }
        let received = ears.heard.len() as u32;
        let answer = ping.success(limit);
        if received == 0 {
            answer?;
        }
        Ok(Replies { sent: self.count, received })
    }
}

/// Hears the replies of one host as they come to a namespace, whoever asked.
struct Ears {
    socket: OwnedFd,
    of: Ipv4Addr,
    /// The numbers of the requests that were answered.
    heard: BTreeSet<u16>,
}

impl Ears {
    fn open(namespace: &Namespace, of: Ipv4Addr) -> Result<Self, Error> {
        let raw = || {
            let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMP))?;
            sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(20)))?;
            Ok::<_, Errno>(socket)
        };
        let socket = namespace.enter(raw)?.map_err(Error::system("a raw socket for replies"))?;
        Ok(Ears { socket, of, heard: BTreeSet::new() })
    }

    /// Takes what has come, or waits a moment.
    fn listen(&mut self) -> Result<(), Error> {
        let mut packet = [0; 64];
        match recv(&self.socket, &mut packet[..], RecvFlags::empty()) {
            Ok((got, _)) => {
                self.heard.extend(answered(&packet[..got.min(packet.len())], self.of));
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Error::system("hearing replies")(error)),
        }
    }
}

/// The number of the request that a packet of this host answers.
fn answered(packet: &[u8], of: Ipv4Addr) -> Option<u16> {
    const ECHO_REPLY: u8 = 0;
    if packet.get(12..16)? != of.octets() {
        return None;
    }
    let icmp = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let number = u16::from_be_bytes(icmp.get(6..8)?.try_into().ok()?);
    (*icmp.first()? == ECHO_REPLY).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::answered;

    #[test]
    fn answers_are_understood() {
        let mut packet = [0; 40];
        packet[0] = 0x46; // one word of options
        packet[12..16].copy_from_slice(&[10, 77, 0, 2]);
        packet[24 + 6..24 + 8].copy_from_slice(&[1, 2]);
        let of = [10, 77, 0, 2].into();
        assert_eq!(answered(&packet, of), Some(258));
        assert_eq!(
            (answered(&packet, [10, 77, 0, 1].into()), answered(&packet[..30], of), answered(&[], of)),
            (None, None, None)
        );
        packet[24] = 8; // a request
        assert_eq!(answered(&packet, of), None);
    }
}
