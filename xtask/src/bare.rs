//! The program without std and main in `bare/`: it runs, its wrong version does not, and no verb of a page can panic.
//!
//! That last is the linker's word. `bare/examples/verbs.rs` has every verb as a function, and a panic handler that calls a
//! function which does not exist. Linked alone, with what nobody refers to thrown away, a verb fails exactly if a panic can
//! be reached from it: by an index, an overflow, a division, an allocation that aborts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

pub(crate) const FOLDER: &str = "bare";
/// What it is written for: its system calls, and the linker's arguments.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// What the watchdog of the program exits with when the last check that held is the one under the provider's lock.
const STUCK_UNDER_THE_LOCK: i32 = 40 + 11;
/// What the panic handler of the verbs calls.
const NOWHERE: &str = "a_panic_can_be_reached";

struct Bare {
    folder: PathBuf,
    target: PathBuf,
}

/// Builds, runs and examines it.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let host = sh::host()?;
    if host != HOST {
        return Ok(Outcome::Skipped(format!("the program without std is for {HOST}, and this is {host}")));
    }
    let bare = Bare { folder: workspace.root.join(FOLDER), target: workspace.target.join("bare") };
    bare.cargo(&["fmt", "--check"])?;
    bare.build("clippy", &["--release", "--all-targets", "--", "-D", "warnings"])?;

    bare.build("build", &[])?;
    bare.expect("debug", 0)?;
    bare.build("build", &["--release"])?;
    bare.expect("release", 0)?;
    bare.build("build", &["--release", "--features", "unmasked"])?;
    let deadlock = "an interrupt that is not masked must wait for ever for the lock that it came under";
    bare.expect("release", STUCK_UNDER_THE_LOCK).context(deadlock)?;

    bare.build("build", &["--release", "--example", "verbs"])?;
    let source = fs::read_to_string(bare.folder.join("examples/verbs.rs"))?;
    let verbs = verbs(&source);
    let (controls, verbs): (Vec<_>, Vec<_>) = verbs.into_iter().partition(|name| name.starts_with("control_"));
    ensure!(!controls.is_empty() && verbs.len() > 20, "examples/verbs.rs has no verbs where they are looked for");
    for control in controls {
        let log = bare.link(control, &[])?.err().with_context(|| format!("{control} links, so nothing is shown"))?;
        ensure!(log.contains(NOWHERE), "{control} fails for another reason:\n{log}");
    }
    for verb in &verbs {
        if let Err(log) = bare.link(verb, &[])? {
            ensure!(log.contains(NOWHERE), "{verb} does not link:\n{log}");
            bail!("a panic can be reached from {verb}{}", bare.callers(verb)?);
        }
    }
    println!("no panic can be reached from {} functions: {}", verbs.len(), verbs.join(", "));
    Ok(Outcome::Done)
}

impl Bare {
    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        // What it is linked with comes from its own configuration, which RUSTFLAGS would replace.
        sh::run(sh::cargo().current_dir(&self.folder).env_remove("RUSTFLAGS").args(arguments))
    }

    fn build(&self, command: &str, arguments: &[&str]) -> Result<()> {
        let target = self.target.to_string_lossy();
        self.cargo(&[&[command, "--quiet", "--locked", "--target-dir", &target], arguments].concat())
    }

    /// Runs the program. It ends by itself: it has a watchdog.
    fn expect(&self, profile: &str, code: i32) -> Result<()> {
        let program = self.target.join(profile).join("bare");
        let status = Command::new(&program).status().context("the program could not be started")?;
        ensure!(
            status.code() == Some(code),
            "the program ended with {status}, not with code {code} (see bare/src/main.rs)"
        );
        Ok(())
    }

    /// Links one function and what it refers to. `Err` is what the linker said.
    fn link(&self, verb: &str, more: &[&str]) -> Result<Result<PathBuf, String>> {
        let program = self.target.join("verb");
        let output = Command::new("cc")
            .args(["-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", &format!("-Wl,-e,{verb},-u,{verb}")])
            .args(more)
            .arg("-o")
            .args([&program, &self.target.join("release/examples/libverbs.a")])
            .output()
            .context("the linker `cc` could not be started")?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(if output.status.success() { Ok(program) } else { Err(log) })
    }

    /// Who calls what panics, as far as a disassembler is there to tell.
    fn callers(&self, verb: &str) -> Result<String> {
        let Ok(program) = self.link(verb, &[&format!("-Wl,--defsym={NOWHERE}=0")])? else { return Ok(String::new()) };
        Ok(disassembled(&program).map(|listing| callers(&listing)).unwrap_or_default())
    }
}

fn disassembled(program: &Path) -> Result<String> {
    sh::capture(Command::new("objdump").args(["-d", "-C", "--no-show-raw-insn"]).arg(program))
}

/// The functions of `verbs! { .. }`, by their names.
fn verbs(source: &str) -> Vec<&str> {
    let names = source.lines().filter_map(|line| Some(line.trim_start().split_once('(')?.0));
    names.filter(|name| ["verb_", "provider_", "control_"].iter().any(|prefix| name.starts_with(prefix))).collect()
}

/// Of a disassembly, the functions that call something of `core` or `alloc` that panics, one a line.
fn callers(listing: &str) -> String {
    let (mut function, mut callers) = ("", Vec::new());
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(">:") {
            function = name.split_once('<').map_or(name, |(_, name)| name);
        } else if let Some((_, callee)) = line.split_once('<')
            && panics(callee)
            && !panics(function)
        {
            callers.push(format!("\n    {function} -> {}", callee.strip_suffix('>').unwrap_or(callee)));
        }
    }
    callers.sort();
    callers.dedup();
    callers.concat()
}

/// Whether a function is of those that panic: by its own path, not by those of the types in it.
fn panics(function: &str) -> bool {
    let path = function.trim_start_matches('<').split('<').next().unwrap_or_default();
    let modules = ["core::panicking::", "core::slice::index::", "core::option::", "core::result::"];
    modules.iter().any(|module| path.starts_with(module)) || path.contains("::handle_")
}

#[cfg(test)]
mod tests {
    use super::{callers, verbs};

    #[test]
    fn verbs_are_found_by_their_names() {
        let source =
            "verbs! {\n    verb_drop(page: Page) { drop(page) }\n    // verb_no\n    control_panics(x: u8) {}\n}\n";
        assert_eq!(verbs(source), ["verb_drop", "control_panics"]);
    }

    #[test]
    fn who_panics_is_found_in_a_disassembly() {
        let listing = "0000 <pp_core::put::put>:\n  10:\tcall   20 <core::panicking::panic_bounds_check>\n\
                       0020 <core::panicking::panic_bounds_check>:\n  20:\tcall   30 <core::panicking::panic_fmt>\n";
        assert_eq!(callers(listing), "\n    pp_core::put::put -> core::panicking::panic_bounds_check");
    }

    #[test]
    fn a_type_in_a_functions_name_does_not_panic() {
        let calls = |callee: &str| callers(&format!("0000 <f>:\n  10:\tcall   20 <{callee}>\n"));
        assert_eq!(calls("core::ptr::drop_in_place<core::result::Result<u8, pp_core::handle_x::Error>>"), "");
        assert_eq!(calls("core::result::unwrap_failed"), "\n    f -> core::result::unwrap_failed");
        assert_eq!(calls("<core::option::Option<u8>>::unwrap"), "\n    f -> <core::option::Option<u8>>::unwrap");
        assert_eq!(calls("alloc::raw_vec::handle_error"), "\n    f -> alloc::raw_vec::handle_error");
    }
}
