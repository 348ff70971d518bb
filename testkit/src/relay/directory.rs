//! Which stand-in is before which server.
//!
//! Knows: the addresses of both, and how routes name them. Does not know: what passes between them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use rocketmq_sdk::protocol::java_json;
use serde::Deserialize;
use serde_json::Value;

use crate::net::network::Network;
use crate::net::server::{Bound, Server};
use crate::node::Site;
use crate::relay::RelayNode;
use crate::relay::line::Lines;

/// How many connections a stand-in takes.
const MAX_CONNECTIONS: usize = 10_000;

/// All stand-ins, by the address of the server behind each.
#[derive(Debug)]
pub(super) struct Directory {
    site: Site,
    me: Weak<Self>,
    nodes: Mutex<BTreeMap<String, RelayNode>>,
}

/// What a route says of a broker.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    broker_name: String,
    broker_addrs: BTreeMap<i64, String>,
}

impl Directory {
    pub(super) fn new(site: Site) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            site,
            me: me.clone(),
            nodes: Mutex::default(),
        })
    }

    /// The stand-in before a server; a new one under this name if there is none.
    pub(super) fn stand_in(&self, name: &str, server: &str) -> io::Result<RelayNode> {
        let Some(me) = self.me.upgrade() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get(server) {
            return Ok(node.clone());
        }
        let bound = Bound::new(Network::Tcp, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
        let name: Arc<str> = name.into();
        let addr = bound.addr().to_string();
        let lines = Arc::new(Lines::new(server.to_owned(), me));
        let tap = self.site.tap(&name, &self.site.clock);
        let server_side = Server::new(bound, lines, tap, Arc::default(), MAX_CONNECTIONS);
        server_side.start()?;
        let node = RelayNode::new(name, addr, server, server_side, &self.site);
        nodes.insert(server.to_owned(), node.clone());
        Ok(node)
    }

    /// All stand-ins.
    pub(super) fn nodes(&self) -> Vec<RelayNode> {
        self.nodes.lock().values().cloned().collect()
    }

    /// The JSON of a route, or of all brokers, with the addresses of stand-ins in the places of the brokers'. Everything else stays as
    /// it is, also what this version does not know.
    pub(super) fn with_stand_ins(&self, body: Bytes) -> io::Result<Bytes> {
        let Ok(standard) = java_json::to_standard(&body) else {
            return Ok(body);
        };
        let Ok(value) = serde_json::from_slice::<Value>(&standard) else {
            return Ok(body);
        };
        let Ok(mut text) = String::from_utf8(body.to_vec()) else {
            return Ok(body);
        };
        let mut brokers = Vec::new();
        find_brokers(&value, &mut brokers);
        for broker in brokers {
            for (id, addr) in broker.broker_addrs {
                let name = match id {
                    0 => broker.broker_name.clone(),
                    id => format!("{}-{id}", broker.broker_name),
                };
                let stand_in = self.stand_in(&name, &addr)?;
                text = text.replace(&format!("\"{addr}\""), &format!("\"{}\"", stand_in.addr()));
            }
        }
        Ok(text.into())
    }
}

fn find_brokers(value: &Value, found: &mut Vec<Broker>) {
    if let Ok(broker) = Broker::deserialize(value) {
        found.push(broker);
        return;
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| find_brokers(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| find_brokers(value, found)),
        _ => {}
    }
}
