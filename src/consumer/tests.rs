//! Consumers among peers that the test plays.

mod ending;
mod holding;
mod lite_pull;
mod offsets;
mod settings;
mod strange_brokers;
mod world;
