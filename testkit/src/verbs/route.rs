//! What a test does to the route that name servers show of a topic.

use std::sync::Arc;

use crate::name_server::NameServer;
use crate::name_server::view::View;

/// The route of a topic, as name servers show it: all of them ([`Cluster::route`](crate::Cluster::route)), or one
/// ([`NameServerHandle::route`](crate::NameServerHandle::route)). The brokers stay as they are.
#[derive(Debug, Clone)]
pub struct RouteHandle {
    topic: String,
    name_servers: Vec<Arc<NameServer>>,
}

impl RouteHandle {
    pub(crate) const fn new(topic: String, name_servers: Vec<Arc<NameServer>>) -> Self {
        Self {
            topic,
            name_servers,
        }
    }

    /// The route that is shown stays what it is now, whatever happens to the brokers.
    pub fn stale(&self) {
        for name_server in &self.name_servers {
            name_server.freeze_route(&self.topic);
        }
    }

    /// The topic is shown with neither queues nor brokers.
    pub fn empty(&self) {
        self.show(Some(View::Empty));
    }

    /// The topic is not there: TOPIC_NOT_EXIST (17).
    pub fn missing(&self) {
        self.show(Some(View::Missing));
    }

    /// The topic is there at every second look only, beginning with the next one.
    pub fn flap(&self) {
        self.show(Some(View::Flap { there: true }));
    }

    /// The true route is shown again.
    pub fn restore(&self) {
        self.show(None);
    }

    fn show(&self, view: Option<View>) {
        for name_server in &self.name_servers {
            name_server.show_route(&self.topic, view.clone());
        }
    }
}
