//! The programs that talk: ping and iperf3.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pp_netdev::StopFlag;
use pp_testbed::{Error, Missing, Path, Rights, Running};
use serde::Serialize;
use serde_json::Value;

use super::DemoError;
use crate::args::Seconds;

/// What is going on, for the table.
pub(super) type Now = Mutex<&'static str>;

/// How long each program talks unless something else is said.
const SECONDS: u64 = 3;
/// How long a program may take beyond that.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the stop flag is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Pings a second.
const PINGS: u64 = 20;
/// Bytes in a packet of UDP.
const UDP_BYTES: u64 = 1400;
/// Packets a second of UDP.
const UDP_RATE: u64 = 20_000;

/// Which programs there are.
pub(super) struct Clients {
    seconds: u64,
    ping: Result<(), Missing>,
    iperf: Result<(), Missing>,
}

/// What came of one of them.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "client", rename_all = "lowercase")]
pub(super) enum Client {
    /// Echo requests.
    Ping {
        sent: u64,
        received: u64,
        /// Round trip, in milliseconds: the least, the average, the most.
        rtt_ms: Option<[f64; 3]>,
    },
    /// As fast as it goes.
    Tcp { gbit_per_second: f64, retransmits: u64 },
    /// At a rate.
    Udp { gbit_per_second: f64, packets: u64, lost: u64, payload: u64 },
}

// === impl Clients ===

impl Clients {
    /// Those that are installed.
    ///
    /// # Errors
    ///
    /// None is.
    pub(super) fn installed(seconds: Option<Seconds>) -> Result<Self, DemoError> {
        let [ping, iperf] = ["ping", "iperf3"].map(Rights::tool);
        if ping.is_err() && iperf.is_err() {
            return Err(DemoError::NoClients);
        }
        let seconds = seconds.map_or(SECONDS, |seconds| (seconds.0.as_secs_f64().ceil() as u64).max(1));
        Ok(Clients { seconds, ping, iperf })
    }

    /// What to install, in sentences without an end.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        [&self.ping, &self.iperf].into_iter().filter_map(|tool| tool.as_ref().err()).map(ToString::to_string)
    }

    /// Has one after the other talk, until the flag is set.
    ///
    /// # Errors
    ///
    /// One could not be started, or did not reach the other end.
    pub(super) fn talk(&self, path: &Path, stop: &StopFlag, now: &Now) -> Result<Vec<Client>, Error> {
        let mut clients = Vec::new();
        let say = |what| *now.lock().unwrap_or_else(PoisonError::into_inner) = what;
        if self.ping.is_ok() {
            say("ping");
            clients.extend(self.ping(path, stop)?);
        }
        if self.iperf.is_ok() {
            for (what, udp) in [("iperf3, TCP", None), ("iperf3, UDP", Some(8 * UDP_BYTES * UDP_RATE))] {
                say(what);
                clients.extend(self.iperf(path, stop, udp)?);
            }
        }
        Ok(clients)
    }

    fn ping(&self, path: &Path, stop: &StopFlag) -> Result<Option<Client>, Error> {
        let (count, interval) = ((self.seconds * PINGS).to_string(), format!("{:.3}", 1.0 / PINGS as f64));
        let to = path.server_end().address.to_string();
        let line = ["ping", "-n", "-q", "-c", &count, "-i", &interval, "-W", "2", &to];
        let Some(answer) = self.until_done(path.client().spawn(&line)?, stop)? else { return Ok(None) };
        ping_result(&answer).map(Some).ok_or(Error::Answer { line: line.join(" "), what: "count of packets", answer })
    }

    fn iperf(&self, path: &Path, stop: &StopFlag, udp: Option<u64>) -> Result<Option<Client>, Error> {
        let mut serving = path.server().spawn(&["iperf3", "--server", "--one-off", "--forceflush"])?;
        serving.until("listening", PATIENCE)?;
        let (seconds, to) = (self.seconds.to_string(), path.server_end().address.to_string());
        let mut line = vec!["iperf3", "--json", "--connect-timeout", "3000", "--client", &to, "--time", &seconds];
        let (bytes, rate) = (UDP_BYTES.to_string(), udp.unwrap_or_default().to_string());
        if udp.is_some() {
            // A buffer for what comes while the server is not scheduled: this is not about it.
            line.extend(["--udp", "--bitrate", &rate, "--length", &bytes, "--window", "2M"]);
        }
        let Some(answer) = self.until_done(path.client().spawn(&line)?, stop)? else { return Ok(None) };
        let result = if udp.is_some() { udp_result(&answer) } else { tcp_result(&answer) };
        result.map(Some).ok_or_else(|| {
            // It also ends well without having reached anybody.
            let said: Value = serde_json::from_str(&answer).unwrap_or_default();
            let answer = said["error"].as_str().map_or(answer, str::to_owned);
            Error::Answer { line: line.join(" "), what: "rate", answer }
        })
    }

    /// What a program said when it ended; nothing if the flag was set before, and it is killed then.
    fn until_done(&self, mut program: Running, stop: &StopFlag) -> Result<Option<String>, Error> {
        while program.is_running() {
            if stop.is_set() {
                return Ok(None);
            }
            thread::sleep(GLANCE);
        }
        match program.success(PATIENCE) {
            // Whoever ended the demonstration may have ended the program as well.
            Err(_) if stop.is_set() => Ok(None),
            answer => answer.map(Some),
        }
    }
}

