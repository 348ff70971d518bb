//! The making of a rule: its conditions, and its last word.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};

use crate::fault::condition::{Condition, Frequency};
use crate::fault::frame::FrameFault;
use crate::fault::plan::{Plan, Reaction, RequestFault};
use crate::fault::rule::{Holding, Rule};
use crate::journal::Entry;

/// A rule on requests, in the making: see [`Faults`](crate::Faults).
#[derive(Clone)]
#[must_use = "a rule is in force when it says what happens"]
pub struct OnRequest {
    plan: Arc<Plan>,
    condition: Condition,
    frequency: Frequency,
}

/// A rule on frames on their way to a client, in the making: on answers ([`OnRequest::answer`]), or on requests that a node sends
/// ([`Faults::on_callback`](crate::Faults::on_callback)).
#[derive(Clone)]
#[must_use = "a rule is in force when it says what happens"]
pub struct OnFrame {
    on: OnRequest,
    reaction: fn(FrameFault) -> Reaction,
}

/// The conditions, which both kinds have.
macro_rules! conditions {
    ($self:ident => $on:expr) => {
        /// Or on those with this code.
        pub fn or(mut $self, code: RequestCode) -> Self {
            // Without codes it is about all of them already.
            if let Some(codes) = &mut $on.condition.codes {
                codes.push(code);
            }
            $self
        }

        /// Only for this topic. For a message that is sent back it is the one from which it came.
        pub fn topic(mut $self, topic: impl Into<String>) -> Self {
            $on.condition.topic = Some(topic.into());
            $self
        }

        /// Only for the queue with this id.
        pub fn queue(mut $self, queue_id: i32) -> Self {
            $on.condition.queue_id = Some(queue_id);
            $self
        }

        /// Only for this consumer or producer group.
        pub fn group(mut $self, group: impl Into<String>) -> Self {
            $on.condition.group = Some(group.into());
            $self
        }

        /// Only for the client with this id: what [`Entry::client_id`] says by then. Brokers know it from a connection's first
        /// heartbeat on.
        pub fn client(mut $self, client_id: impl Into<String>) -> Self {
            $on.condition.client = Some(client_id.into());
            $self
        }

        /// Only on this connection: see [`Entry::connection`].
        pub fn connection(mut $self, connection: u64) -> Self {
            $on.condition.connection = Some(connection);
            $self
        }

        /// Only where a closure says so. It gets the request as the journal will; the entry has no number yet. The node waits for
        /// the closure, which must not call the node or turn its clock.
        pub fn when(
            mut $self,
            condition: impl Fn(&Entry) -> bool + Send + Sync + 'static,
        ) -> Self {
            $on.condition.when = Some(Arc::new(condition));
            $self
        }

        /// Spares the first so many of them.
        pub fn skip(mut $self, count: u64) -> Self {
            $on.frequency.skip = count;
            $self
        }

        /// Only the first so many of them that would be hit.
        pub fn times(mut $self, count: u64) -> Self {
            $on.frequency.times = Some(count);
            $self
        }

        /// Only the `nth` of them, counted from 1: the same as `skip(nth - 1).times(1)`.
        ///
        /// # Panics
        /// It is 0.
        pub fn nth(self, nth: u64) -> Self {
            assert!(nth > 0, "requests are counted from 1, so there is no 0th");
            self.skip(nth - 1).times(1)
        }

        /// Only every `nth` of them: `every(3)` hits the third, the sixth, and so on.
        ///
        /// # Panics
        /// It is 0.
        pub fn every(mut $self, nth: u64) -> Self {
            assert!(nth > 0, "every 0th request is none");
            $on.frequency.every = nth;
            $self
        }

        /// Each of them with this probability, by the cluster's [seed](crate::ClusterBuilder::seed).
        ///
        /// # Panics
        /// It is not from 0 to 1.
        pub fn probability(mut $self, probability: f64) -> Self {
            assert!(
                (0.0..=1.0).contains(&probability),
                "a probability is from 0 to 1, not {probability}"
            );
            $on.frequency.probability = Some(probability);
            $self
        }
    };
}

impl OnRequest {
    pub(crate) fn new(
        plan: Arc<Plan>,
        node: Option<Arc<str>>,
        codes: Option<Vec<RequestCode>>,
    ) -> Self {
        Self {
            plan,
            condition: Condition {
                node,
                codes,
                ..Condition::default()
            },
            frequency: Frequency::default(),
        }
    }

    conditions!(self => self);

    /// The rule is about their answers: they are served, and what then happens is done to the answer. Requests that want no
    /// answer are not counted.
    pub const fn answer(self) -> OnFrame {
        OnFrame {
            on: self,
            reaction: Reaction::Answer,
        }
    }

