//! What sees the traffic of one node: writes it down, and asks the rules what is to happen to it.
//!
//! Knows: every request and answer at the moment at which it passes. Does not know: streams, or what a node does.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Head};

use crate::clock::Clock;
use crate::fault::frame::Fate;
use crate::fault::plan::{ActiveRule, FrameRule, Plan, Reaction, RequestFault};
use crate::journal::seen::Seen;
use crate::journal::{Entry, EntryKind, Journal, Origin};
use crate::net::Incoming;
use crate::net::deferred::Work;
use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;

/// A node's traffic.
#[derive(Debug)]
pub(crate) struct Tap {
    node: Arc<str>,
    clock: Clock,
    journal: Option<Journal>,
    plan: Arc<Plan>,
}

/// A request that was seen, for its answer.
#[derive(Debug)]
pub(crate) struct Trail {
    peer: Arc<Peer>,
    request: Arc<Seen>,
    /// What is to happen to the answer.
    rule: Option<FrameRule>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// It is served.
    Now(Incoming),
    /// It is not served, but answered with this code and remark.
    Refused(Incoming, ResponseCode, String),
    /// It is out of the connection's hands.
    Gone,
    /// The connection ends.
    Disconnect,
}

impl Tap {
    pub(crate) fn new(
        node: Arc<str>,
        clock: Clock,
        journal: Option<Journal>,
        plan: Arc<Plan>,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            clock,
            journal,
            plan,
        })
    }

    /// A new connection.
    pub(crate) fn connected(&self, connection: u64, peer: SocketAddr) -> Arc<Origin> {
        let origin = Arc::new(Origin {
            node: Arc::clone(&self.node),
            connection,
            peer,
            client: OnceLock::new(),
        });
        self.write(|| self.entry(EntryKind::Connected, &origin));
        origin
    }

    pub(crate) fn closed(&self, origin: &Arc<Origin>) {
        self.write(|| self.entry(EntryKind::Closed, origin));
    }

    /// A request that came in a frame of this size.
    pub(crate) fn admit(&self, peer: &Arc<Peer>, command: Command, size: usize) -> Admitted {
        if self.journal.is_none() && self.plan.is_empty() {
            return Admitted::Now(Incoming {
                command,
                trail: None,
            });
        }
        let request = Arc::new(Seen::received(&command, size, command.request_code()));
        let mut entry = self.entry(EntryKind::Request, &peer.origin);
        entry.request = Some(Arc::clone(&request));
        let rule = self.decide(|plan| plan.decide(&entry));
        entry.fault = rule.as_ref().map(|rule| rule.to_string().into());
        self.write(|| entry);
        let trail = Arc::new(Trail {
            peer: Arc::clone(peer),
            request,
            rule: rule.as_ref().and_then(FrameRule::of),
        });
        let incoming = Incoming {
            command,
            trail: Some(trail),
        };
        match rule {
            None => Admitted::Now(incoming),
            Some(rule) => react(&rule, peer, incoming),
        }
    }

    /// A request to the client, its frame up to the body, and the body. What is to go out at once is written to `out`.
    pub(crate) fn callback(
        &self,
        peer: &Arc<Peer>,
        head: Head,
        mut frame: BytesMut,
        body: &Bytes,
        out: &mut Outgoing,
    ) {
        if self.journal.is_none() && self.plan.is_empty() {
            frame.extend_from_slice(body);
            return out.put(&frame.freeze());
        }
        let about = RequestCode(head.code);
        let mut entry = self.entry(EntryKind::Callback, &peer.origin);
        entry.request = Some(Arc::new(Seen::sent(
            head,
            &frame,
            std::slice::from_ref(body),
            about,
        )));
        let rule = self.decide(|plan| plan.decide_callback(&entry));
        let size = frame.len() + body.len();
        entry.sent = rule.as_ref().is_none_or(|rule| rule.fault.delivers(size));
        entry.fault = rule.as_ref().map(|rule| rule.rule.to_string().into());
        self.write(|| entry);
        frame.extend_from_slice(body);
        match rule {
            None => out.put(&frame.freeze()),
            Some(rule) => rule.send(peer, frame, out),
        }
    }

    /// What a client answered to such a request.
    pub(crate) fn callback_answer(&self, origin: &Arc<Origin>, command: &Command, size: usize) {
        self.write(|| {
            let mut entry = self.entry(EntryKind::CallbackAnswer, origin);
            // Which code it is about is not known; none of these requests has messages for an answer.
            entry.answer = Some(Arc::new(Seen::received(command, size, RequestCode(-1))));
            entry
        });
    }

    fn decide<R>(&self, ask: impl FnOnce(&Plan) -> Option<R>) -> Option<R> {
        if self.plan.is_empty() {
            return None;
        }
        ask(&self.plan)
    }

    fn entry(&self, kind: EntryKind, origin: &Arc<Origin>) -> Entry {
        Entry {
            number: 0,
            elapsed: Duration::ZERO,
            time: self.clock.now(),
            origin: Arc::clone(origin),
            kind,
            request: None,
            answer: None,
            sent: false,
            fault: None,
        }
    }

    fn write(&self, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &self.journal {
            journal.write(entry());
        }
    }
}

