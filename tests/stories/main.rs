//! Stories: what users do, on a target. The target is the testkit, or a real Apache RocketMQ where `ROCKETMQ_TEST_NAMESRV` names
//! one (`tests/apache/up` starts it). Every story has topics and groups of its own, so all run side by side on one broker.
//!
//! The names begin with the id of the acceptance case (`a_se_01`) or of the fault (`f01`) that a story is about, where there is one.

#![allow(unreachable_pub, reason = "a test program has no outside")]
#![allow(clippy::future_not_send, reason = "stories run where they are started")]
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod asking;
mod assigning;
mod audit;
mod batching;
mod beginning;
mod broadcasting;
mod churn;
mod committed;
mod consuming;
mod crossing;
mod delaying;
mod dropping;
mod ending;
mod failing;
mod faults;
mod growing;
mod history;
mod identities;
mod java;
mod joining;
mod listening;
mod messages;
mod namespaces;
mod offsets;
mod polling;
mod producers;
mod received;
mod relayed;
mod requesting;
mod retrying;
mod routing;
mod sending;
mod sharing;
mod stored;
mod target;
mod transacting;
