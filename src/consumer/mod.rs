//! Consumers: whose queues are whose, what is pulled, and what listeners make of it.

mod allocate;
mod process_queue;
#[cfg(test)]
mod sample;

pub use allocate::{AllocateStrategy, Average};