/// From the two lines under "statistics".
fn ping_result(answer: &str) -> Option<Client> {
    let counts = answer.lines().find(|line| line.contains("packets transmitted"))?;
    let before = |word: &str| counts.split(", ").find(|part| part.contains(word))?.split(' ').next()?.parse().ok();
    let times = answer.lines().find(|line| line.starts_with("rtt")).and_then(|line| {
        let mut times = line.split(" = ").nth(1)?.split('/').map(|time| time.parse().ok());
        Some([times.next()??, times.next()??, times.next()??])
    });
    Some(Client::Ping { sent: before("packets transmitted")?, received: before("received")?, rtt_ms: times })
}

fn tcp_result(answer: &str) -> Option<Client> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let end = &answer["end"];
    Some(Client::Tcp {
        gbit_per_second: end["sum_received"]["bits_per_second"].as_f64()? / 1e9,
        retransmits: end["sum_sent"]["retransmits"].as_u64()?,
    })
}

fn udp_result(answer: &str) -> Option<Client> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let sum = &answer["end"]["sum"];
    let packets = sum["packets"].as_u64()?;
    // Packets that came late count against those that are missing, so there may be less than none.
    let lost = sum["lost_packets"].as_i64()?.max(0).cast_unsigned();
    // The rate that it names is the sender's.
    let arrived = packets.saturating_sub(lost) as f64 / packets.max(1) as f64;
    let gbit_per_second = sum["bits_per_second"].as_f64()? * arrived / 1e9;
    Some(Client::Udp { gbit_per_second, packets, lost, payload: UDP_BYTES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_says_is_understood() {
        let answer = "PING 10.77.0.2\n\n--- ping statistics ---\n20 packets transmitted, 19 received, 5% packet loss, time 19ms\n\
                      rtt min/avg/max/mdev = 0.084/0.142/0.332/0.094 ms\n";
        let Some(Client::Ping { sent, received, rtt_ms }) = ping_result(answer) else { panic!("not understood") };
        assert_eq!((sent, received, rtt_ms), (20, 19, Some([0.084, 0.142, 0.332])));
        assert!(ping_result("ping: unknown host").is_none());
    }

    #[test]
    fn what_iperf_says_is_understood() {
        let tcp = r#"{"end":{"sum_received":{"bits_per_second":2.5e9},"sum_sent":{"retransmits":3}}}"#;
        assert!(
            matches!(tcp_result(tcp), Some(Client::Tcp { retransmits: 3, gbit_per_second }) if gbit_per_second == 2.5)
        );
        let udp = r#"{"end":{"sum":{"packets":100,"lost_packets":25,"bits_per_second":1e9}}}"#;
        let Some(Client::Udp { packets, lost, gbit_per_second, .. }) = udp_result(udp) else {
            panic!("not understood")
        };
        assert_eq!((packets, lost, gbit_per_second), (100, 25, 0.75));
        assert!(udp_result("{}").is_none() && tcp_result("iperf3: error").is_none());
    }
}
