//! Faults by rule: what is done to which requests and answers, on name servers and brokers.
//!
//! Knows: requests and answers as the journal sees them. Does not know: what a node does with them.

mod condition;
pub(crate) mod frame;
pub(crate) mod plan;
mod rule;
mod when;

use std::sync::Arc;

use rocketmq_sdk::protocol::code::RequestCode;

use crate::journal::facts::{PULLS, SENDS};
use plan::Plan;
pub use rule::{Holding, NotHit, Rule};
pub use when::{OnFrame, OnRequest};

/// Makes rules: for all nodes of a cluster, or for one.
///
/// A rule is a sentence: on which requests, narrowed by conditions, which of those, and what then happens. It is in force as
/// soon as the last word is said, and until it is [removed](Rule::remove).
///
/// ```
/// # use std::time::Duration;
/// # use rocketmq_testkit::{Cluster, RequestCode, ResponseCode};
/// # fn rules(cluster: &Cluster) {
/// let faults = cluster.faults();
///
/// // The third message to "orders" is refused.
/// faults.on_sends().topic("orders").nth(3).reply(ResponseCode::SYSTEM_BUSY, "busy");
/// // Messages are stored, but one answer in ten never comes: with the same seed the same ones.
/// let lost = faults.on_sends().probability(0.1).answer().drop();
/// // Pulls are answered in reverse order.
/// let held = faults.on_pulls().group("group1").answer().hold();
/// held.release([2, 1, 0]);
/// // Name servers are slow, and one broker's notices get lost.
/// cluster.name_server().faults().on_any().delay(Duration::from_secs(2));
/// cluster.broker("broker-a").faults().on_callback(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED).drop();
///
/// println!("{} answers lost", lost.hits());
/// lost.remove();
/// faults.clear();
/// # }
/// ```
///
/// Rules are asked in the order in which they were made, and the first one that hits decides; what a rule spares, the next ones
/// see.
#[derive(Debug, Clone)]
pub struct Faults {
    plan: Arc<Plan>,
    node: Option<Arc<str>>,
}

impl Faults {
    pub(crate) const fn new(plan: Arc<Plan>, node: Option<Arc<str>>) -> Self {
        Self { plan, node }
    }

    /// On requests with this code.
    pub fn on(&self, code: RequestCode) -> OnRequest {
        self.on_codes(Some(vec![code]))
    }

    /// On all requests. On a name server that includes the registrations of brokers.
    pub fn on_any(&self) -> OnRequest {
        self.on_codes(None)
    }

    /// On requests that store a message of a client: SEND_MESSAGE in all of its forms, single, batch and reply.
    pub fn on_sends(&self) -> OnRequest {
        self.on_codes(Some(SENDS.to_vec()))
    }

    /// On requests that read the messages of a queue.
    pub fn on_pulls(&self) -> OnRequest {
        self.on_codes(Some(PULLS.to_vec()))
    }

    /// On requests with this code that a node sends to a client.
    pub fn on_callback(&self, code: RequestCode) -> OnFrame {
        OnFrame::on_callback(OnRequest::new(
            Arc::clone(&self.plan),
            self.node.clone(),
            Some(vec![code]),
        ))
    }

    /// Removes all rules: those of this node, or those of all nodes.
    pub fn clear(&self) {
        self.plan.clear(self.node.as_deref());
    }

    fn on_codes(&self, codes: Option<Vec<RequestCode>>) -> OnRequest {
        OnRequest::new(Arc::clone(&self.plan), self.node.clone(), codes)
    }
}
