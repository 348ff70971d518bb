//! A small RocketMQ name server and broker that run inside a test process: no Java, no containers, a few milliseconds to start.
//!
//! They speak RocketMQ's remoting protocol as Apache's servers do, so any client works against them: `rocketmq-sdk`, Apache's
//! Java client and admin tool, the Go client. What they answer - codes, remarks, corrected offsets, properties of stored messages -
//! is what Apache RocketMQ 5.4.0 answers, compared with it.
//!
//! ```
//! use std::time::Duration;
//! use rocketmq_testkit::Cluster;
//!
//! # async fn example() -> std::io::Result<()> {
//! let cluster = Cluster::builder().brokers(2).topic("orders", 4).start().await?;
//!
//! // Give this to any client: NAMESRV_ADDR, or `.name_server(addr)` of this project's builders.
//! let addr = cluster.name_server_addr();
//! # assert!(addr.starts_with("127.0.0.1:"));
//!
//! // Two hours pass for the brokers: whatever was delayed, retried or held is due.
//! cluster.clock().advance(Duration::from_secs(7_200));
//!
//! // A crash, and the same broker again with everything that it had stored.
//! let broker = cluster.broker("broker-a");
//! broker.kill().await;
//! broker.restart().await?;
//!
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! With [`ClusterBuilder::in_memory`] nothing leaves the process, and tests may pause tokio's time: clients connect by
//! [`Cluster::environment`].
//!
//! # What it does
//!
//! Routes, topics and their creation by the first message, sending, pulling with tags and long polling, committed offsets, groups
//! with notices to their members, messages sent back, delay levels, dead letters, and what Apache's `mqadmin` asks for topics,
//! groups and progress; batches; messages that are due at a given time, and taking them back; transactions, with questions to their
//! producers; requests and replies. SQL92 and POP are refused, each with a code that says so.
//!
//! # What goes wrong
//!
//! [`Cluster::faults`] makes rules: on which requests, and what happens to them or to their answers. They can be made, counted,
//! waited for and removed while clients run; what is left to chance is the same with the same [seed](ClusterBuilder::seed).
//! [`Faults`] has examples, [`OnRequest`] and [`OnFrame`] all conditions and reactions.
//!
//! ```
//! # use rocketmq_testkit::{Cluster, RequestCode, ResponseCode};
//! # fn rules(cluster: &Cluster) {
//! let faults = cluster.faults();
//! faults.on_sends().topic("orders").nth(3).reply(ResponseCode::SYSTEM_BUSY, "busy");  // the third is refused
//! faults.on_sends().probability(0.1).answer().drop();              // stored, but one in ten answers never comes
//! faults.on(RequestCode::UPDATE_CONSUMER_OFFSET).group("group1").disconnect();
//! faults.on_pulls().answer().cut(100);                             // the connection ends in the middle of an answer
//! # }
//! ```
//!
//! Verbs do to a whole node, topic, route or group what a rule cannot:
//!
//! ```
//! # use std::time::Duration;
//! # use rocketmq_testkit::{Access, Cluster, Disk, Loss};
//! # async fn verbs(cluster: &Cluster) -> std::io::Result<()> {
//! let broker = cluster.broker("broker-a");
//! broker.pause();                                             // connections stay, nothing is read or written
//! broker.resume();
//! broker.kill().await;                                        // resets its connections, tells nobody
//! broker.restart_after(Loss::Newest(3)).await?;               // ... and had not written its last three messages
//! broker.disk(Disk::Full);                                    // or Failing, or Slow(by)
//! broker.clock_ahead(Duration::from_secs(3_600));
//! cluster.topic("orders").queues(2).await?;                   // also .access(Access::ReadOnly), .delete()
//! cluster.route("orders").stale();                            // also .empty(), .missing(), .flap(), .restore()
//! cluster.name_server().hide_broker("broker-a");              // one of several name servers knows less
//! let storm = broker.group("group1").notify_storm(50);        // also .fake_members(3), .reset_offset("orders", 0, 42)
//! # drop(storm);
//! # let _ = Access::Denied;
//! # Ok(())
//! # }
//! ```
//!
//! All rules hold before another cluster too, Apache RocketMQ for one: a [`Relay`] stands in for its servers.
//!
//! # What happened
//!
//! A cluster keeps a [`Journal`] of every request and answer, callback and connection, on all of its nodes, with what they were
//! about: topic, queue, group, what was committed, stored and delivered. Tests wait for entries, and judge by them.
//!
//! ```
//! # async fn example(cluster: rocketmq_testkit::Cluster) -> Result<(), rocketmq_testkit::NotSeen> {
//! use rocketmq_testkit::RequestCode;
//!
//! let journal = cluster.journal();
//! let commit = journal.wait_for(|entry| entry.group() == Some("group1") && entry.committed() == Some(7)).await?;
//! assert!(journal.count(|entry| entry.is_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)) < 10);
//! println!("{commit}");
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//!
//! Everything is kept in memory, and everything that a peer can make a node keep is bounded:
//!
//! | what | bound |
//! |---|---|
//! | messages of a broker | 256 MiB of stored bytes; the oldest go ([`ClusterBuilder::store_limit`]) |
//! | body of a message | 4 MiB ([`ClusterBuilder::max_message`]) |
//! | frame | 16 MiB |
//! | connections of a node | 10,000 |
//! | bytes waiting for a peer that does not read | 8 MiB, then its requests wait; 256 MiB, or a minute in which it takes none, then its connection is closed |
//! | held pulls of a broker | 100,000; one more is answered at once |
//! | replies on their way to who asked | 100,000; one more is refused as busy |
//! | topics, groups | 100,000 each |
//! | brokers of a name server | 1,000 names, 100 of each |
//! | messages that wait for their time | 1,000,000; one more is refused as busy |
//! | queues of a topic | 16,384 |
//! | journal of a cluster | 100,000 entries ([`ClusterBuilder::journal`]), 64 MiB; the oldest go, and are counted |
//!
//! Nodes listen on the loopback address, and there is no authentication: [`Listen::exposed_to_others`] is for those who want it
//! otherwise. No request changes the configuration of a process.

mod broker;
mod clock;
mod cluster;
mod fault;
mod journal;
mod name_server;
mod net;
mod node;
mod options;
#[doc(hidden)]
pub mod program;
mod relay;
mod tap;
mod verbs;

pub use broker::disk::{Disk, Loss};
pub use clock::Clock;
pub use cluster::{Cluster, ClusterBuilder};
pub use fault::{Faults, Holding, NotHit, OnFrame, OnRequest, Rule};
pub use journal::{Delivered, Entry, EntryKind, Journal, NotSeen, SentBack, Stored};
pub use net::call::AnswerFormat;
pub use node::{BrokerHandle, NameServerHandle};
pub use options::{BrokerBuilder, Listen};
pub use relay::{Relay, RelayNode};
pub use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
pub use verbs::{Access, GroupHandle, RouteHandle, Storm, TopicHandle};