    /// The request is not served, and answered with this code and remark; an empty remark is none.
    pub fn reply(self, code: ResponseCode, remark: impl Into<String>) -> Rule {
        self.then(RequestFault::Reply(code, remark.into()))
    }

    /// The request is served so much later. Others overtake it.
    pub fn delay(self, by: Duration) -> Rule {
        self.then(RequestFault::Delay(by))
    }

    /// The request waits until it is let go; then it is served.
    pub fn hold(self) -> Holding {
        Holding::new(self.then(RequestFault::Hold))
    }

    /// The request is not served and not answered.
    pub fn drop(self) -> Rule {
        self.then(RequestFault::Drop)
    }

    /// The connection ends at once, and the request is not served.
    pub fn disconnect(self) -> Rule {
        self.then(RequestFault::Disconnect)
    }

    /// Nothing happens, but the rule counts; and later rules do not see the request.
    pub fn pass(self) -> Rule {
        self.then(RequestFault::Pass)
    }

    fn then(self, fault: RequestFault) -> Rule {
        self.install(Reaction::Request(fault))
    }

    fn install(self, reaction: Reaction) -> Rule {
        let active = self.plan.add(self.condition, self.frequency, reaction);
        Rule::new(self.plan, active)
    }
}

impl OnFrame {
    pub(crate) const fn on_callback(on: OnRequest) -> Self {
        Self {
            on,
            reaction: Reaction::Callback,
        }
    }

    conditions!(self => self.on);

    /// It goes out so much later. Others overtake it.
    pub fn delay(self, by: Duration) -> Rule {
        self.then(FrameFault::Delay(by))
    }

    /// It waits until it is let go.
    pub fn hold(self) -> Holding {
        Holding::new(self.then(FrameFault::Hold))
    }

    /// It does not go out.
    pub fn drop(self) -> Rule {
        self.then(FrameFault::Drop)
    }

    /// The connection ends at once instead: after the request was served, and a message stored.
    pub fn disconnect(self) -> Rule {
        self.then(FrameFault::Disconnect)
    }

    /// Nothing more goes out on the connection from here on, its end included; what the peer still says is read and not served.
    pub fn half_close(self) -> Rule {
        self.then(FrameFault::HalfClose)
    }

    /// The connection ends after so many bytes of it. Answers that are ready together with it still go out before.
    pub fn cut(self, after: usize) -> Rule {
        self.then(FrameFault::Cut(after))
    }

    /// It goes out twice.
    pub fn duplicate(self) -> Rule {
        self.then(FrameFault::Duplicate)
    }

    /// These bytes of its frame are inverted: 0 to 4 is the length, 4 the serialisation, 5 to 8 the header's length.
    pub fn corrupt(self, bytes: Range<usize>) -> Rule {
        self.then(FrameFault::Corrupt(bytes))
    }

    /// Its frame gets so many bytes long, by zeros behind the body. Peers take up to 16 MiB.
    pub fn oversize(self, bytes: usize) -> Rule {
        self.then(FrameFault::Oversize(bytes))
    }

    /// It goes out with an opaque that nobody waits for: all of its bits inverted.
    pub fn wrong_opaque(self) -> Rule {
        self.then(FrameFault::WrongOpaque)
    }

    /// It goes out at so many bytes a second. Until it has, the connection does nothing else.
    ///
    /// # Panics
    /// It is 0.
    pub fn trickle(self, bytes_per_second: u32) -> Rule {
        assert!(bytes_per_second > 0, "at 0 bytes a second nothing moves");
        self.then(FrameFault::Trickle(bytes_per_second))
    }

    /// A field of its header is set, by its name on the wire.
    pub fn set_field(self, name: impl Into<String>, value: impl Into<String>) -> Rule {
        self.then(FrameFault::Field {
            name: name.into(),
            value: value.into(),
        })
    }

    /// A closure changes its body. The node waits for the closure, which must not call the node or turn its clock.
    pub fn edit_body(self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Rule {
        self.then(FrameFault::Body(Arc::new(edit)))
    }

    /// A closure changes the bytes of its frame, length word included, or puts others in their place. They go out as they are.
    pub fn edit_frame(self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Rule {
        self.then(FrameFault::Frame(Arc::new(edit)))
    }

    /// Nothing happens, but the rule counts; and later rules do not see it.
    pub fn pass(self) -> Rule {
        self.then(FrameFault::Pass)
    }

    fn then(self, fault: FrameFault) -> Rule {
        let reaction = (self.reaction)(fault);
        self.on.install(reaction)
    }
}

impl fmt::Debug for OnRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} {:?}", self.condition, self.frequency)
    }
}

impl fmt::Debug for OnFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reaction = match (self.reaction)(FrameFault::Pass) {
            Reaction::Callback(_) => "callback",
            _ => "answer",
        };
        write!(f, "{reaction} {:?}", self.on)
    }
}
