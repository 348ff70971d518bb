//! What goes wrong, and what must hold all the same: every story is a [`Trial`](crate::history::Trial) that its end checks.

mod answers;
mod brokers;
mod ends;
mod listeners;
mod members;
mod name_servers;
mod processes;
mod senders;
mod stalls;
