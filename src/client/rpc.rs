//! One async function for each request: the only place that turns response codes into errors.
//!
//! Topics and groups are called here as the application calls them; on the wire the client's namespace stands before them.
//!
//! Every function takes the peer's address and a deadline. Dropping its future forgets the request: nothing is left but what the
//! peer may do with it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::client::named::{self, Named};
use crate::config::Namespace;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::code::ResponseCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Header;
use crate::protocol::java_json;
use crate::protocol::request::Request;
use crate::protocol::request::connections::{ConsumerConnectionsBody, GetConsumerConnections};
use crate::protocol::request::consumer_list::{ConsumerListBody, GetConsumerList};
use crate::protocol::request::consumer_offset::{
    QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset,
};
use crate::protocol::request::end_transaction::EndTransaction;
use crate::protocol::request::heartbeat::Heartbeat;
use crate::protocol::request::pull_message::{PullMessage, PullMessageResponse};
use crate::protocol::request::query_assignment::{
    Assignment, AssignmentBody, QueryAssignment, QueryAssignmentBody,
};
use crate::protocol::request::queue_offset::{GetMaxOffset, QueueOffsetResponse, SearchOffset};
use crate::protocol::request::recall_message::RecallMessage;
use crate::protocol::request::send_back::SendBack;
use crate::protocol::request::send_batch::SendBatch;
use crate::protocol::request::send_message::SendMessage;
use crate::protocol::request::send_reply::SendReply;
use crate::protocol::request::unregister_client::UnregisterClient;
use crate::transport::{Call, CallError, Connection, Pool};

/// Requests to the peers of one client.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pool: Arc<Pool>,
    namespace: Namespace,
}

/// What the body of a send is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Message,
    Batch,
    /// For the client that asked.
    Reply,
}

/// What a pull found.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) status: PullStatus,
    pub(crate) header: PullMessageResponse,
    /// Stored messages, one behind the other.
    pub(crate) messages: Bytes,
}

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullStatus {
    Found,
    NoNewMessage,
    NoMatchedMessage,
    OffsetIllegal,
}

impl Rpc {
    pub(super) const fn new(pool: Arc<Pool>, namespace: Namespace) -> Self {
        Self { pool, namespace }
    }

    /// A copy of the header with the namespace before its names; `None` where there is no namespace.
    fn wrapped<R: Named>(&self, header: &R) -> Option<R> {
        self.namespace.name()?;
        let mut header = header.clone();
        header.wrap(&self.namespace);
        Some(header)
    }

