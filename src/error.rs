//! The one public error: what failed, where, how often it was tried, and what that says of the outcome.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::code::ResponseCode;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a client operation. Cheap to clone.
///
/// Its text names the operation, the topic or queue, the broker's address, the attempt, the time spent and the cause. Programs ask
/// [`kind`](Self::kind), [`is_retryable`](Self::is_retryable), [`response_code`](Self::response_code) and
/// [`delivery`](Self::delivery) instead of reading it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A message, name or setting breaks a rule. Nothing was sent.
    InvalidInput,
    /// No name server is configured, or none of them answers.
    NameServer,
    /// The name servers know no broker for the topic.
    NoRoute,
    /// A broker cannot be connected to.
    Connect,
    /// The connection ended before the answer came.
    ConnectionLost,
    /// The answer did not come in time.
    Timeout,
    /// The broker answered with an error; see [`Error::response_code`].
    Broker,
    /// The peer sent bytes that are not the protocol.
    Protocol,
    /// The client holds as much as it may; nothing was sent.
    Overloaded,
    /// The handle has been shut down.
    Closed,
    /// The broker or this build does not do what was asked.
    Unsupported,
    /// A closure of the application failed or panicked.
    Application,
    /// The place where a consumer's offsets are kept failed, or somebody else has it.
    OffsetStore,
}

impl ErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid input",
            Self::NameServer => "no name server answers",
            Self::NoRoute => "no route",
            Self::Connect => "cannot connect",
            Self::ConnectionLost => "connection lost",
            Self::Timeout => "timed out",
            Self::Broker => "refused by the broker",
            Self::Protocol => "the peer broke the protocol",
            Self::Overloaded => "too much is in flight",
            Self::Closed => "shut down",
            Self::Unsupported => "not supported",
            Self::Application => "the application's code failed",
            Self::OffsetStore => "the offset store failed",
        }
    }
}

/// Whether a request that failed may have been carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// It was not: it never left this process, or the broker said so.
    No,
    /// It may have been: it was written, and no answer came.
    Unknown,
}

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    topic: Option<Arc<str>>,
    target: Option<String>,
    addr: Option<Arc<str>>,
    attempt: Option<(u32, u32)>,
    /// Why fewer attempts were made than there may be.
    last_because: Option<&'static str>,
    elapsed: Option<Duration>,
    code: Option<ResponseCode>,
    detail: Option<String>,
    delivery: Delivery,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without a change: the peer or the network was the reason.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::NameServer
            | ErrorKind::NoRoute
            | ErrorKind::Connect
            | ErrorKind::ConnectionLost
            | ErrorKind::Timeout
            | ErrorKind::Overloaded
            | ErrorKind::OffsetStore => true,
            ErrorKind::Broker => matches!(
                self.0.code,
                Some(
                    ResponseCode::SYSTEM_ERROR
                        | ResponseCode::SYSTEM_BUSY
                        | ResponseCode::SERVICE_NOT_AVAILABLE
                        | ResponseCode::TOPIC_NOT_EXIST
                        | ResponseCode::FLOW_CONTROL
                        | ResponseCode::POLLING_FULL
                        | ResponseCode::POLLING_TIMEOUT
                        | ResponseCode::BROKER_NOT_EXIST
                        | ResponseCode::BROKER_DISPATCH_NOT_COMPLETE
                        | ResponseCode::NOT_LEADER_FOR_QUEUE
                        | ResponseCode::GO_AWAY
                )
            ),
            _ => false,
        }
    }

    /// The code that the broker or name server answered, if it answered.
    pub fn response_code(&self) -> Option<ResponseCode> {
        self.0.code
    }

    /// Whether the request may have been carried out all the same.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The topic that the operation was about.
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The address of the peer that failed or answered.
    pub fn addr(&self) -> Option<&str> {
        self.0.addr.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            topic: None,
            target: None,
            addr: None,
            attempt: None,
            last_because: None,
            elapsed: None,
            code: None,
            detail: None,
            delivery: Delivery::No,
            source: None,
        }))
    }

    /// An input that breaks a rule; `detail` names it, its value and the limit.
    pub(crate) fn invalid(operation: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, operation).detail(detail)
    }

    /// An answer with an error code.
    pub(crate) fn response(
        operation: &'static str,
        code: ResponseCode,
        remark: Option<&str>,
    ) -> Self {
        Self::new(ErrorKind::Broker, operation).with(|inner| {
            inner.code = Some(code);
            inner.detail = remark.map(str::to_owned);
        })
    }

    #[must_use]
    pub(crate) fn topic_of(self, topic: &str) -> Self {
        self.with(|inner| inner.topic = Some(topic.into()))
    }

    /// Names the operation that this one was a part of.
    #[must_use]
    pub(crate) fn during(self, operation: &'static str) -> Self {
        self.with(|inner| inner.operation = operation)
    }

    /// What within the topic, or which group, the operation was about.
    #[must_use]
    pub(crate) fn target(self, target: impl Into<String>) -> Self {
        self.with(|inner| inner.target = Some(target.into()))
    }

    #[must_use]
    pub(crate) fn at(self, addr: &Arc<str>) -> Self {
        self.with(|inner| inner.addr = Some(Arc::clone(addr)))
    }

    #[must_use]
    pub(crate) fn attempt(self, number: u32, of: u32) -> Self {
        self.with(|inner| inner.attempt = Some((number, of)))
    }

    /// Why it was not tried again, though it might have been.
    #[must_use]
    pub(crate) fn last_because(self, reason: &'static str) -> Self {
        self.with(|inner| inner.last_because = Some(reason))
    }

    #[must_use]
    pub(crate) fn after(self, elapsed: Duration) -> Self {
        self.with(|inner| inner.elapsed = Some(elapsed))
    }

    #[must_use]
    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        self.with(|inner| inner.detail = Some(detail.into()))
    }

    #[must_use]
    pub(crate) fn maybe_delivered(self, delivery: Delivery) -> Self {
        self.with(|inner| inner.delivery = delivery)
    }

    #[must_use]
    pub(crate) fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    #[must_use]
    pub(crate) fn caused_by_any(self, source: Box<dyn StdError + Send + Sync>) -> Self {
        self.with(|inner| inner.source = Some(source.into()))
    }

    /// Changes an error that is being made; one that is shared already is copied first.
    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
            return self;
        }
        let mut inner = self.0.copy();
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

