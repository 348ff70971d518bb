//! The other end of a connection, as handlers see it.
//!
//! Knows: how to write to it from any task, within bounds. Does not know: the stream; the connection's task does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::{Head, Language, Serialization};
use rocketmq_sdk::protocol::fields::Header;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::request::Request;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::journal::Origin;
use crate::net::deferred::{Deferred, Work};
use crate::net::outgoing::Outgoing;
use crate::tap::Tap;

/// The most bytes that may wait for a peer that does not read; with more its connection is closed. As much as a store keeps, unless
/// told otherwise: held pulls of all queues may be answered at once.
pub(crate) const MAX_WAITING: usize = 256 * 1024 * 1024;

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Tells connections of one node apart; never used twice.
    pub(crate) id: u64,
    /// Where the peer is.
    pub(crate) addr: SocketAddr,
    pub(crate) tap: Arc<Tap>,
    /// The connection, as others refer to it.
    pub(crate) origin: Arc<Origin>,
    /// What other tasks wrote to the peer and its own task has not yet taken.
    pushed: Mutex<Outgoing>,
    /// What it does out of turn.
    pub(crate) deferred: Deferred,
    wake: Notify,
    closed: CancellationToken,
    next_opaque: AtomicI32,
}

impl Peer {
    pub(crate) fn new(id: u64, addr: SocketAddr, tap: Arc<Tap>) -> Self {
        Self {
            id,
            addr,
            origin: tap.connected(id, addr),
            tap,
            pushed: Mutex::default(),
            deferred: Deferred::default(),
            wake: Notify::new(),
            closed: CancellationToken::new(),
            next_opaque: AtomicI32::new(0),
        }
    }

    /// Writes to the peer, from whatever task.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Outgoing)) {
        let waiting = {
            let mut pushed = self.pushed.lock();
            write(&mut pushed);
            pushed.len()
        };
        if waiting > MAX_WAITING {
            tracing::warn!(peer = %self.addr, waiting, "closing a connection whose peer does not read");
            self.close();
        }
        self.wake.notify_one();
    }

    /// Sends a request that wants no answer.
    pub(crate) fn send_oneway<'a, R: Request<'a>>(self: &Arc<Self>, header: &R, body: &Bytes) {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        self.send(Head::request(R::CODE, opaque).oneway(), header, body);
    }

    /// Sends a request that wants an answer; its opaque.
    pub(crate) fn send_request<'a, R: Request<'a>>(
        self: &Arc<Self>,
        header: &R,
        body: &Bytes,
    ) -> i32 {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        self.send(Head::request(R::CODE, opaque), header, body);
        opaque
    }

    fn send<'a>(self: &Arc<Self>, head: Head, header: &impl Header<'a>, body: &Bytes) {
        let head = as_java(head);
        let mut frame = BytesMut::new();
        let size = body.len();
        let encoded =
            frame::encode_head(&mut frame, Serialization::Json, &head, None, header, size);
        match encoded {
            Ok(()) => self.push(|out| self.tap.callback(self, head, frame, body, out)),
            Err(error) => {
                tracing::error!(code = %RequestCode(head.code), %error, "a request to a client was not sent");
            }
        }
    }

    /// Has the connection do something after some time.
    pub(crate) fn do_later(&self, after: Duration, work: Work) {
        self.deferred.add(Instant::now() + after, work);
        self.wake.notify_one();
    }

    /// Notes by which id the client calls itself.
    pub(crate) fn calls_itself(&self, client_id: &str) {
        self.origin.client.get_or_init(|| client_id.into());
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Waits until the connection is to end.
    pub(crate) async fn closing(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until there is something to take.
    pub(crate) async fn pushed(&self) {
        self.wake.notified().await;
    }

    /// Moves what other tasks wrote behind `out`.
    pub(crate) fn take_pushed(&self, out: &mut Outgoing) {
        let mut pushed = self.pushed.lock();
        if !pushed.is_empty() {
            out.append(&mut pushed);
        }
    }
}

/// Says that it comes from Java, as everything from Apache's brokers does: clients exist that know few other languages.
pub(crate) const fn as_java(mut head: Head) -> Head {
    head.language = Language::JAVA;
    head
}
