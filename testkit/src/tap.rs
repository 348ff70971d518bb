//! What sees the traffic of one node, and writes it down.
//!
//! Knows: every request and answer at the moment at which it passes. Does not know: streams, or what a node does.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::{Command, Head};

use crate::clock::Clock;
use crate::journal::seen::Seen;
use crate::journal::{EntryKind, Journal, Note, Origin};

/// A node's traffic.
#[derive(Debug)]
pub(crate) struct Tap {
    node: Arc<str>,
    clock: Clock,
    journal: Option<Journal>,
}

/// A request that was seen, for its answer.
#[derive(Debug)]
pub(crate) struct Trail {
    tap: Arc<Tap>,
    origin: Arc<Origin>,
    request: Arc<Seen>,
}

impl Tap {
    pub(crate) fn new(node: &str, clock: Clock, journal: Option<Journal>) -> Arc<Self> {
        Arc::new(Self {
            node: node.into(),
            clock,
            journal,
        })
    }

    /// Whether nobody wants to know.
    pub(crate) const fn is_idle(&self) -> bool {
        self.journal.is_none()
    }

    /// A new connection.
    pub(crate) fn connected(&self, connection: u64, peer: SocketAddr) -> Arc<Origin> {
        let origin = Arc::new(Origin {
            node: Arc::clone(&self.node),
            connection,
            peer,
            client: OnceLock::new(),
        });
        self.note(EntryKind::Connected, &origin, None, None, false);
        origin
    }

    pub(crate) fn closed(&self, origin: &Arc<Origin>) {
        self.note(EntryKind::Closed, origin, None, None, false);
    }

    /// A request that came in a frame of this size.
    pub(crate) fn request(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        command: &Command,
        size: usize,
    ) -> Arc<Trail> {
        let request = Arc::new(Seen::received(command, size, command.request_code()));
        self.note(EntryKind::Request, origin, Some(&request), None, false);
        Arc::new(Trail {
            tap: Arc::clone(self),
            origin: Arc::clone(origin),
            request,
        })
    }

    /// A request to the client, as a frame without a body.
    pub(crate) fn callback(&self, origin: &Arc<Origin>, head: Head, frame: &[u8]) {
        if self.is_idle() {
            return;
        }
        let request = Arc::new(Seen::sent(head, frame, &[], RequestCode(head.code)));
        self.note(EntryKind::Callback, origin, Some(&request), None, true);
    }

    /// What a client answered to such a request.
    pub(crate) fn callback_answer(&self, origin: &Arc<Origin>, command: &Command, size: usize) {
        if self.is_idle() {
            return;
        }
        // Which code it is about is not known; none of these requests has messages for an answer.
        let answer = Arc::new(Seen::received(command, size, RequestCode(-1)));
        self.note(EntryKind::CallbackAnswer, origin, None, Some(answer), false);
    }

    fn note(
        &self,
        kind: EntryKind,
        origin: &Arc<Origin>,
        request: Option<&Arc<Seen>>,
        answer: Option<Arc<Seen>>,
        sent: bool,
    ) {
        if let Some(journal) = &self.journal {
            journal.write(Note {
                time: self.clock.now(),
                origin: Arc::clone(origin),
                kind,
                request: request.map(Arc::clone),
                answer,
                sent,
            });
        }
    }
}

impl Trail {
    /// The answer: its frame up to the body, the body in parts, and whether the client gets it.
    pub(crate) fn answered(&self, head: Head, frame: &[u8], body: &[Bytes], sent: bool) {
        let about = RequestCode(self.request.head.code);
        let answer = Arc::new(Seen::sent(head, frame, body, about));
        let request = Some(&self.request);
        self.tap
            .note(EntryKind::Answer, &self.origin, request, Some(answer), sent);
    }
}
