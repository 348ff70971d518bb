//! The broker: keeps messages, hands them out, and knows who is in which group.
//!
//! All state is in one [`Broker`], behind one lock, which a connection's task takes once for all requests that arrived together.
//! Handlers are plain functions on that state, one file per kind of request in `handle`. What waits - held pulls, delayed messages,
//! the expiry of members - is an entry in the one timer queue.

mod arrival;
mod assignments;
pub(crate) mod disk;
mod filter;
mod groups;
mod handle;
mod held;
mod membership;
pub(crate) mod names;
pub(crate) mod node;
mod offsets;
mod registrar;
mod relays;
mod schedule;
mod store;
mod timed;
mod timers;
mod topics;
mod transactions;
mod verbs;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::message::UniqueIdGenerator;
use rocketmq_sdk::protocol::request::register_broker::TopicConfig;
use tokio::sync::{Notify, watch};

use crate::clock::{Clock, Follower};
use crate::net::call::{AnswerFormat, Call};
use crate::net::gate::Gate;
use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;
use crate::net::{Incoming, Serve};
use assignments::Assignments;
use disk::{Disk, Safe};
use groups::Groups;
use held::{HeldPulls, HoldId};
use membership::Heartbeats;
use offsets::Offsets;
use registrar::Unregistered;
use relays::{RelayKey, Relays};
use store::{QueueKey, Store};
use timed::Recalled;
use timers::Timers;
pub(crate) use topics::MAX_QUEUES;
use topics::Topics;
use transactions::Transactions;

/// How a broker is set up.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConfig {
    pub(crate) cluster: String,
    pub(crate) name: String,
    /// `host:port` of each name server.
    pub(crate) name_servers: Vec<String>,
    /// Whether a topic is created by its first message, and offered to clients as possible.
    pub(crate) auto_create_topics: bool,
    /// How many queues such a topic has at most.
    pub(crate) default_queues: i32,
    /// The longest body of a message, in bytes.
    pub(crate) max_message: usize,
    /// The most bytes of messages that are kept.
    pub(crate) store_limit: usize,
    /// How old the last heartbeat of a member may get.
    pub(crate) member_expiry: Duration,
    /// Whether timer messages can be recalled.
    pub(crate) recall: bool,
    pub(crate) answers: AnswerFormat,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            cluster: "DefaultCluster".to_owned(),
            name: "broker-a".to_owned(),
            name_servers: Vec::new(),
            auto_create_topics: true,
            default_queues: 8,
            max_message: 4 * 1024 * 1024,
            store_limit: 256 * 1024 * 1024,
            member_expiry: Duration::from_secs(120),
            recall: false,
            answers: AnswerFormat::default(),
        }
    }
}

/// A broker's service: its state, and what wakes the tasks that serve it.
#[derive(Debug)]
pub(crate) struct SharedBroker {
    clock: Clock,
    /// Whether time passes for the broker: not while it is stopped.
    running: AtomicBool,
    /// Closed while it is paused.
    gate: Arc<Gate>,
    state: Mutex<Broker>,
    /// Wakes the task that waits for the next timer.
    timer_changed: Notify,
    /// Wakes the task that answers members that ask for their queues.
    questions: Notify,
    /// The version of the topics, for the tasks that register them.
    topics_changed: watch::Sender<u64>,
    /// Wakes those who wait for the name servers.
    registered: Notify,
}

/// All that a broker knows.
#[derive(Debug)]
pub(crate) struct Broker {
    config: BrokerConfig,
    /// Where clients reach it.
    addr: SocketAddr,
    /// The time at which the current requests arrived, in milliseconds since 1970.
    now: i64,
    /// When the broker was made.
    started: i64,
    store: Store,
    disk: Disk,
    safe: Safe,
    topics: Topics,
    groups: Groups,
    offsets: Offsets,
    held: HeldPulls,
    heartbeats: Heartbeats,
    timers: Timers<Event>,
    recalled: Recalled,
    transactions: Transactions,
    relays: Relays,
    assignments: Assignments,
    /// Answers that wait until the name servers know the topics that they are about.
    unregistered: Unregistered,
    unique_ids: UniqueIdGenerator,
    /// For messages that leave the queue to the broker.
    next_queue: u32,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A held pull is to be answered.
    EndHold(QueueKey, HoldId),
    /// A delayed message goes to its topic: its queue among the levels, and its offset there.
    Delay(QueueKey, i64),
    /// A timer message does: its queue, and its offset there.
    Time(QueueKey, i64),
    /// Half messages may have to be asked about.
    CheckTransactions,
    /// A client has taken too long to answer.
    EndRelay(RelayKey),
    /// A connection's members may have expired.
    CheckMember(u64),
}