    /// Sends a message on the connection that is there: the hot path, which never waits.
    ///
    /// # Errors
    /// `Ok(None)` when there is no connection; else what the connection says.
    pub(crate) fn begin_send(
        &self,
        addr: &str,
        carries: Carries,
        header: &SendMessage<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Option<Call>, CallError> {
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        self.pool
            .ready(addr)
            .map(|connection| carries.call(&connection, header, body, deadline))
            .transpose()
    }

    /// Sends a message, connecting and waiting for room first where that is needed.
    pub(crate) async fn send(
        &self,
        addr: &Arc<str>,
        carries: Carries,
        header: &SendMessage<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Call, CallError> {
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        self.with_connection(addr, deadline, |connection| {
            carries.call(connection, header, body, deadline)
        })
        .await
    }

    /// Sends a message that is not answered. Returns when it waits to be written.
    pub(crate) async fn send_oneway(
        &self,
        addr: &Arc<str>,
        carries: Carries,
        header: &SendMessage<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<()> {
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        let started = self
            .with_connection(addr, deadline, |connection| {
                carries.oneway(connection, header, body)
            })
            .await;
        started.map_err(|error| error.into_error("send oneway", addr))
    }

    /// Sends a message, and waits until the broker has stored it, be it flushed and replicated or not.
    pub(crate) async fn store(
        &self,
        addr: &Arc<str>,
        header: &SendMessage<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<()> {
        const OPERATION: &str = "send";
        let answer = self.call(OPERATION, addr, header, body, deadline).await?;
        match answer.response_code() {
            ResponseCode::SUCCESS
            | ResponseCode::FLUSH_DISK_TIMEOUT
            | ResponseCode::FLUSH_SLAVE_TIMEOUT
            | ResponseCode::SLAVE_NOT_AVAILABLE => Ok(()),
            _ => Err(refused(OPERATION, addr, &answer)),
        }
    }

    /// Says what becomes of a half message. Returns when it waits to be written: it is not answered.
    pub(crate) async fn end_transaction(
        &self,
        addr: &Arc<str>,
        header: &EndTransaction<'_>,
        remark: Option<&str>,
        deadline: Instant,
    ) -> Result<()> {
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        let started = self
            .with_connection(addr, deadline, |connection| {
                connection.oneway(header, remark, &Bytes::new())
            })
            .await;
        started.map_err(|error| error.into_error("end a transaction", addr))
    }

    /// Takes a timer message back, and waits until the broker has noted it.
    pub(crate) async fn recall(
        &self,
        addr: &Arc<str>,
        header: &RecallMessage<'_>,
        deadline: Instant,
    ) -> Result<()> {
        self.succeed("recall a message", addr, header, &Bytes::new(), deadline)
            .await
            .map(drop)
    }

    /// Pulls messages.
    pub(crate) async fn pull(
        &self,
        addr: &Arc<str>,
        header: &PullMessage<'_>,
        deadline: Instant,
    ) -> Result<Pulled> {
        const OPERATION: &str = "pull";
        let answer = self
            .call(OPERATION, addr, header, &Bytes::new(), deadline)
            .await?;
        let status = match answer.response_code() {
            ResponseCode::SUCCESS => PullStatus::Found,
            ResponseCode::PULL_NOT_FOUND => PullStatus::NoNewMessage,
            ResponseCode::PULL_RETRY_IMMEDIATELY => PullStatus::NoMatchedMessage,
            ResponseCode::PULL_OFFSET_MOVED => PullStatus::OffsetIllegal,
            _ => return Err(refused(OPERATION, addr, &answer)),
        };
        let header = decoded(OPERATION, addr, &answer)?;
        Ok(Pulled {
            status,
            header,
            messages: answer.body,
        })
    }

    /// A group's committed offset; `None` when it has none.
    pub(crate) async fn query_offset(
        &self,
        addr: &Arc<str>,
        header: &QueryConsumerOffset<'_>,
        deadline: Instant,
    ) -> Result<Option<i64>> {
        const OPERATION: &str = "ask for a group's offset";
        let answer = self
            .call(OPERATION, addr, header, &Bytes::new(), deadline)
            .await?;
        match answer.response_code() {
            ResponseCode::SUCCESS => {
                decoded::<QueryConsumerOffsetResponse>(OPERATION, addr, &answer)
                    .map(|found| Some(found.offset))
            }
            ResponseCode::QUERY_NOT_FOUND => Ok(None),
            _ => Err(refused(OPERATION, addr, &answer)),
        }
    }

    /// Commits a group's offset, and waits until the broker has it.
    pub(crate) async fn commit_offset(
        &self,
        addr: &Arc<str>,
        header: &UpdateConsumerOffset<'_>,
        deadline: Instant,
    ) -> Result<()> {
        self.succeed("commit an offset", addr, header, &Bytes::new(), deadline)
            .await
            .map(drop)
    }

    /// The offset behind a queue's last message.
    pub(crate) async fn max_offset(
        &self,
        addr: &Arc<str>,
        header: &GetMaxOffset<'_>,
        deadline: Instant,
    ) -> Result<i64> {
        self.queue_offset("ask for a queue's end", addr, header, deadline)
            .await
    }

    /// The offset of the message that was stored at a time.
    pub(crate) async fn search_offset(
        &self,
        addr: &Arc<str>,
        header: &SearchOffset<'_>,
        deadline: Instant,
    ) -> Result<i64> {
        self.queue_offset("search an offset by time", addr, header, deadline)
            .await
    }

    /// Gives a message back, and waits until the broker has it.
    pub(crate) async fn send_back(
        &self,
        addr: &Arc<str>,
        header: &SendBack<'_>,
        deadline: Instant,
    ) -> Result<()> {
        self.succeed("send a message back", addr, header, &Bytes::new(), deadline)
            .await
            .map(drop)
    }

    /// The client ids of a group's members.
    pub(crate) async fn consumer_ids(
        &self,
        addr: &Arc<str>,
        header: &GetConsumerList<'_>,
        deadline: Instant,
    ) -> Result<Vec<String>> {
        const OPERATION: &str = "ask for a group's members";
        let answer = self
            .succeed(OPERATION, addr, header, &Bytes::new(), deadline)
            .await?;
        java_json::from_slice("members of a group", &answer.body)
            .map(|body: ConsumerListBody| body.consumer_id_list)
            .map_err(|error| {
                Error::new(ErrorKind::Protocol, OPERATION)
                    .at(addr)
                    .caused_by(error)
            })
    }

    /// Who is in a group, and what a broker takes the group to subscribe to.
    pub(crate) async fn members(
        &self,
        addr: &Arc<str>,
        header: &GetConsumerConnections<'_>,
        deadline: Instant,
    ) -> Result<ConsumerConnectionsBody> {
        const OPERATION: &str = "ask what a group subscribes to";
        let answer = self
            .succeed(OPERATION, addr, header, &Bytes::new(), deadline)
            .await?;
        java_json::from_slice("connections of a group", &answer.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, OPERATION)
                .at(addr)
                .caused_by(error)
        })
    }

    /// The queues that a broker gives a member; `None` when it cannot say.
    pub(crate) async fn assignment(
        &self,
        addr: &Arc<str>,
        mut body: QueryAssignmentBody,
        deadline: Instant,
    ) -> Result<Option<Vec<Assignment>>> {
        const OPERATION: &str = "ask for a member's queues";
        named::wrap_question(&mut body, &self.namespace);
        // Strings are always JSON.
        let body = serde_json::to_vec(&body).unwrap_or_default().into();
        let answer = self
            .succeed(OPERATION, addr, &QueryAssignment, &body, deadline)
            .await?;
        let answer: AssignmentBody = java_json::from_slice("member's queues", &answer.body)
            .map_err(|error| {
                Error::new(ErrorKind::Protocol, OPERATION)
                    .at(addr)
                    .caused_by(error)
            })?;
        let mut assignments = answer.message_queue_assignments;
        for one in assignments.iter_mut().flatten() {
            let queue = &mut one.message_queue;
            queue.topic = self.namespace.unwrap(&queue.topic).into();
        }
        Ok(assignments)
    }

    pub(super) async fn heartbeat(
        &self,
        addr: &Arc<str>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<()> {
        self.succeed("heartbeat", addr, &Heartbeat, body, deadline)
            .await
            .map(drop)
    }

    /// Unregisters on a connection that is there: where there is none, the broker has noticed already.
    pub(super) async fn unregister(
        &self,
        connection: &Connection,
        header: &UnregisterClient<'_>,
        deadline: Instant,
    ) -> Result<()> {
        const OPERATION: &str = "unregister";
        let addr = connection.addr();
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        let answer = async { connection.call(header, &Bytes::new(), deadline)?.await };
        let answer = answer
            .await
            .map_err(|error| error.into_error(OPERATION, addr))?;
        succeeded(OPERATION, addr, answer).map(drop)
    }

    /// Every connection that is made and takes calls.
    pub(super) fn live(&self) -> Vec<Connection> {
        self.pool.live()
    }

    /// Forgets addresses that are not wanted and have no live connection.
    pub(super) fn forget_addresses(&self, keep: impl Fn(&str) -> bool) {
        self.pool.retain(keep);
    }

    async fn queue_offset<'h, R: Request<'h> + Named + Sync + Send>(
        &self,
        operation: &'static str,
        addr: &Arc<str>,
        header: &R,
        deadline: Instant,
    ) -> Result<i64> {
        let answer = self
            .succeed(operation, addr, header, &Bytes::new(), deadline)
            .await?;
        decoded::<QueueOffsetResponse>(operation, addr, &answer).map(|found| found.offset)
    }

    async fn succeed<'h, R: Request<'h> + Named + Sync + Send>(
        &self,
        operation: &'static str,
        addr: &Arc<str>,
        header: &R,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Command> {
        let answer = self.call(operation, addr, header, body, deadline).await?;
        succeeded(operation, addr, answer)
    }

    async fn call<'h, R: Request<'h> + Named + Sync + Send>(
        &self,
        operation: &'static str,
        addr: &Arc<str>,
        header: &R,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Command> {
        let own = self.wrapped(header);
        let header = own.as_ref().unwrap_or(header);
        let mut was_sent_away = false;
        loop {
            let answer = async { self.start(addr, header, body, deadline).await?.await };
            match answer.await {
                // Nothing was done. Another server may take the next connection; once, since it may be the same one.
                Ok(answer) if answer.response_code() == ResponseCode::GO_AWAY && !was_sent_away => {
                    was_sent_away = true;
                }
                outcome => return outcome.map_err(|error| error.into_error(operation, addr)),
            }
        }
    }

    async fn start<'h, R: Request<'h> + Named + Sync + Send>(
        &self,
        addr: &Arc<str>,
        header: &R,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Call, CallError> {
        self.with_connection(addr, deadline, |connection| {
            connection.call(header, body, deadline)
        })
        .await
    }

    /// Puts a request on a live connection, as soon as there is one with room.
    async fn with_connection<T>(
        &self,
        addr: &Arc<str>,
        deadline: Instant,
        request: impl Fn(&Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut lost = None;
        loop {
            let connection = match self.pool.ready(addr) {
                Some(connection) if !connection.is_closed() => connection,
                _ => {
                    let connected = self.pool.connect(addr, deadline).await;
                    connected.map_err(|error| match error {
                        // Why the last one ended says more than that there was no time for another.
                        CallError::TimedOut(_) => lost.take().unwrap_or(error),
                        _ => error,
                    })?
                }
            };
            match request(&connection) {
                Err(CallError::Full) => {
                    let room = tokio::time::timeout_at(deadline, connection.room()).await;
                    room.map_err(|_| CallError::Full)?;
                }
                // It ended between the look and the call.
                Err(error @ CallError::Lost(..))
                    if Instant::now() < deadline && connection.is_closed() =>
                {
                    lost = Some(error);
                }
                outcome => return outcome,
            }
        }
    }
}

impl Carries {
    /// Puts the request on a connection, under the code of what it carries.
    fn call(
        self,
        connection: &Connection,
        header: &SendMessage<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Call, CallError> {
        match self {
            Self::Message => connection.call(header, body, deadline),
            Self::Batch => connection.call(&SendBatch(header.clone()), body, deadline),
            Self::Reply => connection.call(&SendReply(header.clone()), body, deadline),
        }
    }

    fn oneway(
        self,
        connection: &Connection,
        header: &SendMessage<'_>,
        body: &Bytes,
    ) -> Result<(), CallError> {
        match self {
            Self::Message => connection.oneway(header, None, body),
            Self::Batch => connection.oneway(&SendBatch(header.clone()), None, body),
            Self::Reply => connection.oneway(&SendReply(header.clone()), None, body),
        }
    }
}

/// The typed header of an answer.
pub(crate) fn decoded<'a, H: Header<'a>>(
    operation: &'static str,
    addr: &Arc<str>,
    answer: &'a Command,
) -> Result<H> {
    answer.header().map_err(|error| {
        Error::new(ErrorKind::Protocol, operation)
            .at(addr)
            .caused_by(error)
    })
}

/// The error of an answer that is none of those that were hoped for.
pub(crate) fn refused(operation: &'static str, addr: &Arc<str>, answer: &Command) -> Error {
    Error::response(operation, answer.response_code(), answer.remark.as_deref()).at(addr)
}

fn succeeded(operation: &'static str, addr: &Arc<str>, answer: Command) -> Result<Command> {
    match answer.response_code() {
        ResponseCode::SUCCESS => Ok(answer),
        _ => Err(refused(operation, addr, &answer)),
    }
}
