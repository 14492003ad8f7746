//! Runs the real program.

#![allow(dead_code, unreachable_pub, reason = "Each test file uses its part.")]

#[path = "../../../pp-netdev/tests/support/captures.rs"]
pub mod captures;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of files for one test.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn with(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The name of a port on a file here.
    pub fn port(&self, name: &str) -> String {
        format!("pcap:{}", self.path(name).display())
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Everything here, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// `pagepool` with these arguments.
pub fn pagepool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagepool"));
    command.args(args).stdin(Stdio::null());
    command
}

/// `pagepool forward --json` with these arguments; it must end well, and what it printed must keep the laws.
pub fn forward(args: &[&str]) -> Value {
    let output = pagepool(&["forward", "--json"]).args(args).output().unwrap();
    report(&output)
}

/// The report of a run that must have ended well.
pub fn report(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {complaint}", output.status);
    assert_eq!(complaint, "", "standard error is for complaints when it is no terminal");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    check_laws(&report);
    report
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// What holds of every report, whatever the traffic.
pub fn check_laws(report: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(report),
        "bytes copied_bytes dropped mpps packets_in packets_out phases pools ports seconds too_long too_short"
    );
    assert_eq!(number(&report["packets_in"]), number(&report["packets_out"]) + number(&report["dropped"]));
    assert!(number(&report["dropped"]) >= number(&report["too_long"]) + number(&report["too_short"]));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    assert!(report["mpps"].as_f64().unwrap() >= 0.0);
    let phases = report["phases"].as_array().unwrap();
    for phase in phases {
        assert_eq!(keys(phase), "most_bytes most_pages mpps packets seconds split");
        assert!(number(&phase["most_pages"]) > 0);
    }
    // What was taken from the wire was received, unless it fitted no buffer.
    let received: u64 = phases.iter().map(|phase| number(&phase["packets"])).sum();
    assert!(received <= number(&report["packets_in"]) && received >= number(&report["packets_out"]), "{report:#}");
    let pools = report["pools"].as_array().unwrap();
    assert!(!pools.is_empty());
    let mut ids: Vec<_> = pools.iter().map(|pool| number(&pool["id"])).collect();
    ids.dedup();
    assert_eq!(ids.len(), pools.len(), "a pool each: {report:#}");
    for (queue, pool) in pools.iter().enumerate() {
        if report["ports"] == json!([]) {
            assert_eq!(pool["name"], format!("rx{queue}"));
            assert_eq!(pool["kernel_held"], 0, "{pool:#}");
        }
        assert_eq!(pool["page_size"], pools[0]["page_size"]);
        assert_eq!(
            keys(pool),
            "alloc fragmentation_index id in_use inflight kernel_held limit limit_hits lost name page_size posted provider \
             provider_allocs provider_allocs_at_10_percent provider_releases recycle recycled_percent"
        );
        assert_eq!(keys(&pool["alloc"]), "empty fast refill slow slow_high_order waive");
        assert_eq!(keys(&pool["recycle"]), "cache_full cached released_refcnt ring ring_full");
        assert_eq!(pool["lost"], 0, "{pool:#}");
        if number(&pool["kernel_held"]) > 0 {
            // In the receive rings, or on their way out.
            assert_eq!(pool["in_use"], pool["kernel_held"], "no user has any: {pool:#}");
        } else if phases.iter().all(|phase| phase["split"].is_null()) {
            assert_eq!(pool["in_use"], pool["posted"], "a page each: {pool:#}");
        }
        let inflight = number(&pool["inflight"]);
        assert_eq!(inflight, number(&pool["provider_allocs"]) - number(&pool["provider_releases"]));
        assert!(number(&pool["in_use"]) <= inflight);
        // What was handed out is in use, or was put back.
        let sum = |group: &str, names: &[&str]| names.iter().map(|name| number(&pool[group][*name])).sum::<u64>();
        let allocations = sum("alloc", &["fast", "slow", "slow_high_order", "refill"]);
        let returns = sum("recycle", &["cached", "ring", "ring_full", "released_refcnt"]);
        assert_eq!(allocations, returns + number(&pool["in_use"]), "{pool:#}");
        assert_eq!(pool["provider"] == "buddy", pool["fragmentation_index"].is_number(), "{pool:#}");
        assert!((0.0..=100.0).contains(&pool["recycled_percent"].as_f64().unwrap()));
    }
}

/// The exit code and the one sentence of a run that must fail, and print nothing else.
pub fn complaint(args: &[&str]) -> (i32, String) {
    complaint_of(pagepool(&["forward"]).args(args))
}

pub fn complaint_of(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().expect("an exit code, not a signal"), text.trim_end().to_owned())
}
