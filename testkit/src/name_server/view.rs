//! What a name server shows instead of the truth, because a test wants it to.

use std::collections::{HashMap, HashSet};

use rocketmq_sdk::protocol::request::route::RouteBody;

/// How the route of one topic is shown.
#[derive(Debug, Clone)]
pub(crate) enum View {
    /// This one, or none, whatever is true.
    Stale(Option<RouteBody>),
    Empty,
    Missing,
    /// There, then not, and so on.
    Flap {
        /// Whether it is there at the next look.
        there: bool,
    },
}

/// What is not shown as it is.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) topics: HashMap<String, View>,
    /// Brokers that are not shown.
    pub(super) hidden: HashSet<String>,
}

impl Views {
    /// What is shown of a topic's true route.
    pub(super) fn of(&mut self, topic: &str, truth: Option<RouteBody>) -> Option<RouteBody> {
        let shown = match self.topics.get_mut(topic) {
            None => truth,
            Some(View::Stale(route)) => route.clone(),
            Some(View::Empty) => return Some(RouteBody::default()),
            Some(View::Missing) => None,
            Some(View::Flap { there }) => {
                let now = *there;
                *there = !now;
                truth.filter(|_| now)
            }
        };
        self.without_hidden(shown?)
    }

    fn without_hidden(&self, mut route: RouteBody) -> Option<RouteBody> {
        if self.hidden.is_empty() {
            return Some(route);
        }
        route
            .broker_datas
            .retain(|broker| !self.hidden.contains(&broker.broker_name));
        route
            .queue_datas
            .retain(|queues| !self.hidden.contains(&queues.broker_name));
        (!route.broker_datas.is_empty()).then_some(route)
    }
}
