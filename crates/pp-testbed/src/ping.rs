//! ping(8) as a check.

use std::net::Ipv4Addr;
use std::time::Duration;

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
    /// How long the last reply is waited for.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// How often the question is put, as long as some replies are missing.
    const ATTEMPTS: u32 = 3;

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
        // Not by its own deadline, under which it sends more requests for those that were lost.
        let (interval, patience) = (format!("{interval:.4}"), Self::PATIENCE.as_secs().to_string());
        let to = to.to_string();
        let line =
            ["ping", "-n", "-q", "-M", "do", "-c", &count, "-s", &payload, "-i", &interval, "-W", &patience, &to];
        let mut asked = 1;
        loop {
            let ping = from.spawn(&line)?;
            let shown = ping.line().to_owned();
            let answer = ping.success(limit + Self::PATIENCE)?;
            let replies = replies(&answer).ok_or(Error::Answer { line: shown, what: "count of packets", answer })?;
            // On a busy machine `ping` leaves out a reply now and then that its interface has counted; so it is asked again before one is
            // taken for lost. That none is, is a matter of counters on the way.
            if replies.received == replies.sent || asked == Self::ATTEMPTS {
                return Ok(replies);
            }
            asked += 1;
        }
    }
}

/// "20 packets transmitted, 19 received, ..."
fn replies(answer: &str) -> Option<Replies> {
    let line = answer.lines().find(|line| line.contains("packets transmitted"))?;
    let before = |word: &str| line.split(", ").find(|part| part.contains(word))?.split(' ').next()?.parse().ok();
    Some(Replies { sent: before("packets transmitted")?, received: before("received")? })
}

#[cfg(test)]
mod tests {
    use super::{Replies, replies};

    #[test]
    fn answers_are_understood() {
        let answer = "PING 10.77.0.2\n\n--- ping statistics ---\n20 packets transmitted, 19 received, 5% packet loss, time 19ms\n";
        assert_eq!(replies(answer), Some(Replies { sent: 20, received: 19 }));
        let answer = "3 packets transmitted, 2 received, +1 duplicates, 33% packet loss, time 19ms\n";
        assert_eq!(replies(answer), Some(Replies { sent: 3, received: 2 }));
        assert_eq!(replies("ping: unknown host"), None);
    }
}
