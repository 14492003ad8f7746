//! Running other programs: the command line is shown, output passes through, the exit code is kept.

use core::fmt;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// How a command ended that did not fail.
pub(crate) enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Nothing was checked, and this is why.
    Skipped(String),
}

/// A child that ran and failed; carries the exit code to hand on.
#[derive(Debug)]
struct ChildFailed {
    line: String,
    status: ExitStatus,
}

impl fmt::Display for ChildFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed ({})", self.line, self.status)
    }
}

impl core::error::Error for ChildFailed {}

/// The exit code for `error`: the failed child's own where there is one, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let child = error.chain().find_map(|cause| cause.downcast_ref::<ChildFailed>());
    let code = child.and_then(|child| child.status.code()).and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.filter(|&code| code != 0).unwrap_or(1))
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The cargo of another toolchain.
pub(crate) fn cargo_of(toolchain: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "cargo"]);
    // What `cargo run` leaves behind belongs to the toolchain that built this program.
    command.env_remove("CARGO").env_remove("LD_LIBRARY_PATH");
    command
}

/// Whether rustup has a toolchain whose name is `name` or begins with `name-`.
pub(crate) fn installed_toolchain(name: &str) -> Option<String> {
    let list = capture(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    let mut names = list.lines().filter_map(|line| line.split_whitespace().next());
    names
        .find(|have| *have == name || have.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
        .map(Into::into)
}

/// The targets that rustup has; none without rustup.
pub(crate) fn installed_targets() -> Vec<String> {
    let list = capture(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    list.lines().map(Into::into).collect()
}

/// The host's target triple.
pub(crate) fn host() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(Into::into).context("`rustc -vV` names no host")
}

/// Sets a variable unless the caller's environment has it.
pub(crate) fn default_env(command: &mut Command, name: &str, value: impl AsRef<OsStr>) {
    if std::env::var_os(name).is_none() {
        command.env(name, value);
    }
}

/// Appends to RUSTFLAGS instead of replacing what the caller set.
pub(crate) fn rustflags(command: &mut Command, flags: &str) {
    let before = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{before} {flags}").trim());
}

/// Runs a command with its output passed through.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    run_unshown(command)
}

/// The same for a command that the caller announces in its own words.
pub(crate) fn run_unshown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    check(command, status)
}

/// Runs a command with its output passed through, and counts the tests that passed.
pub(crate) fn run_tests(command: &mut Command) -> Result<u64> {
    show(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| not_started(command))?;
    let mut lines = BufReader::new(child.stdout.take().context("a piped child has a stdout")?);
    let (mut passed, mut line) = (0, Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        passed += passed_in(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait()?;
    check(command, status).map(|()| passed)
}

/// Runs a command and gives its standard output back.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| not_started(command))?;
    check(command, output.status)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a command starts and ends well; its output is thrown away.
pub(crate) fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A message nobody overlooks.
pub(crate) fn loud(message: &str) {
    let rule = "!".repeat(100);
    eprintln!("\n{rule}\n!! {message}\n{rule}");
}

fn show(command: &Command) {
    eprintln!("$ {}", line(command));
}

fn line(command: &Command) -> String {
    let env = command.get_envs().filter_map(|(name, value)| Some((name.to_string_lossy(), value?.to_string_lossy())));
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words: Vec<String> = env.map(|(name, value)| format!("{name}={}", quoted(&value))).collect();
    words.push(program.to_string_lossy().into_owned());
    words.extend(command.get_args().map(|arg| quoted(&arg.to_string_lossy())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '*', '"']) || word.is_empty() { format!("'{word}'") } else { word.to_owned() }
}

fn not_started(command: &Command) -> String {
    format!("`{}` could not be started", line(command))
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(ChildFailed { line: line(command), status }.into()) }
}

/// The number of passed tests in one line of libtest's output.
fn passed_in(line: &str) -> u64 {
    let Some((_, counts)) = line.split_once("test result: ") else { return 0 };
    let Some((before, _)) = counts.split_once(" passed") else { return 0 };
    before.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn counts_libtests_summaries() {
        assert_eq!(passed_in("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out"), 12);
        assert_eq!(passed_in("test loom_ring ... ok"), 0);
    }
}
