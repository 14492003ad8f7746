//! Features are additive: each combination builds, without a warning.

use anyhow::Result;

use crate::sh::{self, Outcome};
use crate::workspace::{Package, Workspace};

/// Not combined: `default` is a union of others, the engines do nothing without their cfg. `--all-features` has them.
const NOT_COMBINED: [&str; 3] = ["default", "loom", "shuttle"];
/// Up to so many features every subset is built, above only the smallest and the largest.
const FULL_POWERSET: usize = 6;

/// Checks every combination.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    // Every crate that has any.
    let packages: Vec<_> = workspace.packages().filter(|package| package.features().next().is_some()).collect();
    let target = workspace.target.join("features");
    let plan: Vec<(Package<'_>, Vec<String>)> = packages.iter().flat_map(|&package| arguments(package)).collect();
    for (at, (package, arguments)) in plan.iter().enumerate() {
        println!("[{}/{}] {} {}", at + 1, plan.len(), package.name(), arguments.join(" "));
        let mut command = sh::cargo();
        sh::rustflags(&mut command, "-D warnings");
        command.args(["check", "--quiet", "-p", package.name(), "--target-dir"]).arg(&target).args(arguments);
        sh::run_unshown(&mut command)?;
    }
    println!("{} combinations build without a warning", plan.len());
    Ok(Outcome::Done)
}

/// The feature arguments of one crate, one list a build.
fn arguments(package: Package<'_>) -> Vec<(Package<'_>, Vec<String>)> {
    let names: Vec<_> = package.features().filter(|name| !NOT_COMBINED.contains(name)).collect();
    let plain = subsets(&names).into_iter().map(|subset| {
        if subset.is_empty() {
            vec!["--no-default-features".into()]
        } else {
            vec!["--no-default-features".into(), "--features".into(), subset.join(",")]
        }
    });
    plain.chain([vec!["--all-features".into()]]).map(|arguments| (package, arguments)).collect()
}

fn subsets<'a>(names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let of_mask = |mask: u32| -> Vec<&'a str> {
        names.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect()
    };
    let wanted =
        |subset: &Vec<&str>| names.len() <= FULL_POWERSET || subset.len() <= 2 || subset.len() + 1 >= names.len();
    (0..1 << names.len()).map(of_mask).filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::subsets;

    #[test]
    fn few_features_have_their_powerset() {
        assert_eq!(subsets(&["a", "b"]), [vec![], vec!["a"], vec!["b"], vec!["a", "b"]]);
        assert_eq!(subsets(&[]), [Vec::<&str>::new()]);
    }

    #[test]
    fn many_features_have_their_smallest_and_largest_subsets() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        assert_eq!(subsets(&names).len(), 1 + 8 + 28 + 8 + 1);
    }
}
