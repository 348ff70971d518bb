//! How the queues of a topic are shared among the members of a group.
//!
//! Knows: the arithmetic. Does not know: where the lists come from, and what happens to the queues.

use std::fmt;

use crate::protocol::message::MessageQueue;

mod average;

pub use average::Average;

/// Shares the queues of a topic among the members of a group.
///
/// Every member computes its own share from the same two lists, so all members of a group must use the same strategy, and the
/// answer may depend on nothing but what is given.
pub trait AllocateStrategy: fmt::Debug + Send + Sync + 'static {
    /// The strategy's name, as other clients call it.
    fn name(&self) -> &str;

    /// The queues that `member` gets.
    ///
    /// Both lists are sorted and without duplicates, neither is empty, and `member` is one of `members`. Queues in the answer that
    /// are not in `queues` are ignored.
    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue>;
}
