//! The C interface: its header is up to date, and C programs that use it run under AddressSanitizer.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

pub(crate) const CRATE: &str = "pp-capi";
/// In the crate's folder.
const HEADER: &str = "include/page_pool.h";
const PROGRAMS: [&str; 4] = ["examples/ping.c", "tests/misuse.c", "tests/process.c", "tests/threads.c"];
/// The program that leaks when this is defined.
const LEAKS: (&str, &str) = ("tests/threads.c", "-DFORGET");
const STANDARD: &str = "-std=c11";
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What Rust's standard library needs of the system.
const LIBRARIES: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the header instead of comparing it
    #[arg(long)]
    pub(crate) bless: bool,
}

/// Compares the header, then builds and runs the programs.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let folder = workspace.package(CRATE).with_context(|| format!("the workspace has no {CRATE}"))?.folder();
    let stale = !header(&folder, args.bless)?;
    ensure!(!stale, "{CRATE}/{HEADER} is not what the crate says (cure: `cargo xtask capi --bless`)");

    let header = fs::read_to_string(folder.join(HEADER))?;
    let programs = PROGRAMS.iter().map(|program| fs::read_to_string(folder.join(program)));
    let programs = programs.collect::<Result<String, _>>()?;
    let unused: Vec<_> = functions(&header).filter(|name| !programs.contains(&format!("{name}("))).collect();
    ensure!(unused.is_empty(), "no C program shows how to call {}", unused.join(", "));

    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    if !sh::works(Command::new(&compiler).arg("--version")) {
        let why = "the header is up to date, but its programs need a C compiler (`cc`, or the one that CC names)";
        return Ok(Outcome::Skipped(why.into()));
    }
    let out = workspace.target.join("capi");
    fs::create_dir_all(&out)?;
    sh::run(sh::cargo().args(["build", "-p", CRATE]))?;
    let archive = workspace.target.join("debug/libpp_capi.a");
    let build = Build { compiler, include: folder.join("include").into(), out: &out };

    build.header_alone("c")?;
    if sh::works(Command::new("c++").arg("--version")) {
        build.header_alone("c++")?;
    } else {
        sh::loud("NOT checked: that the header is C++ as well, which needs a C++ compiler (`c++`)");
    }
    build.shared_library(&folder.join(PROGRAMS[0]), &workspace.target.join("debug"))?;
    if build.sanitizes()? {
        for program in PROGRAMS {
            sh::run(&mut sanitized(&build.program(
                &folder.join(program),
                &archive,
                &["-fsanitize=address,undefined"],
            )?))?;
        }
        // What finds no leak must be shown to find one.
        let (program, define) = LEAKS;
        let leaking = build.program(&folder.join(program), &archive, &["-fsanitize=address", define])?;
        let said = String::from_utf8_lossy(&sanitized(&leaking).output()?.stderr).into_owned();
        ensure!(said.contains("LeakSanitizer"), "what {define} leaves over is not reported as a leak: {said}");
        println!("what {program} leaves over with {define} is reported, as it must be");
        return Ok(Outcome::Done);
    }
    for program in PROGRAMS {
        sh::run(&mut Command::new(build.program(&folder.join(program), &archive, &[])?))?;
    }
    Ok(Outcome::Skipped("the C programs ran without AddressSanitizer, which this C compiler lacks".into()))
}

/// Whether the header is what the crate says; with `bless` it is afterwards.
fn header(folder: &Path, bless: bool) -> Result<bool> {
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml"));
    let config = config.map_err(anyhow::Error::msg).context("cbindgen.toml")?;
    let bindings = cbindgen::Builder::new().with_config(config).with_crate(folder).generate()?;
    let mut made = Vec::new();
    bindings.write(&mut made);
    // Rust's habit of a heading is none of C's.
    let made = String::from_utf8(made)?.replace("// # Safety\n//\n// ", "// Safety: ");
    let path = folder.join(HEADER);
    if bless {
        fs::write(&path, &made)?;
    }
    Ok(fs::read(&path).is_ok_and(|have| have == made.as_bytes()))
}

/// The functions that the header declares.
fn functions(header: &str) -> impl Iterator<Item = &str> {
    let code = header.lines().filter(|line| !line.starts_with("//") && !line.starts_with(" *"));
    code.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next()).filter(|name| name.starts_with("pp_"))
}

struct Build<'a> {
    compiler: OsString,
    include: OsString,
    out: &'a Path,
}

impl Build<'_> {
    /// The header needs no other before it, in either language.
    fn header_alone(&self, language: &str) -> Result<()> {
        let source = self.out.join("header.c");
        fs::write(&source, "#include \"page_pool.h\"\n")?;
        let standard = if language == "c" { STANDARD } else { "-std=c++11" };
        let mut command = Command::new(if language == "c" { self.compiler.as_os_str() } else { "c++".as_ref() });
        command.args(["-x", language, standard, "-fsyntax-only"]).args(WARNINGS);
        sh::run(command.arg("-I").arg(&self.include).arg(&source))
    }

    /// Whether the compiler can build and run a program under AddressSanitizer.
    fn sanitizes(&self) -> Result<bool> {
        let (source, program) = (self.out.join("empty.c"), self.out.join("empty"));
        fs::write(&source, "int main(void) { return 0; }\n")?;
        let mut command = Command::new(&self.compiler);
        command.args(["-fsanitize=address,undefined", "-o"]).arg(&program).arg(&source);
        Ok(sh::works(&mut command) && sh::works(&mut sanitized(&program)))
    }

    /// The other form of the library, without a sanitizer.
    fn shared_library(&self, source: &Path, folder: &Path) -> Result<()> {
        let program = self.out.join("shared");
        let mut command = self.compile(&program);
        command.arg(source);
        command.arg("-L").arg(folder).arg("-lpp_capi").arg(format!("-Wl,-rpath,{}", folder.display()));
        sh::run(&mut command)?;
        sh::run(&mut Command::new(program))
    }

    /// The compiler, told everything but what to make the program of.
    fn compile(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.compiler);
        command.args([STANDARD, "-g"]).args(WARNINGS).arg("-I").arg(&self.include).arg("-o").arg(program);
        command
    }

    fn program(&self, source: &Path, archive: &Path, flags: &[&str]) -> Result<PathBuf> {
        let Some(name) = source.file_stem() else { bail!("{} is no file", source.display()) };
        let program = self.out.join(name);
        sh::run(self.compile(&program).args(flags).arg(source).arg(archive).args(LIBRARIES))?;
        Ok(program)
    }
}

fn sanitized(program: &Path) -> Command {
    let mut command = Command::new(program);
    sh::default_env(&mut command, "ASAN_OPTIONS", "detect_leaks=1");
    sh::default_env(&mut command, "UBSAN_OPTIONS", "halt_on_error=1");
    command
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn functions_are_found_in_a_header() {
        let header = " * pp_a(): a comment\n// pp_b() too\nvoid pp_c(int c,\n          int d);\nconst char *pp_d(void);\n#if (X)\n";
        assert!(functions(header).eq(["pp_c", "pp_d"]));
    }
}
