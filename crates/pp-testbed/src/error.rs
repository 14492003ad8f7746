//! What can go wrong while a network is made or used.

use std::io;
use std::process::ExitStatus;

use std::time::Duration;

/// A network could not be made, or a program in it did not do its part. See [`Namespace`](crate::Namespace).
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
    #[error("`{line}` failed ({status}): {said}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// Its standard error, or its standard output if that was empty.
        said: String,
    },
    /// The program took longer than it was given, and was not waited for any more.
    #[error("`{line}` did not {what} within {limit:?}; so far it said: {said}")]
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
    #[error("the answer of `{line}` has no {what}: {answer}")]
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
