//! What came of it.

use std::io::{self, Write};

use indicatif::HumanCount;
use serde::Serialize;

use super::clients::Client;
use crate::report::Report;

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct DemoReport {
    /// The programs, in the order in which they talked.
    pub(super) clients: Vec<Client>,
    /// What `pagepool forward` would have printed.
    pub(super) forward: Report,
}

// === impl DemoReport ===

impl DemoReport {
    /// For people.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for client in &self.clients {
            match client {
                Client::Ping { sent, received, rtt_ms } => {
                    write!(out, "ping        {received} of {sent} answered")?;
                    if let Some([least, average, most]) = rtt_ms {
                        write!(out, ", round trip {least:.3} / {average:.3} / {most:.3} ms (least, average, most)")?;
                    }
                    writeln!(out)?;
                }
                Client::Tcp { gbit_per_second, retransmits } => {
                    writeln!(out, "iperf3 TCP  {gbit_per_second:.2} Gbit/s, {retransmits} segments sent again")?;
                }
                Client::Udp { gbit_per_second, packets, lost, payload } => {
                    let percent = 100.0 * *lost as f64 / (*packets).max(1) as f64;
                    writeln!(
                        out,
                        "iperf3 UDP  {gbit_per_second:.2} Gbit/s, {} packets of {payload} bytes, {lost} lost ({percent:.2} %)",
                        HumanCount(*packets)
                    )?;
                }
            }
        }
        let Report { packets_out, dropped, copied_bytes, ports, pools, .. } = &self.forward;
        writeln!(
            out,
            "forwarder   {} packets forwarded, {dropped} dropped, {copied_bytes} bytes copied by the program",
            HumanCount(*packets_out)
        )?;
        for port in ports {
            let missed = port.kernel.map_or(0, |kernel| kernel.rx_dropped + kernel.rx_ring_full);
            writeln!(
                out,
                "  {:<10} {}, kernel copies: {}, {missed} missed by the kernel",
                port.port,
                port.modes.attached.as_deref().unwrap_or("sends only"),
                if port.modes.bound == "copy" { "yes" } else { "no" },
            )?;
        }
        for pool in pools {
            writeln!(
                out,
                "  pool {:<5} {} pages from the provider, {:.2} % recycled, {} with the kernel at the end, {} lost",
                pool.name,
                HumanCount(pool.provider_allocs),
                pool.recycled_percent,
                HumanCount(pool.kernel_held),
                pool.lost,
            )?;
        }
        Ok(())
    }
}
