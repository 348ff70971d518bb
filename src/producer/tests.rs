//! A producer among a name server and brokers that the test plays.

mod auto_batching;
mod batching;
mod bounds;
mod cancelling;
mod codes;
mod ending;
mod faults;
mod handing_over;
mod intercepting;
mod recalling;
mod requesting;
mod retrying;
mod sending;
mod transacting;
mod troubles;
mod ways;
mod world;
