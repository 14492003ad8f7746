//! iperf3 as a check and as a measure.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::namespace::Namespace;

/// A transfer that shall be made.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// # pp_testbed::skip_without_rights!(return Ok(()), "iperf3");
/// use pp_testbed::{Iperf, Path};
///
/// let path = Path::builder().build()?;
/// path.bridge()?;
/// let tcp = path.iperf(Iperf::tcp().seconds(1))?;
/// assert!(tcp.bits_per_second > 1e6 && tcp.retransmits.is_some());
/// let udp = path.iperf(Iperf::udp(10_000_000).seconds(1).payload(1000))?;
/// assert!(udp.packets.is_some_and(|packets| packets > 100));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Iperf {
    protocol: Protocol,
    seconds: u32,
    streams: u32,
    payload: Option<u32>,
    buffer: Option<u32>,
    direction: Direction,
    processors: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Tcp,
    /// With this many bits a second.
    Udp(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    FromClient,
    FromServer,
}

/// What became of it. An example is at [`Iperf`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    /// The rate of what arrived, without headers.
    pub bits_per_second: f64,
    /// TCP: how many segments were sent again.
    pub retransmits: Option<u64>,
    /// UDP: how many packets were sent.
    pub packets: Option<u64>,
    /// UDP: how many of them did not arrive.
    pub lost: Option<u64>,
}

impl Iperf {
    /// How long it may take beyond its seconds.
    const PATIENCE: Duration = Duration::from_secs(15);

    /// As much as goes, for 2 seconds, in one stream from the client to the server.
    pub fn tcp() -> Self {
        let (protocol, direction) = (Protocol::Tcp, Direction::FromClient);
        Iperf { protocol, seconds: 2, streams: 1, payload: None, buffer: None, direction, processors: Vec::new() }
    }

    /// So many bits a second, for 2 seconds, from the client to the server.
    pub fn udp(bits_per_second: u64) -> Self {
        Iperf { protocol: Protocol::Udp(bits_per_second), ..Iperf::tcp() }
    }

    /// How long it is measured.
    #[must_use]
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds.max(1);
        self
    }

    /// In so many streams at the same time. See [`Iperf`].
    #[must_use]
    pub fn streams(mut self, streams: u32) -> Self {
        self.streams = streams.max(1);
        self
    }

    /// Bytes of a write: for UDP, the payload of a packet.
    #[must_use]
    pub fn payload(mut self, bytes: u32) -> Self {
        self.payload = Some(bytes);
        self
    }

    /// Bytes of a socket's buffer, as far as the system gives them: room for packets that come while the receiving side waits for a
    /// processor. See [`Iperf`].
    #[must_use]
    pub fn buffer(mut self, bytes: u32) -> Self {
        self.buffer = Some(bytes);
        self
    }

    /// From the server to the client; which of them begins stays as it is. See [`Iperf`].
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.direction = Direction::FromServer;
        self
    }

    /// Keeps both sides on these processors; on none in particular, if there are none. See [`Iperf`].
    #[must_use]
    pub fn processors(mut self, processors: &[usize]) -> Self {
        self.processors = processors.to_vec();
        self
    }

    /// Starts a server at `to` inside of `server`, and a client inside of `client`. See [`Iperf`].
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] or [`Error::Answer`] if they did not reach each other, [`Error::Late`] if it took much longer than it should,
    /// [`Error::NotStarted`] without iperf3.
    pub fn run(self, client: &Namespace, server: &Namespace, to: Ipv4Addr) -> Result<Transfer, Error> {
        let start = |side: &Namespace, arguments: &[String]| {
            side.command("iperf3")?.arguments(arguments).processors(&self.processors).spawn()
        };
        let mut serving = start(server, &["--server", "--one-off", "--forceflush"].map(String::from))?;
        serving.until("listening", Self::PATIENCE)?;
        let measuring = start(client, &self.arguments(to))?;
        let line = measuring.line().to_owned();
        let limit = Duration::from_secs(self.seconds.into()) + Self::PATIENCE;
        let answer = measuring.success(limit)?;
        let parsed: Value = serde_json::from_str(&answer).unwrap_or_default();
        // It also ends well without having reached anybody.
        let answer = parsed["error"].as_str().map(str::to_owned).unwrap_or(answer);
        self.transfer(&parsed).map_err(|what| Error::Answer { line, what, answer })
    }

    fn arguments(&self, to: Ipv4Addr) -> Vec<String> {
        let (seconds, streams) = (self.seconds.to_string(), self.streams.to_string());
        let mut words: Vec<String> = ["--json", "--connect-timeout", "3000", "--client"].map(Into::into).into();
        words.extend([to.to_string(), "--time".into(), seconds, "--parallel".into(), streams]);
        if let Protocol::Udp(rate) = self.protocol {
            words.extend(["--udp".into(), "--bitrate".into(), rate.to_string()]);
        }
        words.extend(self.payload.iter().flat_map(|bytes| ["--length".into(), bytes.to_string()]));
        words.extend(self.buffer.iter().flat_map(|bytes| ["--window".into(), bytes.to_string()]));
        if self.direction == Direction::FromServer {
            words.push("--reverse".into());
        }
        words
    }

    /// Finds the figures in iperf3's object, or says what is not there.
    fn transfer(&self, answer: &Value) -> Result<Transfer, &'static str> {
        let end = &answer["end"];
        let rate = |sum: &Value| sum["bits_per_second"].as_f64().ok_or("rate");
        match self.protocol {
            Protocol::Tcp => Ok(Transfer {
                bits_per_second: rate(&end["sum_received"])?,
                retransmits: Some(end["sum_sent"]["retransmits"].as_u64().ok_or("number of retransmits")?),
                packets: None,
                lost: None,
            }),
            Protocol::Udp(_) => {
                let sum = &end["sum"];
                let packets = sum["packets"].as_u64().ok_or("number of packets")?;
                // Packets that came late count against those that are missing, so there may be less than none.
                let lost = sum["lost_packets"].as_i64().ok_or("number of lost packets")?.max(0).cast_unsigned();
                // The rate that it names is the sender's.
                let arrived = packets.saturating_sub(lost) as f64 / packets.max(1) as f64;
                let bits_per_second = rate(sum)? * arrived;
                Ok(Transfer { bits_per_second, retransmits: None, packets: Some(packets), lost: Some(lost) })
            }
        }
    }
}
