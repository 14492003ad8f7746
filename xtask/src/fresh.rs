//! What a newcomer does: clone, and run what the README says.

use std::path::Path;
use std::process::Command;
use std::{env, fs, process};

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

/// Done by the clone itself, or changing another project or the machine.
const NOT_RUN: [&str; 5] = ["git clone", "cd ", "cargo add", "cargo install", "sudo "];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only print the commands
    #[arg(long)]
    list: bool,
}

/// Runs the README's commands in a clone of HEAD.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let root = Workspace::load()?.root;
    let readme = fs::read_to_string(root.join("README.md")).context("README.md could not be read")?;
    let commands = commands(&readme);
    ensure!(!commands.is_empty(), "README.md has no block of commands marked `sh`, `bash` or `console`");
    if args.list {
        commands.iter().for_each(|command| println!("{command}"));
        return Ok(Outcome::Done);
    }
    if !sh::capture(Command::new("git").args(["status", "--porcelain"]).current_dir(&root))?.is_empty() {
        sh::loud("the working tree has changes; only what is committed is tried");
    }

    let clone = env::temp_dir().join(format!("page-pool-fresh-{}", process::id()));
    sh::run(Command::new("git").args(["clone", "--quiet"]).arg(&root).arg(&clone))?;
    for (at, command) in commands.iter().enumerate() {
        println!("[{}/{}] {command}", at + 1, commands.len());
        sh::run(&mut shell(command, &clone)).with_context(|| format!("the clone is left in {}", clone.display()))?;
    }
    fs::remove_dir_all(&clone)?;
    println!("all {} commands of README.md work in a fresh clone", commands.len());
    Ok(Outcome::Done)
}

fn shell(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euc", line]).current_dir(folder);
    // Nothing built here may help the clone.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO").env_remove("CARGO_MANIFEST_DIR");
    command
}

/// The commands in fenced blocks marked `sh`, `bash` or `console` (there: lines after a `$ `), unless the mark goes on
/// with `no-run`. A backslash at the end of a line joins the next.
fn commands(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    let mut joined = String::new();
    for line in markdown.lines().map(str::trim) {
        if let Some(mark) = line.strip_prefix("```") {
            let shell = mark.split([' ', ',']).next().filter(|first| ["sh", "bash", "console"].contains(first));
            block = if block.is_some() { None } else { Some(shell.filter(|_| !mark.contains("no-run")).unwrap_or("")) };
            continue;
        }
        let line = match block {
            Some("sh" | "bash") => line,
            Some("console") if !joined.is_empty() => line,
            Some("console") => line.strip_prefix("$ ").unwrap_or_default(),
            _ => continue,
        };
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            continue;
        }
        let command = core::mem::take(&mut joined) + line;
        let runs = !command.starts_with('#') && NOT_RUN.iter().all(|start| !command.starts_with(start));
        if runs && !command.is_empty() {
            found.push(command);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn only_commands_of_shell_blocks_are_taken() {
        let readme = "text\n```sh\ngit clone x\n# all\ncargo xtask ci\ncargo run \\\n  -- bench\n```\n```rust\nlet a = 1;\n\
                      ```\n```console\n$ cargo test\nok\n```\n```sh no-run\nrm x\n```\n";
        assert_eq!(commands(readme), ["cargo xtask ci", "cargo run -- bench", "cargo test"]);
    }
}
