//! What goes wrong, and what must hold all the same: every story is a [`Trial`](crate::history::Trial) that its end checks.

mod brokers;
mod listeners;
mod members;
mod name_servers;
