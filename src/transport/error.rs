//! How a call can fail below the meaning of requests.

use std::io;
use std::sync::Arc;

use crate::error::{Delivery, Error, ErrorKind};
use crate::protocol::DecodeError;
use crate::protocol::frame::FrameTooLarge;

/// Why a connection ended, or was never made. Cheap to clone: every waiter gets one.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Cause {
    #[error("cannot connect: {0}")]
    Connect(Arc<io::Error>),
    #[error("the peer closed the connection")]
    ClosedByPeer,
    #[error("{0}")]
    Io(Arc<io::Error>),
    #[error("{0}")]
    Malformed(DecodeError),
    #[error("the peer answers nothing")]
    Silent,
    #[error("it was idle")]
    Idle,
    #[error("the peer sends its clients away")]
    SentAway,
    #[error("the client has been shut down")]
    Shutdown,
    #[error("its task ended with its runtime, or by a panic")]
    Abandoned,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection ended. `Delivery::No` when not a byte of the request was written.
    #[error("{0}")]
    Lost(Cause, Delivery),
    #[error("no answer in time")]
    TimedOut(Delivery),
    #[error(transparent)]
    TooLarge(#[from] FrameTooLarge),
    /// The peer does not read what is written to it.
    #[error("the connection's send buffer is full")]
    Full,
}

impl CallError {
    /// The public error of `operation` on the peer at `addr`.
    pub(crate) fn into_error(self, operation: &'static str, addr: &Arc<str>) -> Error {
        let kind = match &self {
            Self::Lost(Cause::Connect(_), _) => ErrorKind::Connect,
            Self::Lost(Cause::Malformed(_), _) => ErrorKind::Protocol,
            Self::Lost(Cause::Shutdown, _) => ErrorKind::Closed,
            Self::Lost(..) => ErrorKind::ConnectionLost,
            Self::TimedOut(_) => ErrorKind::Timeout,
            Self::TooLarge(_) => ErrorKind::InvalidInput,
            Self::Full => ErrorKind::Overloaded,
        };
        let error = Error::new(kind, operation).at(addr);
        match self {
            Self::Lost(Cause::Connect(source) | Cause::Io(source), delivery) => {
                error.maybe_delivered(delivery).caused_by(source)
            }
            Self::Lost(Cause::Malformed(source), delivery) => {
                error.maybe_delivered(delivery).caused_by(source)
            }
            Self::Lost(cause, delivery) => {
                error.maybe_delivered(delivery).detail(cause.to_string())
            }
            Self::TimedOut(delivery) => error.maybe_delivered(delivery),
            Self::TooLarge(source) => error.caused_by(source),
            Self::Full => error,
        }
    }
}
