//! Verbs of a test, by what they are about: a topic, its route, a group.
//!
//! Knows: how to reach into the nodes. Does not know: the wire.

mod group;
mod route;
mod topic;

pub use group::{GroupHandle, Storm};
pub use route::RouteHandle;
pub use topic::{Access, TopicHandle};
