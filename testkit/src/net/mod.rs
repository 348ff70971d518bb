//! Connections: what name server and broker have in common.
//!
//! Knows: sockets and in-memory streams, frames, one task per connection, the bounds on what a peer may make us hold. Does not
//! know: what any request means.

pub(crate) mod call;
mod connection;
pub(crate) mod deferred;
pub(crate) mod gate;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod outgoing;
pub(crate) mod peer;
pub(crate) mod server;

use std::sync::Arc;

use rocketmq_sdk::protocol::command::Command;

use crate::tap::Trail;
use outgoing::Outgoing;
use peer::Peer;

/// A request that has arrived.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) command: Command,
    /// Leads its answer to those who want to see it.
    pub(crate) trail: Option<Arc<Trail>>,
}

/// What answers the requests that arrive on connections.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Handles requests that arrived together, in their order, until [enough](Outgoing::is_enough) waits to be written; how many
    /// these were. Answers that are ready go to `out`; others follow through the peer.
    fn serve(&self, peer: &Arc<Peer>, requests: &[Incoming], out: &mut Outgoing) -> usize;

    /// Takes what a peer answered to a request of ours.
    fn answered(&self, peer: &Peer, answer: &Command) {
        let _ = (peer, answer);
    }

    /// Forgets a peer whose connection has ended. Nothing of it is served after that.
    fn closed(&self, peer: &Peer);
}
