//! Consumers among peers that the test plays.

mod strange_brokers;
mod world;
