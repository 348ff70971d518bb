//! The client's own tasks: heartbeats, fresh routes, and the requests of brokers. All end with the client.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::client::inbound::Request;
use crate::client::{Client, Inner};

pub(super) fn start(client: &Client, requests: mpsc::Receiver<Request>) {
    let inner = Arc::clone(&client.inner);
    client.spawn("heartbeats", async move {
        let period = inner.config.heartbeat_interval;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            inner.heartbeat().await;
        }
    });
    let inner = Arc::clone(&client.inner);
    client.spawn("routes", async move {
        let period = inner.config.route_interval;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            inner.refresh_routes().await;
        }
    });
    let inner = Arc::clone(&client.inner);
    client.spawn(
        "requests of brokers",
        async move { inner.serve(requests).await },
    );
}

impl Inner {
    /// Tells the members that a topic's route is not what it was, whoever looked it up.
    pub(super) fn route_changed(&self, topic: &str) {
        let members = self.registry.all();
        members
            .iter()
            .for_each(|member| member.route_changed(topic));
    }

    /// Looks the routes of all members' topics up again, and forgets those of other topics.
    async fn refresh_routes(&self) {
        for topic in self.topics() {
            let known = self.routes.cached(&topic);
            let seen = known.map_or(0, |route| route.generation);
            let deadline = Instant::now() + self.config.request_timeout;
            if let Err(error) = self.routes.refresh(&topic, seen, deadline).await {
                debug!(%topic, %error, "route not refreshed");
            }
        }
        self.routes.retain(&self.topics());
        let addrs = self.routes.addrs(false);
        self.rpc.forget_addresses(|addr| {
            self.name_servers.contains(addr) || addrs.iter().any(|known| **known == *addr)
        });
    }
}
