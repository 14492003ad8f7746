//! Why a run failed.

use std::any::Any;
use std::io;

use thiserror::Error;

use crate::napi::NapiError;
use crate::nic::QueuesError;

/// Why a run did not go to its end. Every thread has ended and every page is home when it is returned.
/// See [`Forwarder`](super::Forwarder).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The port that frames come in from failed.
    #[error("receiving failed after {frames} frames: {error}; the output was left unfinished")]
    Source {
        /// Frames that came in before.
        frames: u64,
        /// What the port said.
        error: io::Error,
    },
    /// The port that frames go out to failed.
    #[error("sending failed after {frames} frames: {error}; the output is incomplete")]
    Sink {
        /// Frames that went out before.
        frames: u64,
        /// What the port said.
        error: io::Error,
    },
    /// The driver could not go on.
    #[error(transparent)]
    Driver(#[from] NapiError),
    /// The queues do not fit the device.
    #[error(transparent)]
    Queues(#[from] QueuesError),
    /// The operating system gave no thread.
    #[error("the {thread} thread could not be started: {error}; raise the limit of threads or end others")]
    Spawn {
        /// Which one.
        thread: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// A thread panicked: a bug, in a port, a program or here.
    #[error("the {thread} thread panicked: {message}; the run was ended, please report it")]
    Panicked {
        /// Which one.
        thread: String,
        /// What it said.
        message: String,
    },
}

impl ForwardError {
    pub(crate) fn panicked(thread: String, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        ForwardError::Panicked { thread, message: message.unwrap_or("no message").to_owned() }
    }
}
