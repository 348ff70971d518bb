//! The queues that a message may go to: those of its topic, or those that the topic will have once a broker has made it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageQueue;
use crate::producer::{OPERATION, Shared};
use crate::route::Route;

/// A topic's queues and the brokers that hold them.
pub(super) struct Queues {
    route: Arc<Route>,
    /// The queues of a topic that does not exist yet; the route is that of the default topic then.
    future: Option<Vec<MessageQueue>>,
}

impl Queues {
    pub(super) fn list(&self) -> &[MessageQueue] {
        self.future.as_ref().unwrap_or(&self.route.writable)
    }

    /// The queues that a sharding key or an application chooses from; see [`Route::choices`].
    pub(super) fn choices(&self) -> &[MessageQueue] {
        match &self.future {
            Some(queues) => queues,
            None => self.route.choices(),
        }
    }

    /// The address of a broker's master.
    pub(super) fn master(&self, broker_name: &str) -> Option<&Arc<str>> {
        self.route.master(broker_name)
    }

    /// A queue of this broker.
    pub(super) fn of_broker(&self, broker_name: &str) -> Option<&MessageQueue> {
        let mut queues = self.list().iter();
        queues.find(|queue| *queue.broker_name == *broker_name)
    }

    /// The clusters that their brokers are in.
    pub(super) fn clusters(&self) -> BTreeSet<&str> {
        self.route.clusters()
    }

    /// See [`Route::next_turn`].
    pub(super) fn next_turn(&self) -> usize {
        self.route.next_turn()
    }
}

impl Shared {
    /// The queues that are known now.
    pub(super) fn known_queues(&self, topic: &str) -> Option<Queues> {
        let route = self.client.cached_route(topic)?;
        (!route.writable.is_empty()).then_some(Queues {
            route,
            future: None,
        })
    }

    /// The queues of a topic: those that are known, else those that the name servers know of. Those that a broker will make,
    /// when they know none. From then on the topic's route is kept fresh.
    ///
    /// # Errors
    /// Of the operation that needs them: no name server answers, or the topic neither exists nor can be made.
    pub(super) async fn queues(
        &self,
        operation: &'static str,
        topic: &Arc<str>,
        deadline: Instant,
    ) -> Result<Queues> {
        let found = self.find_queues(topic, deadline).await;
        found.map_err(|error| error.during(operation).topic_of(topic))
    }

    async fn find_queues(&self, topic: &Arc<str>, deadline: Instant) -> Result<Queues> {
        if let Some(queues) = self.known_queues(topic) {
            self.membership.watch(topic);
            return Ok(queues);
        }
        // What is known, if anything, has no queue to write to.
        let seen = self
            .client
            .cached_route(topic)
            .map_or(0, |route| route.generation);
        let found = self.client.refresh_route(topic, seen, deadline).await?;
        let queues = match found {
            Some(route) => Queues {
                route,
                future: None,
            },
            None => self.future_queues(topic, deadline).await?,
        };
        if queues.list().is_empty() {
            return Err(no_route(
                "none of its queues can be written, or their brokers have no master",
            ));
        }
        self.membership.watch(topic);
        Ok(queues)
    }

    /// Looks the route up again, in half of the time that is left, and takes what is known by then.
    pub(super) async fn fresh_queues(
        &self,
        operation: &'static str,
        topic: &Arc<str>,
        deadline: Instant,
    ) -> Result<Queues> {
        if let Some(route) = self.client.cached_route(topic) {
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / 2;
            if let Err(error) = self
                .client
                .refresh_route(topic, route.generation, until)
                .await
            {
                debug!(%topic, %error, "route not refreshed; going on with the last good one");
            }
        }
        self.queues(operation, topic, deadline).await
    }

    /// The address of the master of a broker that holds a topic, by a new route if the known one does not say.
    pub(super) async fn master(
        &self,
        operation: &'static str,
        topic: &Arc<str>,
        broker_name: &str,
        deadline: Instant,
    ) -> Result<Arc<str>> {
        let known = self.queues(operation, topic, deadline).await?;
        if let Some(addr) = known.master(broker_name) {
            return Ok(Arc::clone(addr));
        }
        let fresh = self.fresh_queues(operation, topic, deadline).await?;
        fresh.master(broker_name).cloned().ok_or_else(|| {
            let detail = format!("the route names no broker {broker_name} with a master");
            Error::new(ErrorKind::NoRoute, operation).detail(detail)
        })
    }

    /// A broker makes a topic that does not exist when a message comes for it, with as many queues as the default topic has,
    /// and no more than the producer wants.
    async fn future_queues(&self, topic: &Arc<str>, deadline: Instant) -> Result<Queues> {
        let default_topic = &self.settings.default_topic;
        let Some(route) = self.client.route(default_topic, deadline).await? else {
            let detail = format!(
                "the topic does not exist, and brokers do not make it ({default_topic} has no route)"
            );
            return Err(no_route(detail));
        };
        self.membership.watch(default_topic);
        let most = self.settings.default_topic_queues;
        let queues = route
            .writable
            .iter()
            .filter(|queue| queue.queue_id < most)
            .map(|queue| MessageQueue {
                topic: Arc::clone(topic),
                ..queue.clone()
            })
            .collect();
        Ok(Queues {
            route,
            future: Some(queues),
        })
    }
}

fn no_route(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::NoRoute, OPERATION).detail(detail)
}