impl SharedBroker {
    pub(crate) fn new(
        config: BrokerConfig,
        addr: SocketAddr,
        clock: Clock,
        gate: Arc<Gate>,
    ) -> Arc<Self> {
        let now = clock.millis();
        let broker = Broker {
            addr,
            now,
            started: now,
            store: Store::new(config.store_limit),
            disk: Disk::default(),
            safe: Safe::default(),
            topics: Topics::new(
                &config.cluster,
                &config.name,
                config.default_queues,
                config.auto_create_topics,
            ),
            groups: Groups::default(),
            offsets: Offsets::default(),
            held: HeldPulls::default(),
            heartbeats: Heartbeats::default(),
            timers: Timers::default(),
            recalled: Recalled::default(),
            transactions: Transactions::default(),
            relays: Relays::default(),
            assignments: Assignments::default(),
            unregistered: Unregistered::new(config.name_servers.len()),
            // Ids must differ between the brokers of a process, and between its runs.
            unique_ids: UniqueIdGenerator::new(
                addr.ip(),
                addr.port(),
                (now as u32) ^ std::process::id(),
            ),
            next_queue: 0,
            config,
        };
        let service = Arc::new(Self {
            clock: clock.clone(),
            running: AtomicBool::new(false),
            gate,
            registered: Notify::new(),
            state: Mutex::new(broker),
            timer_changed: Notify::new(),
            questions: Notify::new(),
            topics_changed: watch::Sender::new(0),
        });
        let follower: Arc<dyn Follower> = service.clone();
        clock.follow(Arc::downgrade(&follower));
        service
    }

    /// Creates a topic, or changes its number of queues.
    pub(crate) fn create_topic(&self, name: &str, queues: i32) -> io::Result<()> {
        let illegal = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
        names::check_topic(name).map_err(|why| illegal(why.to_string()))?;
        if !(1..=MAX_QUEUES).contains(&queues) {
            return Err(illegal(format!("a topic has 1 to {MAX_QUEUES} queues")));
        }
        let topic = TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        };
        let fits = self.with(|broker| broker.topics.put(topic, broker.now));
        fits.then_some(())
            .ok_or_else(|| illegal("too many topics".to_owned()))
    }

    /// Does something with the state, at the present time, and wakes the tasks that it concerns.
    fn with<R>(&self, work: impl FnOnce(&mut Broker) -> R) -> R {
        let mut broker = self.state.lock();
        broker.now = self.clock.millis();
        let timer = broker.timers.next_due();
        let topics = broker.topics.version();
        let result = work(&mut broker);
        let earlier = broker
            .timers
            .next_due()
            .is_some_and(|due| timer.is_none_or(|timer| due < timer));
        let version = broker.topics.version();
        let is_asked = broker.assignments.is_asked();
        drop(broker);
        if is_asked {
            self.questions.notify_one();
        }
        if earlier {
            self.timer_changed.notify_one();
        }
        if version != topics {
            self.topics_changed.send_replace(version);
        }
        result
    }

    /// Does what is due, again and again, until the future is dropped.
    async fn run_timers(&self) {
        let _running = Running::new(&self.running);
        loop {
            self.gate.pass().await;
            let next = self.with(|broker| {
                broker.run_due();
                broker.timers.next_due()
            });
            let changed = self.timer_changed.notified();
            match next {
                None => changed.await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep(self.clock.until(due)) => {}
                        () = changed => {}
                    }
                }
            }
        }
    }
}

/// Sets a flag for as long as it lives.
struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Release);
        Self(flag)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Follower for SharedBroker {
    fn clock_turned(&self) {
        if self.running.load(Ordering::Acquire) && !self.gate.is_closed() {
            self.with(Broker::run_due);
            self.timer_changed.notify_one();
        }
    }
}

impl Serve for SharedBroker {
    fn serve(&self, peer: &Arc<Peer>, requests: &[Incoming], out: &mut Outgoing) -> usize {
        self.with(|broker| {
            for (served, request) in requests.iter().enumerate() {
                if out.is_enough() {
                    return served;
                }
                let topics = broker.topics.version();
                let mark = out.mark();
                let mut call = Call::new(request, peer, out, broker.config.answers);
                if let Err(refusal) = handle::handle(broker, &mut call) {
                    call.refuse(&refusal);
                }
                let version = broker.topics.version();
                if version != topics && broker.unregistered.holds(version) {
                    let answer = out.split_off(mark);
                    broker.unregistered.hold(version, peer, answer);
                }
            }
            requests.len()
        })
    }

    fn answered(&self, peer: &Peer, answer: &Command) {
        let key = RelayKey {
            connection: peer.id,
            opaque: answer.head.opaque,
        };
        self.with(|broker| broker.relayed(key, answer));
    }

    fn closed(&self, peer: &Peer) {
        self.with(|broker| {
            broker.end_relays_to(peer.id);
            broker.held.remove_peer(peer.id, &mut broker.timers);
            broker.unregistered.remove_peer(peer.id);
            broker.leave_all(peer.id);
        });
    }
}

impl Broker {
    /// Does everything that is due.
    fn run_due(&mut self) {
        while let Some(event) = self.timers.pop_due(self.now) {
            if self.put_off(event) {
                continue;
            }
            match event {
                Event::EndHold(queue, hold) => self.end_hold(queue, hold),
                Event::Delay(queue, offset) => {
                    let end = self.store.end();
                    self.delay_is_over(queue, offset);
                    self.note_delivery(event, end);
                }
                Event::Time(queue, offset) => {
                    let end = self.store.end();
                    self.time_is_up(queue, offset);
                    self.note_delivery(event, end);
                }
                Event::CheckTransactions => self.check_transactions(),
                Event::EndRelay(key) => self.end_relay(key),
                Event::CheckMember(connection) => self.check_member(connection),
            }
        }
        self.forget_recalls();
    }
}
