//! Builds the DPDK contender where pkg-config finds libdpdk, and says by `cfg(dpdk)` whether it did. Nothing fails for want of
//! it: the program then names that peer as absent.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dpdk)");
    println!("cargo::rerun-if-changed=csrc/mempool.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    let why = match dpdk() {
        Ok(()) => {
            println!("cargo::rustc-cfg=dpdk");
            String::new()
        }
        Err(why) => {
            // A file that is not there: so that it is looked for once more at every build, and found once it was installed.
            println!("cargo::rerun-if-changed=libdpdk-is-absent");
            why
        }
    };
    println!("cargo::rustc-env=PP_NO_DPDK={why}");
}

/// Static libraries, and only those that a mempool needs: the shared ones load every driver there is.
fn dpdk() -> Result<(), String> {
    let library = PathBuf::from(pkg_config("--variable=libdir")?);
    // A newer package has to be noticed.
    println!("cargo::rerun-if-changed={}", library.join("librte_eal.a").display());
    let there = |name: &str| library.join(format!("lib{name}.a")).exists();
    for name in ["rte_mempool_ring", "rte_mempool", "rte_ring", "rte_eal", "rte_kvargs", "rte_telemetry"] {
        if !there(name) {
            return Err(format!("libdpdk was found, but not lib{name}.a"));
        }
    }
    let mut build = cc::Build::new();
    build.file("csrc/mempool.c").opt_level(3).debug(false).warnings(true);
    let flags = pkg_config("--cflags")?;
    let mut flags = flags.split_whitespace();
    while let Some(flag) = flags.next() {
        match (flag, flag.strip_prefix("-I")) {
            // Not for their own warnings.
            (_, Some(folder)) => build.flag("-isystem").flag(folder),
            ("-include", _) => build.flag("-include").flag(flags.next().unwrap_or_default()),
            _ => build.flag(flag),
        };
    }
    build
        .try_compile("pp_mempool")
        .map_err(|error| format!("its C file does not compile against this libdpdk: {error}"))?;
    link(&library, |name| there(name));
    Ok(())
}

fn link(library: &Path, there: impl Fn(&str) -> bool) {
    let argument = |argument: &str| println!("cargo::rustc-link-arg-bin=pp-bench={argument}");
    argument(&format!("-L{}", library.display()));
    // Registers itself before main, so nothing names it.
    argument("-Wl,--push-state,--whole-archive,-l:librte_mempool_ring.a,--pop-state");
    argument("-Wl,--start-group");
    // The last two are of newer versions.
    let names = ["rte_mempool", "rte_ring", "rte_eal", "rte_kvargs", "rte_telemetry", "rte_log", "rte_argparse"];
    names.into_iter().filter(|name| there(name)).for_each(|name| argument(&format!("-l:lib{name}.a")));
    argument("-Wl,--end-group");
    ["-Wl,--as-needed", "-lnuma", "-lbsd", "-lm", "-lpthread", "-ldl"].into_iter().for_each(argument);
}

fn pkg_config(question: &str) -> Result<String, String> {
    let answer = Command::new("pkg-config").args([question, "libdpdk"]).output();
    let answer =
        answer.map_err(|error| format!("pkg-config, which knows where libdpdk is, does not start: {error}"))?;
    if !answer.status.success() {
        return Err("libdpdk was not there when this program was built".into());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}
