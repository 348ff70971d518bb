//! A connection: a handle for callers, and the one task that reads, writes and watches the clock.
//!
//! Callers append frames to the outbox and enter the pending table under one lock; the task does all I/O. It ends when the
//! peer closes, sends what is no frame, falls silent or stays idle, or when the client shuts down; every waiter gets the
//! same cause then. A peer that sends its clients away gets no more calls, and is left when those that wait have their answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::environment::ByteStream;
use crate::error::Delivery;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::{Command, Head, Serialization};
use crate::protocol::fields::FieldWriter;
use crate::protocol::request::Request;
use crate::transport::error::CallError;
use crate::transport::outbox::Outbox;
use crate::transport::pending::Pending;

mod task;

/// What bounds a connection.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The header serialisation of requests; answers go in the peer's.
    pub serialization: Serialization,
    /// A connection without traffic is closed after this.
    pub idle: Duration,
    /// How many bytes may wait to be written before callers have to wait.
    pub outbox: usize,
    /// The namespace that every request names.
    pub namespace: Option<Arc<str>>,
}

/// What happens with what a peer begins by itself. Called on the connection's task: it must not block.
pub(crate) trait Inbound: Send + Sync + 'static {
    /// A connection was made.
    fn connected(&self, connection: &Connection);

    /// The peer sent a request.
    fn request(&self, from: &Connection, command: Command);
}

/// A handle of one connection. All clones are equal.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    addr: Arc<str>,
    limits: Limits,
    state: Mutex<State>,
    /// The writer has something to take.
    filled: Notify,
    /// A call is due earlier than the watch expects.
    rearm: Notify,
    /// The outbox is no longer full, or the connection takes no more calls.
    room: Notify,
}

struct State {
    pending: Pending,
    outbox: Outbox,
    writer_waits: bool,
    /// When the watch looks next.
    armed: Option<Instant>,
    /// When bytes last went either way.
    active: Instant,
}

impl Connection {
    /// Starts the task of a connection over `stream`.
    pub(crate) fn spawn(
        stream: Box<dyn ByteStream>,
        addr: Arc<str>,
        limits: Limits,
        inbound: Arc<dyn Inbound>,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let shared = Arc::new(Shared {
            addr,
            state: Mutex::new(State {
                pending: Pending::default(),
                outbox: Outbox::new(limits.outbox),
                writer_waits: false,
                armed: None,
                active: now,
            }),
            limits,
            filled: Notify::new(),
            rearm: Notify::new(),
            room: Notify::new(),
        });
        let connection = Self { shared };
        inbound.connected(&connection);
        let alive = task::Alive(connection.clone());
        tasks.spawn(task::run(stream, alive, inbound, shutdown));
        connection
    }

    pub(crate) fn addr(&self) -> &Arc<str> {
        &self.shared.addr
    }

