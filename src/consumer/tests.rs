//! Consumers among peers that the test plays.

mod holding;
mod lite_pull;
mod offsets;
mod settings;
mod strange_brokers;
mod world;
