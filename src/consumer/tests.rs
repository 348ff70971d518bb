//! Consumers among peers that the test plays.

mod lite_pull;
mod strange_brokers;
mod world;
