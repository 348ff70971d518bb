//! Queues that the brokers share: this member asks which are its own (400).
//!
//! Does not know: when they are shared, and what members do among themselves where brokers cannot share.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{debug, error};

use crate::consumer::group::Group;
use crate::message::MessageQueue;
use crate::protocol::code::ResponseCode;
use crate::protocol::request::query_assignment::{Assignment, PULL, QueryAssignmentBody};
use crate::route::Route;

/// What the brokers of a topic say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Queues(BTreeSet<MessageQueue>),
    /// None of them answered, or knows.
    Nothing,
    /// They do not share queues: those of version 4.
    NotSupported,
}

impl Group {
    /// Asks the brokers of a topic, one after the other, for this member's queues.
    pub(super) async fn ask_for_queues(&self, topic: &Arc<str>, route: &Route) -> Said {
        let body = QueryAssignmentBody {
            topic: topic.to_string(),
            consumer_group: self.name().to_owned(),
            client_id: self.client().id().to_string(),
            strategy_name: self.settings().strategy.name().to_owned(),
            message_model: self.profile().model().wire_name().to_owned(),
        };
        for addr in route.addrs(true).chain(route.addrs(false)) {
            let deadline = self.client().request_deadline();
            let rpc = self.client().rpc();
            match rpc.assignment(addr, body.clone(), deadline).await {
                Ok(Some(assignments)) => return of_topic(topic, assignments),
                Ok(None) => {
                    debug!(%topic, %addr, "the broker does not know which queues are ours");
                }
                Err(error)
                    if error.response_code() == Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED) =>
                {
                    return Said::NotSupported;
                }
                Err(error) => {
                    debug!(%topic, %addr, %error, "it is not known which queues are ours")
                }
            }
        }
        Said::Nothing
    }
}

fn of_topic(topic: &Arc<str>, assignments: Vec<Assignment>) -> Said {
    if assignments.iter().any(|one| one.mode != PULL) {
        error!(%topic, "the brokers want the topic's messages popped, which this client does not do; its queues stay as they are");
        return Said::Nothing;
    }
    let queues = assignments.into_iter().map(|one| one.message_queue);
    let ours = queues.filter(|queue| *queue.topic == **topic && queue.queue_id >= 0);
    Said::Queues(ours.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queues_that_are_pulled_and_of_the_topic_are_taken() {
        let topic = "t".into();
        let assigned = |topic: &str, id, mode: &str| Assignment {
            message_queue: MessageQueue::new(topic, "b", id),
            mode: mode.to_owned(),
        };
        let some = vec![
            assigned("t", 1, PULL),
            assigned("u", 1, PULL),
            assigned("t", -1, PULL),
        ];
        let ours = BTreeSet::from([MessageQueue::new("t", "b", 1)]);
        assert_eq!(of_topic(&topic, some), Said::Queues(ours));
        assert_eq!(of_topic(&topic, Vec::new()), Said::Queues(BTreeSet::new()));
        let popped = vec![assigned("t", -1, "POP")];
        assert_eq!(of_topic(&topic, popped), Said::Nothing);
    }
}
