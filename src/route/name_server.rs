//! Which name server to ask: the one that answered last, and the next one when it does not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
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
    addrs: Vec<Arc<str>>,
    /// The index of the one that answered last.
    current: AtomicUsize,
    pool: Arc<Pool>,
    namespace: Namespace,
}

impl NameServers {
    /// Begins with the server at `first`, modulo their number, so that many clients spread over them.
    pub(crate) fn new(
        addrs: &[String],
        first: usize,
        pool: Arc<Pool>,
        namespace: Namespace,
    ) -> Arc<Self> {
        let addrs: Vec<Arc<str>> = addrs.iter().map(|addr| addr.as_str().into()).collect();
        let current = AtomicUsize::new(first % addrs.len().max(1));
        Arc::new(Self {
            addrs,
            current,
            pool,
            namespace,
        })
    }

    pub(crate) fn contains(&self, addr: &str) -> bool {
        self.addrs.iter().any(|known| **known == *addr)
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
                    .at(addr)
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
    ) -> Result<(&Arc<str>, Command)> {
        let count = self.addrs.len();
        let first = self.current.load(Ordering::Relaxed);
        let (mut refused, mut last) = (None, None);
        for turn in 0..count {
            let index = (first + turn) % count;
            let addr = &self.addrs[index];
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (count - turn) as u32;
            match self.ask_one(addr, header, now + share).await {
                Ok(answer) => match answer.response_code() {
                    ResponseCode::SUCCESS | ResponseCode::TOPIC_NOT_EXIST => {
                        self.current.store(index, Ordering::Relaxed);
                        return Ok((addr, answer));
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
        Err(refused.unwrap_or_else(|| self.nobody(operation, last)))
    }

    /// No name server answered; `last` is why the last one did not.
    fn nobody(&self, operation: &'static str, last: Option<Error>) -> Error {
        let mut error = Error::new(ErrorKind::NameServer, operation);
        if self.addrs.len() > 1 {
            error = error.detail(format!("asked {}", self.addrs.join(";")));
        }
        match last {
            Some(last) => error.caused_by(last),
            None => error,
        }
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

impl fmt::Debug for NameServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameServers").field(&self.addrs).finish()
    }
}
