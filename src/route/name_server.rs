//! Which name server to ask: the one that answered last, and the next one when it does not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::time::Instant;
use tracing::warn;

use crate::config::Namespace;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::code::ResponseCode;
use crate::protocol::command::Command;
use crate::protocol::java_json;
use crate::protocol::request::Request;
use crate::protocol::request::route::{GetRoute, RouteBody};
use crate::transport::Pool;

/// The name servers of one client.
pub(crate) struct NameServers {
    listed: RwLock<Listed>,
    /// The index of the one that answered last, modulo their number.
    current: AtomicUsize,
    pool: Arc<Pool>,
    namespace: Namespace,
}

/// Which name servers there are.
struct Listed {
    addrs: Arc<[Arc<str>]>,
    /// Those that were asked before, and may have a connection still.
    former: Vec<Arc<str>>,
}

impl NameServers {
    /// Begins with the server at `first`, modulo their number, so that many clients spread over them.
    pub(crate) fn new(
        addrs: &[String],
        first: usize,
        pool: Arc<Pool>,
        namespace: Namespace,
    ) -> Arc<Self> {
        let listed = Listed {
            addrs: addrs.iter().map(|addr| addr.as_str().into()).collect(),
            former: Vec::new(),
        };
        Arc::new(Self {
            listed: RwLock::new(listed),
            current: AtomicUsize::new(first),
            pool,
            namespace,
        })
    }

    /// Asks these servers from now on, and no others.
    pub(crate) fn change(&self, addrs: &[String]) {
        let mut listed = self.listed.write();
        let before = std::mem::replace(
            &mut listed.addrs,
            addrs.iter().map(|addr| addr.as_str().into()).collect(),
        );
        listed.former.extend(before.iter().cloned());
        listed.former.sort_unstable();
        listed.former.dedup();
    }

    /// Whether it is one of the servers, or was.
    pub(crate) fn contains(&self, addr: &str) -> bool {
        let listed = self.listed.read();
        let mut all = listed.addrs.iter().chain(&listed.former);
        all.any(|known| **known == *addr)
    }

    fn addrs(&self) -> Arc<[Arc<str>]> {
        Arc::clone(&self.listed.read().addrs)
    }

    /// What the name servers say of a topic; `None` when they do not know it.
    pub(crate) async fn route(&self, topic: &str, deadline: Instant) -> Result<Option<RouteBody>> {
        const OPERATION: &str = "look up a route";
        let header = GetRoute {
            topic: self.namespace.wrap(topic),
            accept_standard_json_only: Some(true),
        };
        let (addr, answer) = self
            .ask(OPERATION, &header, deadline)
            .await
            .map_err(|error| error.topic_of(topic))?;
        if answer.response_code() == ResponseCode::TOPIC_NOT_EXIST {
            return Ok(None);
        }
        java_json::from_slice("route", &answer.body)
            .map(Some)
            .map_err(|error| {
                Error::new(ErrorKind::Protocol, OPERATION)
                    .topic_of(topic)
                    .at(&addr)
                    .caused_by(error)
            })
    }

    /// Asks each server in turn until one knows: that there is something, or that there is not. One that does not answer leaves
    /// time for the others, and one that answers an error, as it may while it starts, is passed over too.
    async fn ask<'h, R: Request<'h> + Sync>(
        &self,
        operation: &'static str,
        header: &R,
        deadline: Instant,
    ) -> Result<(Arc<str>, Command)> {
        let addrs = self.addrs();
        let count = addrs.len();
        let first = self.current.load(Ordering::Relaxed);
        let (mut refused, mut last) = (None, None);
        for turn in 0..count {
            let index = first.wrapping_add(turn) % count;
            let addr = &addrs[index];
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (count - turn) as u32;
            match self.ask_one(addr, header, now + share).await {
                Ok(answer) => match answer.response_code() {
                    ResponseCode::SUCCESS | ResponseCode::TOPIC_NOT_EXIST => {
                        self.current.store(index, Ordering::Relaxed);
                        return Ok((Arc::clone(addr), answer));
                    }
                    code => {
                        let error = Error::response(operation, code, answer.remark.as_deref());
                        warn!(%addr, %error, "name server answers an error");
                        refused = Some(error.at(addr));
                    }
                },
                Err(error) => {
                    warn!(%addr, %error, "name server does not answer");
                    last = Some(error.into_error("ask a name server", addr));
                }
            }
        }
        Err(refused.unwrap_or_else(|| nobody(operation, &addrs, last)))
    }

    async fn ask_one<'h, R: Request<'h> + Sync>(
        &self,
        addr: &Arc<str>,
        header: &R,
        deadline: Instant,
    ) -> Result<Command, crate::transport::CallError> {
        let connection = self.pool.connect(addr, deadline).await?;
        connection.call(header, &Bytes::new(), deadline)?.await
    }
}

/// No name server answered; `last` is why the last one did not.
fn nobody(operation: &'static str, addrs: &[Arc<str>], last: Option<Error>) -> Error {
    let mut error = Error::new(ErrorKind::NameServer, operation);
    if addrs.len() > 1 {
        error = error.detail(format!("asked {}", addrs.join(";")));
    }
    match last {
        Some(last) => error.caused_by(last),
        None => error,
    }
}

impl fmt::Debug for NameServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameServers").field(&self.addrs()).finish()
    }
}
