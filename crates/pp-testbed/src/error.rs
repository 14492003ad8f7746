//! What can go wrong while a network is made or used.

use std::io;
use std::process::ExitStatus;

use std::time::Duration;

use serde_json::Value;

/// A network could not be made, or a program in it did not do its part. See [`Namespace`](crate::Namespace).
///
/// A sentence has the end of what a program said, the fields all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not there, or may not be run.
    #[error("`{line}` could not be started: {source}")]
    NotStarted {
        /// The command line.
        line: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended without success.
    #[error("`{line}` failed ({status}): {}", gist(.said))]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// Its standard error, or its standard output if that was empty.
        said: String,
    },
    /// The program took longer than it was given, and was not waited for any more.
    #[error("`{line}` did not {what} within {limit:?}; so far it said: {}", gist(.said))]
    Late {
        /// The command line.
        line: String,
        /// What was waited for, an infinitive.
        what: &'static str,
        /// How long.
        limit: Duration,
        /// All its output.
        said: String,
    },
    /// The program answered something else than it was asked.
    #[error("the answer of `{line}` has no {what}: {}", gist(.answer))]
    Answer {
        /// The command line.
        line: String,
        /// What was looked for.
        what: &'static str,
        /// All of the answer.
        answer: String,
    },
    /// The kernel refused.
    #[error("{what} was refused: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` on what the system said to `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
        let what = what.into();
        |source| Error::System { what, source: source.into() }
    }
}

/// Bytes of a program's output that a sentence has at most.
const GIST_BYTES: usize = 200;

/// What a program that failed said last, short enough for a sentence; of iperf3's object the reason.
fn gist(said: &str) -> String {
    let reason = serde_json::from_str::<Value>(said).ok().and_then(|object| Some(object["error"].as_str()?.to_owned()));
    let said = reason.as_deref().unwrap_or(said);
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing");
    match line.len().checked_sub(GIST_BYTES) {
        None | Some(0) => line.to_owned(),
        Some(over) => format!("...{}", &line[line.ceil_char_boundary(over)..]),
    }
}

#[cfg(test)]
mod tests {
    use super::gist;

    #[test]
    fn a_sentence_has_the_end_of_what_was_said() {
        assert_eq!(gist("first\n last \n\n"), "last");
        assert_eq!(gist(""), "nothing");
        assert_eq!(gist("{\n\"start\": {},\n\"error\": \"interrupted\"\n}"), "interrupted");
        assert_eq!(gist("{\n\"start\": {}\n}"), "}");
        for letter in ["x", "\u{e4}"] {
            let long = gist(&letter.repeat(30_000));
            assert!(long.starts_with("...") && long.ends_with(letter) && long.len() <= 203, "{long}");
        }
    }
}
