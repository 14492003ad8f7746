//! Ordering mutants: each Acquire, Release and AcqRel of pp-core weakened by one step, in a copy of the workspace, and the
//! loom models run on the result. They must fail; a survivor is an ordering that nothing needs or that no model reaches.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const SOURCES: &str = "crates/pp-core/src";
/// What the comment above an ordering says when it is known that no model can show why it is needed.
const EXPLAINED: &str = "No model can tell";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only sites whose `file.rs:line` begins with this
    filter: Option<String>,
}

/// One ordering in the sources.
struct Site {
    file: PathBuf,
    line: usize,
    column: usize,
    strong: &'static str,
    explained: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    if !sh::works(Command::new("git").arg("--version")) {
        return Ok(Outcome::Skipped("the copy is made of what git knows, and git is not installed".into()));
    }
    let copy = workspace.target.join("orderings");
    let files =
        sh::capture(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&workspace.root))?;
    let _ = fs::remove_dir_all(copy.join("crates"));
    for file in files.lines() {
        let (from, to) = (workspace.root.join(file), copy.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().context("a file has a folder")?)?;
            fs::copy(&from, &to).with_context(|| format!("{file} could not be copied"))?;
        }
    }
    let target = workspace.target.join("loom");
    ensure!(models_fail(&copy, &target)?.is_none(), "the models fail on the sources as they are");

    let mut survivors = 0;
    for site in sites(&copy)? {
        let path = site.file.strip_prefix(copy.join(SOURCES))?.display().to_string();
        let name = format!("{path}:{}", site.line + 1);
        if args.filter.as_ref().is_some_and(|filter| !name.starts_with(filter.as_str())) {
            continue;
        }
        let before = fs::read_to_string(&site.file)?;
        let weaker: &[_] = if site.strong == "AcqRel" { &["Acquire", "Release"] } else { &["Relaxed"] };
        for weak in weaker {
            let start = Instant::now();
            fs::write(&site.file, weakened(&before, &site, weak))?;
            let outcome = models_fail(&copy, &target);
            fs::write(&site.file, &before)?;
            let verdict = match outcome? {
                Some(model) => format!("found by {model}"),
                None if site.explained => "survives, as explained there".into(),
                None => {
                    survivors += 1;
                    "SURVIVES".into()
                }
            };
            println!("{name}: {} to {weak}: {verdict} ({:.0?})", site.strong, start.elapsed());
        }
    }
    ensure!(survivors == 0, "{survivors} orderings that no model needs, and no `{EXPLAINED}` above them");
    Ok(Outcome::Done)
}

/// Every ordering over Relaxed, but for comments and the deliberate defects.
fn sites(copy: &Path) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    for folder in ["", "sync"] {
        for entry in fs::read_dir(copy.join(SOURCES).join(folder))? {
            let file = entry?.path();
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&file)?;
            let lines: Vec<_> = text.lines().collect();
            for (line, code) in lines.iter().enumerate() {
                if code.trim_start().starts_with("//") || in_a_defect(&lines, line) {
                    continue;
                }
                let above = lines[..line].iter().rev().skip_while(|above| !above.trim_start().starts_with("//"));
                let explained = above
                    .take_while(|above| above.trim_start().starts_with("//"))
                    .any(|comment| comment.contains(EXPLAINED));
                for strong in ["Acquire", "Release", "AcqRel"] {
                    let word = format!("Ordering::{strong}");
                    let places = code.match_indices(&word).map(|(column, _)| column);
                    sites.extend(places.map(|column| Site { file: file.clone(), line, column, strong, explained }));
                }
            }
        }
    }
    sites.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(sites)
}

/// Whether the line stands in a block that only a deliberate defect enters.
fn in_a_defect(lines: &[&str], line: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines[line]);
    lines[..line]
        .iter()
        .rev()
        .find(|above| !above.trim().is_empty() && indent(above) < own)
        .is_some_and(|opener| opener.contains("if mutant(") && opener.ends_with('{'))
}

fn weakened(text: &str, site: &Site, weak: &str) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let code = &mut lines[site.line];
    let from = site.column + "Ordering::".len();
    code.replace_range(from..from + site.strong.len(), weak);
    // A relaxed fence is none.
    *code = code.replace("fence(Ordering::Relaxed);", "");
    lines.join("\n") + "\n"
}

/// The first model that fails, if one does. Only those that must pass are run.
fn models_fail(copy: &Path, target: &Path) -> Result<Option<String>> {
    let mut build = sh::cargo();
    sh::rustflags(&mut build, "--cfg loom");
    build
        .args(["test", "--quiet", "--profile", "loom", "--no-run", "--message-format=json", "--target-dir"])
        .arg(target);
    build.args(["-p", "pp-core", "--features", "loom", "--test", "loom_models"]).current_dir(copy);
    let messages = sh::capture(build.stderr(Stdio::null()))?;
    let program = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = program.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();

    let mut models = Command::new(program.context("cargo names no test program")?);
    models.args(["loom_", "--skip", "_mutants"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = models.spawn()?;
    for line in BufReader::new(child.stdout.take().context("a piped child has a stdout")?).lines() {
        if let Some(name) = line?.strip_suffix(" ... FAILED").and_then(|line| line.strip_prefix("test ")) {
            // It fails already; what the others say changes nothing.
            child.kill()?;
            child.wait()?;
            return Ok(Some(name.to_owned()));
        }
    }
    // A failure in one modelled thread often takes the process down, through the drops of the others.
    match child.wait()?.code() {
        Some(0) => Ok(None),
        Some(_) | None => Ok(Some("a model that aborted".into())),
    }
}