/// Drops a value of the application's, which may panic in that.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

/// What a panic of the application's said; its value is dropped quietly. Not for the fields of a log line: they may not be evaluated.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no text").to_owned();
    drop_quietly(panic);
    text
}

impl Inner {
    fn copy(&self) -> Self {
        Self {
            kind: self.kind,
            operation: self.operation,
            topic: self.topic.clone(),
            target: self.target.clone(),
            addr: self.addr.clone(),
            attempt: self.attempt,
            last_because: self.last_because,
            elapsed: self.elapsed,
            code: self.code,
            detail: self.detail.clone(),
            delivery: self.delivery,
            source: self.source.clone(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(inner.operation)?;
        if let Some(topic) = &inner.topic {
            write!(f, " (topic {topic}")?;
            if let Some(target) = &inner.target {
                write!(f, ", {target}")?;
            }
            f.write_str(")")?;
        } else if let Some(target) = &inner.target {
            write!(f, " ({target})")?;
        }
        write!(f, ": {}", inner.kind.text())?;
        if let Some(addr) = &inner.addr {
            write!(f, ", peer {addr}")?;
        }
        if let Some(code) = inner.code {
            write!(f, ", {code}")?;
        }
        if let Some(detail) = &inner.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        if let Some((number, of)) = inner.attempt {
            write!(f, "; attempt {number} of {of}")?;
            if let Some(reason) = inner.last_because.filter(|_| number < of) {
                write!(f, ", not tried again: {reason}")?;
            }
        }
        if let Some(elapsed) = inner.elapsed {
            write!(f, "; after {} ms", elapsed.as_millis())?;
        }
        if inner.delivery == Delivery::Unknown {
            f.write_str("; it may have been carried out")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_everything() {
        let error = Error::new(ErrorKind::Connect, "send")
            .topic_of("orders")
            .target("queue 3 of broker-a")
            .at(&"127.0.0.1:10911".into())
            .attempt(2, 3)
            .last_because("no time is left")
            .after(Duration::from_millis(120))
            .caused_by(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(
            error.to_string(),
            "send (topic orders, queue 3 of broker-a): cannot connect, peer 127.0.0.1:10911: connection refused; \
             attempt 2 of 3, not tried again: no time is left; after 120 ms"
        );
        assert!(error.is_retryable() && error.source().is_some());
    }

    #[test]
    fn a_response_keeps_its_code_and_remark() {
        let error = Error::response("pull", ResponseCode::NO_PERMISSION, Some("no way"));
        assert_eq!(
            error.to_string(),
            "pull: refused by the broker, NO_PERMISSION (16): no way"
        );
        assert_eq!(error.response_code(), Some(ResponseCode::NO_PERMISSION));
        assert!(!error.is_retryable());
    }

    #[test]
    fn adding_to_a_clone_leaves_the_original() {
        let error = Error::new(ErrorKind::Timeout, "send");
        let more = error.clone().maybe_delivered(Delivery::Unknown);
        assert_eq!(
            (error.delivery(), more.delivery()),
            (Delivery::No, Delivery::Unknown)
        );
        assert_eq!(
            more.to_string(),
            "send: timed out; it may have been carried out"
        );
    }
}
