//! Queues that the broker shares among the members of a group: who asks for them, and the arithmetic.
//!
//! The other brokers' queues stand in the topic's route, so a question waits until a task has looked that up.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::fields::NoFields;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::message::MessageQueue;
use rocketmq_sdk::protocol::request::query_assignment::{
    Assignment, AssignmentBody, POP, PULL, QueryAssignmentBody, RequestModeBody,
};
use rocketmq_sdk::protocol::request::route::{GetRoute, Permission, RouteBody};

use crate::broker::{Broker, SharedBroker};
use crate::net::call::{Answer, Later};
use crate::net::link::Link;
use crate::net::network::Network;

/// How many questions may wait, and of how many topics and groups a mode may be kept.
const MAX: usize = 10_000;

/// How long a name server may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is asked, and how messages are to be got.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    waiting: Vec<Question>,
    /// By topic and group; pulling where there is none.
    modes: HashMap<(String, String), RequestModeBody>,
}

/// A member that asks for its queues.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) answer: Later,
    pub(crate) body: QueryAssignmentBody,
}

impl Assignments {
    /// Takes a question in. `false`: there are too many.
    pub(crate) fn ask(&mut self, question: Question) -> bool {
        let fits = self.waiting.len() < MAX;
        if fits {
            self.waiting.push(question);
        }
        fits
    }

    pub(crate) fn is_asked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Says how a group gets the messages of a topic. `false`: there are too many.
    pub(crate) fn set_mode(&mut self, mode: RequestModeBody) -> bool {
        let of = (mode.topic.clone(), mode.consumer_group.clone());
        let fits = self.modes.contains_key(&of) || self.modes.len() < MAX;
        if fits {
            self.modes.insert(of, mode);
        }
        fits
    }

    fn is_popped(&self, body: &QueryAssignmentBody) -> bool {
        let mode = self
            .modes
            .get(&(body.topic.clone(), body.consumer_group.clone()));
        mode.is_some_and(|mode| mode.mode == POP)
    }
}

/// Answers questions, until the future is dropped.
pub(crate) async fn answer_questions(service: Arc<SharedBroker>, network: Network) {
    let name_servers = service.with(|broker| broker.config.name_servers.clone());
    loop {
        let asked = service.with(|broker| std::mem::take(&mut broker.assignments.waiting));
        if asked.is_empty() {
            service.questions.notified().await;
        }
        for question in asked {
            let route = route(&network, &name_servers, &question.body.topic).await;
            let body = service.with(|broker| broker.assignment(&question.body, route.as_ref()));
            // Queues and names are always JSON.
            let body = java_json::to_vec(&body).unwrap_or_default();
            question.answer.answer_with(&Answer {
                body: &[body.into()],
                ..Answer::success(&NoFields)
            });
        }
    }
}

/// The topic's route, from the first name server that answers.
async fn route(network: &Network, name_servers: &[String], topic: &str) -> Option<RouteBody> {
    for addr in name_servers {
        match tokio::time::timeout(TIMEOUT, ask_route(network, addr, topic)).await {
            Ok(Ok(route)) => return route,
            Ok(Err(error)) => tracing::debug!(%addr, topic, %error, "no route"),
            Err(_) => tracing::debug!(%addr, topic, "no route in time"),
        }
    }
    None
}

async fn ask_route(network: &Network, addr: &str, topic: &str) -> io::Result<Option<RouteBody>> {
    let mut link = Link::connect(network, addr).await?;
    let header = GetRoute {
        topic: topic.into(),
        accept_standard_json_only: Some(true),
    };
    let answer = link.call(&header, &Bytes::new()).await?;
    if answer.response_code() != ResponseCode::SUCCESS {
        return Ok(None);
    }
    let route = java_json::from_slice("route", &answer.body);
    route.map(Some).map_err(io::Error::other)
}

impl Broker {
    /// The queues of the member that asks; nothing where that cannot be said.
    fn assignment(&self, body: &QueryAssignmentBody, route: Option<&RouteBody>) -> AssignmentBody {
        let queues = route.and_then(|route| self.share(body, &readable(&body.topic, route)));
        let mode = if self.assignments.is_popped(body) {
            POP
        } else {
            PULL
        };
        AssignmentBody {
            message_queue_assignments: queues.map(|queues| {
                let assignment = |message_queue| Assignment {
                    message_queue,
                    mode: mode.to_owned(),
                };
                queues.into_iter().map(assignment).collect()
            }),
        }
    }

    fn share(
        &self,
        body: &QueryAssignmentBody,
        queues: &BTreeSet<MessageQueue>,
    ) -> Option<BTreeSet<MessageQueue>> {
        if body.message_model == "BROADCASTING" {
            return Some(queues.clone());
        }
        let group = self.groups.consumer(&body.consumer_group)?;
        let members: BTreeSet<&str> = group
            .members
            .values()
            .map(|member| &*member.client_id)
            .collect();
        let (index, count) = (
            members.iter().position(|member| *member == body.client_id),
            members.len(),
        );
        let Some(index) = index else {
            return Some(BTreeSet::new());
        };
        if self.assignments.is_popped(body) {
            let all_of = |queue: &MessageQueue| MessageQueue {
                queue_id: -1,
                ..queue.clone()
            };
            return Some(queues.iter().map(all_of).collect());
        }
        let queues = queues.iter().cloned();
        match &*body.strategy_name {
            "AVG" => {
                let (size, longer) = (queues.len() / count, queues.len() % count);
                let start = index * size + index.min(longer);
                let len = size + usize::from(index < longer);
                Some(queues.skip(start).take(len).collect())
            }
            "AVG_BY_CIRCLE" => Some(queues.skip(index).step_by(count).collect()),
            _ => None,
        }
    }
}

/// The queues of a topic that can be read.
fn readable(topic: &str, route: &RouteBody) -> BTreeSet<MessageQueue> {
    let brokers = route.queue_datas.iter();
    let readable = brokers.filter(|data| Permission(data.perm).can_read());
    let queues = readable.flat_map(|data| {
        (0..data.read_queue_nums).map(|id| MessageQueue::new(topic, &*data.broker_name, id))
    });
    queues.collect()
}
