//! Where things are: name servers, topics and the brokers that hold them.
//!
//! Knows: routes, how old they are, and whom to ask for a new one. Does not know: who wants a route, or what is sent along it.

mod fault;
mod name_server;
mod routes;
mod table;

pub(crate) use fault::{Ended, FaultTable, Standing};
pub(crate) use name_server::NameServers;
pub(crate) use routes::Routes;
pub(crate) use table::Route;