/// Does to a request what a rule says.
fn react(rule: &Arc<ActiveRule>, peer: &Arc<Peer>, incoming: Incoming) -> Admitted {
    let Reaction::Request(fault) = &rule.reaction else {
        return Admitted::Now(incoming);
    };
    match fault {
        RequestFault::Pass => Admitted::Now(incoming),
        RequestFault::Reply(code, remark) => Admitted::Refused(incoming, *code, remark.clone()),
        RequestFault::Delay(by) => {
            peer.do_later(*by, Work::Serve(incoming));
            Admitted::Gone
        }
        RequestFault::Hold => {
            rule.hold(peer, Work::Serve(incoming));
            Admitted::Gone
        }
        RequestFault::Drop => Admitted::Gone,
        RequestFault::Disconnect => Admitted::Disconnect,
    }
}

impl Trail {
    /// Writes down the answer: its frame up to the body, and the body in parts.
    pub(crate) fn answered(&self, head: Head, frame: &[u8], body: &[Bytes]) {
        let oneway = self.request.head.is_oneway();
        let tap = &self.peer.tap;
        tap.write(|| {
            let mut entry = tap.entry(EntryKind::Answer, &self.peer.origin);
            entry.request = Some(Arc::clone(&self.request));
            let size = frame.len() + body.iter().map(Bytes::len).sum::<usize>();
            let delivers = |rule: &FrameRule| rule.fault.delivers(size);
            entry.answer = Some(Arc::new(Seen::sent(head, frame, body, self.about())));
            entry.sent = !oneway && self.rule.as_ref().is_none_or(delivers);
            entry.fault = self.rule.as_ref().map(|it| it.rule.to_string().into());
            entry
        });
    }

    /// The code of the request.
    pub(crate) fn about(&self) -> RequestCode {
        RequestCode(self.request.head.code)
    }

    /// By which id the client calls itself in the request.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.request.facts().client_id.as_deref()
    }

    /// What is to happen to the answer, if anything is.
    pub(crate) const fn rule(&self) -> Option<&FrameRule> {
        self.rule.as_ref()
    }

    pub(crate) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl FrameRule {
    /// Does to a frame what the rule says. What is to go out at once is written to `out`.
    pub(crate) fn send(&self, peer: &Arc<Peer>, frame: BytesMut, out: &mut Outgoing) {
        match self.fault.apply(frame) {
            Fate::Write(frame) => out.put(&frame),
            Fate::Later(by, frame) => peer.do_later(by, Work::Write(frame)),
            Fate::Hold(frame) => self.rule.hold(peer, Work::Write(frame)),
            Fate::Trickle(frame, rate) => {
                peer.do_later(Duration::ZERO, Work::Trickle(frame, rate));
            }
            Fate::Cut(bytes) => peer.do_later(Duration::ZERO, Work::Cut(bytes)),
            Fate::Nothing => {}
            Fate::Disconnect => peer.close(),
            Fate::HalfClose => peer.do_later(Duration::ZERO, Work::HalfClose),
        }
    }
}
