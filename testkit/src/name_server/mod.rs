//! The name server: knows which brokers there are, and which topics they hold. Does not know: messages, or groups.
//!
//! One file per file of `protocol::request`; each starts with the codes that it answers.

mod delete_topic;
mod kv_config;
mod register_broker;
mod route;
mod table;
mod topic_list;
pub(crate) mod view;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::RequestCode;

use crate::net::call::{AnswerFormat, Call, Refusal};
use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;
use crate::net::{Incoming, Serve};
pub(crate) use route::APPLY_TOPIC_URL;
use table::Routes;
use view::{View, Views};

/// A name server's service.
#[derive(Debug)]
pub(crate) struct NameServer {
    format: AnswerFormat,
    state: Mutex<State>,
}

/// All that a name server knows.
#[derive(Debug, Default)]
struct State {
    routes: Routes,
    /// Key-value entries, by namespace and key.
    kv: HashMap<String, HashMap<String, String>>,
    views: Views,
}

impl NameServer {
    pub(crate) fn new(format: AnswerFormat) -> Self {
        Self {
            format,
            state: Mutex::default(),
        }
    }

    /// Forgets a topic.
    pub(crate) fn delete_topic(&self, topic: &str) {
        self.state.lock().routes.delete_topic(topic, None);
    }

    /// Shows a topic's route otherwise than it is, or as it is again.
    pub(crate) fn show_route(&self, topic: &str, view: Option<View>) {
        let topics = &mut self.state.lock().views.topics;
        match view {
            Some(view) => topics.insert(topic.to_owned(), view),
            None => topics.remove(topic),
        };
    }

    /// Shows a topic's route as it is now from now on.
    pub(crate) fn freeze_route(&self, topic: &str) {
        let truth = self.state.lock().routes.route(topic);
        self.show_route(topic, Some(View::Stale(truth)));
    }

    /// Shows no route to a broker.
    pub(crate) fn hide_broker(&self, broker: &str) {
        let hidden = &mut self.state.lock().views.hidden;
        hidden.insert(broker.to_owned());
    }

    /// Shows all routes to a broker again.
    pub(crate) fn show_broker(&self, broker: &str) {
        self.state.lock().views.hidden.remove(broker);
    }
}

impl Serve for NameServer {
    fn serve(&self, peer: &Arc<Peer>, requests: &[Incoming], out: &mut Outgoing) -> usize {
        let mut state = self.state.lock();
        for (served, request) in requests.iter().enumerate() {
            if out.is_enough() {
                return served;
            }
            let mut call = Call::new(request, peer, out, self.format);
            if let Err(refusal) = handle(&mut state, &mut call) {
                call.refuse(&refusal);
            }
        }
        requests.len()
    }

    fn closed(&self, peer: &Peer) {
        self.state.lock().routes.connection_closed(peer.id);
    }
}

fn handle(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    match call.request.request_code() {
        RequestCode::PUT_KV_CONFIG => kv_config::put(state, call),
        RequestCode::GET_KV_CONFIG => kv_config::get(state, call),
        RequestCode::DELETE_KV_CONFIG => kv_config::delete(state, call),
        RequestCode::REGISTER_BROKER => register_broker::register(state, call),
        RequestCode::UNREGISTER_BROKER => register_broker::unregister(state, call),
        RequestCode::GET_BROKER_CLUSTER_INFO => route::cluster(state, call),
        RequestCode::GET_ROUTEINFO_BY_TOPIC => route::topic(state, call),
        RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => topic_list::handle(state, call),
        RequestCode::DELETE_TOPIC_IN_NAMESRV => delete_topic::handle(state, call),
        _ => Err(Refusal::not_supported(call.request)),
    }
}