    /// Whether the connection takes no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state.lock().pending.refusal().is_some()
    }

    /// Sends a request. The call has an outcome no later than shortly after its deadline.
    pub(crate) fn call<'h, R: Request<'h>>(
        &self,
        header: &R,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Call, CallError> {
        let mut state = self.shared.state.lock();
        if state.outbox.is_full() && state.pending.refusal().is_none() {
            return Err(CallError::Full);
        }
        let position = state.outbox.position();
        let opaque = state
            .pending
            .enter(deadline, position)
            .map_err(|cause| CallError::Lost(cause, Delivery::No))?;
        let head = Head::request(R::CODE, opaque);
        if let Err(error) = state.append(self.serialization(), &head, None, body, |fields| {
            self.encode(header, fields);
        }) {
            state.pending.forget(opaque);
            return Err(error);
        }
        let rearm = state.arm(deadline);
        self.wake_writer(state);
        if rearm {
            self.shared.rearm.notify_one();
        }
        Ok(Call {
            connection: self.clone(),
            opaque,
        })
    }

    /// Sends a request that wants no answer. Returns when it is in the outbox.
    pub(crate) fn oneway<'h, R: Request<'h>>(
        &self,
        header: &R,
        remark: Option<&str>,
        body: &Bytes,
    ) -> Result<(), CallError> {
        let mut state = self.shared.state.lock();
        let opaque = state
            .pending
            .enter_oneway()
            .map_err(|cause| CallError::Lost(cause, Delivery::No))?;
        if state.outbox.is_full() {
            return Err(CallError::Full);
        }
        let head = Head::request(R::CODE, opaque).oneway();
        state.append(self.serialization(), &head, remark, body, |fields| {
            self.encode(header, fields);
        })?;
        self.wake_writer(state);
        Ok(())
    }

    /// Answers a request of the peer, in the serialisation that it was written in.
    ///
    /// A peer that asks much and reads nothing loses the answer, and finds the connection closed when it stays so.
    pub(crate) fn respond(
        &self,
        request: &Command,
        code: ResponseCode,
        remark: Option<&str>,
        body: &Bytes,
    ) -> Result<(), CallError> {
        if request.head.is_oneway() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        if let Some(cause) = state.pending.cause() {
            return Err(CallError::Lost(cause.clone(), Delivery::No));
        }
        if state.outbox.is_full() {
            return Err(CallError::Full);
        }
        let head = Head::response(code, request.head.opaque);
        state.append(request.serialization(), &head, remark, body, |_| {})?;
        self.wake_writer(state);
        Ok(())
    }

    /// Waits until the outbox takes frames again, or the connection takes no more calls.
    ///
    /// Cancel safe: nothing is held while it waits.
    pub(crate) async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            {
                let state = self.shared.state.lock();
                if !state.outbox.is_full() || state.pending.refusal().is_some() {
                    return;
                }
            }
            room.await;
        }
    }

    /// How many calls wait for an answer, or have one that nobody took.
    #[cfg(test)]
    pub(crate) fn pending_calls(&self) -> usize {
        self.shared.state.lock().pending.len()
    }

    /// The request's own fields, and those that every request has.
    fn encode<'h, R: Request<'h>>(&self, header: &R, fields: &mut FieldWriter<'_>) {
        header.encode(fields);
        if let Some(namespace) = &self.shared.limits.namespace {
            fields.put("nsd", "true");
            fields.put("ns", namespace);
        }
    }

    fn serialization(&self) -> Serialization {
        self.shared.limits.serialization
    }

    fn wake_writer(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.writer_waits);
        drop(state);
        if waits {
            self.shared.filled.notify_one();
        }
    }
}

impl State {
    /// Whether nothing is under way, neither from us nor from the peer.
    fn is_done(&self) -> bool {
        !self.pending.waits() && self.outbox.written() == self.outbox.position()
    }

    /// Notes that something is due at `at`; true when the watch has to be told.
    fn arm(&mut self, at: Instant) -> bool {
        let earlier = self.armed.is_none_or(|armed| at < armed);
        if earlier {
            self.armed = Some(at);
        }
        earlier
    }

    fn append(
        &mut self,
        serialization: Serialization,
        head: &Head,
        remark: Option<&str>,
        body: &Bytes,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), CallError> {
        Ok(self
            .outbox
            .append(serialization, head, remark, body, fields)?)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.shared.addr)
    }
}

/// A request that was sent: resolves to the answer. Dropping it forgets the request; an answer that comes later is counted
/// and dropped.
#[derive(Debug)]
#[must_use = "an answer that nobody waits for is dropped"]
pub(crate) struct Call {
    connection: Connection,
    opaque: i32,
}

impl Call {
    /// The address of the peer.
    pub(crate) fn addr(&self) -> &Arc<str> {
        self.connection.addr()
    }

    /// Has the task that waits for the answer woken at `at`, so that it can do something else meanwhile. The call goes on.
    pub(crate) fn wake_at(&self, at: Instant) {
        let shared = &self.connection.shared;
        let rearm = {
            let mut state = shared.state.lock();
            state.pending.wake_at(self.opaque, at);
            state.arm(at)
        };
        if rearm {
            shared.rearm.notify_one();
        }
    }
}

impl Future for Call {
    type Output = Result<Command, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.connection
            .shared
            .state
            .lock()
            .pending
            .poll(self.opaque, cx)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.connection
            .shared
            .state
            .lock()
            .pending
            .forget(self.opaque);
    }
}

#[cfg(test)]
mod tests;
