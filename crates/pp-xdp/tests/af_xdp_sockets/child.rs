//! Tests in processes of their own, for what a process has as a whole.

use std::process::Command;

/// Says that a test is run by another.
const CHILD: &str = "PP_XDP_TEST_CHILD";

/// Runs a test that is ignored otherwise; it must pass.
pub(crate) fn run(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test} in a process of its own:\n{text}");
    text.lines().filter(|line| line.contains("SKIPPED")).for_each(|line| eprintln!("{line}"));
}

/// Runs `test` if this is the process for it.
pub(crate) fn only(test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        test();
    }
}

/// How many bytes this process may lock, from now on.
pub(crate) fn limit_locked_memory(bytes: u64) {
    // Raising the other one may not be allowed.
    let most = rustix::process::getrlimit(rustix::process::Resource::Memlock).maximum;
    let limit = rustix::process::Rlimit { current: Some(bytes), maximum: most };
    rustix::process::setrlimit(rustix::process::Resource::Memlock, limit).unwrap();
}
