//! What brokers ask of a client. Connections only queue it; a task of the client answers.

use std::sync::Weak;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

use crate::client::Inner;
use crate::client::registry::MemberKind;
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::Command;
use crate::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;
use crate::transport::{Connection, Inbound};

/// How many requests of brokers may wait. A broker that sends more is told that we are busy.
const QUEUE: usize = 1024;

pub(super) type Request = (Connection, Command);

pub(super) fn queue() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(QUEUE)
}

/// The client's end of its connections.
pub(super) struct ClientInbound {
    inner: Weak<Inner>,
    requests: mpsc::Sender<Request>,
}

impl ClientInbound {
    pub(super) const fn new(inner: Weak<Inner>, requests: mpsc::Sender<Request>) -> Self {
        Self { inner, requests }
    }
}

impl Inbound for ClientInbound {
    fn connected(&self, connection: &Connection) {
        if let Some(inner) = self.inner.upgrade() {
            inner.greet(connection);
        }
    }

    fn request(&self, from: &Connection, command: Command) {
        if let Err(refused) = self.requests.try_send((from.clone(), command)) {
            let (_, command) = refused.into_inner();
            respond(
                from,
                &command,
                ResponseCode::SYSTEM_BUSY,
                "the client's queue of requests is full",
            );
        }
    }
}

impl Inner {
    /// Answers requests until the connections are gone.
    pub(super) async fn serve(&self, mut requests: mpsc::Receiver<Request>) {
        while let Some((from, command)) = requests.recv().await {
            self.serve_one(&from, &command);
        }
    }

    fn serve_one(&self, from: &Connection, command: &Command) {
        if command.request_code() == RequestCode::NOTIFY_CONSUMER_IDS_CHANGED {
            match command.header::<NotifyConsumerIdsChanged<'_>>() {
                Ok(header) => {
                    let group = self.namespace.unwrap(&header.consumer_group);
                    if let Some(member) = self.registry.find(MemberKind::Consumer, &group) {
                        member.group_changed();
                    }
                }
                Err(error) => {
                    debug!(%error, addr = %from.addr(), "notification that cannot be read")
                }
            }
            return;
        }
        if command.request_code() == RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT {
            self.take_reply(from, command);
            return;
        }
        if self
            .registry
            .all()
            .iter()
            .any(|member| member.request(from, command))
        {
            return;
        }
        let remark = format!("this client does not serve {}", command.request_code());
        respond(
            from,
            command,
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            &remark,
        );
    }

    /// Takes a reply. The broker hears that it arrived, whether anybody waits for it or not.
    fn take_reply(&self, from: &Connection, command: &Command) {
        let broker_name = self.routes.broker_at(from.addr()).unwrap_or_default();
        let taken = self.replies.take(command, &broker_name, self.now_millis());
        let answered = match taken {
            Ok(()) => from.respond(command, ResponseCode::SUCCESS, None, &Bytes::new()),
            Err(error) => {
                debug!(%error, addr = %from.addr(), "a reply that cannot be read");
                let remark = Some("process reply message fail");
                from.respond(command, ResponseCode::SYSTEM_ERROR, remark, &Bytes::new())
            }
        };
        if let Err(error) = answered {
            debug!(%error, addr = %from.addr(), "cannot answer a request");
        }
    }
}

fn respond(to: &Connection, command: &Command, code: ResponseCode, remark: &str) {
    if let Err(error) = to.respond(command, code, Some(remark), &Bytes::new()) {
        debug!(%error, addr = %to.addr(), "cannot answer a request");
    }
}
