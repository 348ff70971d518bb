//! Consumers among peers that the test plays.

mod strange_brokers;
#[expect(dead_code, reason = "the stories of lite pull ask for more")]
mod world;
