//! What brokers ask of a member, because a tool asks them: to move its offsets (220), which offsets it holds (221), what it is
//! doing (307), and to consume a message (309).
//!
//! Does not know: how a queue begins again, what is counted, and how a listener is run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use crate::client::Member;
use crate::consumer::group::Group;
use crate::message::{MessageExt, MessageQueue};
use crate::protocol::DecodeError;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::Command;
use crate::protocol::java_json;
use crate::protocol::message::{OffsetTable, StoredMessage};
use crate::protocol::request::Request;
use crate::protocol::request::consume_directly::ConsumeDirectly;
use crate::protocol::request::consumer_running_info::{
    ConsumerRunningInfoBody, GetConsumerRunningInfo, property,
};
use crate::protocol::request::consumer_status::{ConsumerStatusBody, GetConsumerStatus};
use crate::protocol::request::heartbeat::HeartbeatBody;
use crate::protocol::request::reset_offset::ResetOffset;
use crate::transport::Connection;

/// What tools are told of the client.
const VERSION: &str = concat!("rocketmq-sdk ", env!("CARGO_PKG_VERSION"));

/// How long a broker waits for what a listener says to a tool's message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a request.
enum Served {
    /// It is meant for somebody else.
    NotOurs,
    /// There is no answer, or it comes later.
    Done,
    Answer(Bytes),
    Refused(ResponseCode, &'static str),
}

impl Group {
    /// Serves a broker's request. False if it is not meant for this member.
    pub(super) fn serve(self: &Arc<Self>, from: &Connection, command: &Command) -> bool {
        let served = match command.request_code() {
            ResetOffset::CODE => self.reset_offsets(command),
            GetConsumerStatus::CODE => self.offsets_of_topic(command),
            GetConsumerRunningInfo::CODE => self.running_info(command),
            ConsumeDirectly::CODE => self.consume_directly(from, command),
            _ => return false,
        };
        let code = command.request_code();
        let sent = match served {
            Ok(Served::NotOurs) => return false,
            Ok(Served::Done) => Ok(()),
            Ok(Served::Answer(body)) => from.respond(command, ResponseCode::SUCCESS, None, &body),
            Ok(Served::Refused(code, why)) => from.respond(command, code, Some(why), &Bytes::new()),
            Err(error) => {
                debug!(%code, %error, addr = %from.addr(), "a request that cannot be read");
                let (code, remark) = (ResponseCode::SYSTEM_ERROR, error.to_string());
                from.respond(command, code, Some(&remark), &Bytes::new())
            }
        };
        if let Err(error) = sent {
            debug!(%code, %error, addr = %from.addr(), "cannot answer a request");
        }
        true
    }

    fn is_named(&self, group: &str) -> bool {
        *self.client().namespace().unwrap(group) == *self.name()
    }

    /// Takes those queues over again whose offsets are given, and begins there.
    fn reset_offsets(self: &Arc<Self>, command: &Command) -> Result<Served, DecodeError> {
        let header: ResetOffset<'_> = command.header()?;
        if !self.is_named(&header.group) {
            return Ok(Served::NotOurs);
        }
        let OffsetTable { offset_table } = OffsetTable::decode(&command.body)?;
        info!(group = self.name(), topic = %header.topic, queues = offset_table.len(), "offsets are reset");
        let namespace = self.client().namespace();
        for (mut queue, offset) in offset_table {
            queue.topic = namespace.unwrap(&queue.topic).into();
            if offset >= 0 {
                self.reset(&queue, offset);
            }
        }
        Ok(Served::Done)
    }

    /// The next offset to consume of each queue of a topic that the member has.
    fn offsets_of_topic(&self, command: &Command) -> Result<Served, DecodeError> {
        let header: GetConsumerStatus<'_> = command.header()?;
        if !self.is_named(&header.group) {
            return Ok(Served::NotOurs);
        }
        let owned = self.owned().into_iter();
        let offsets = owned.filter_map(|owned| {
            let queue = self.called_outside(owned.queue());
            (*queue.topic == *header.topic).then_some((queue, owned.safe_offset()?))
        });
        json(&ConsumerStatusBody {
            message_queue_table: offsets.collect(),
            ..ConsumerStatusBody::default()
        })
    }

    fn running_info(&self, command: &Command) -> Result<Served, DecodeError> {
        let header: GetConsumerRunningInfo<'_> = command.header()?;
        if !self.is_named(&header.consumer_group) {
            return Ok(Served::NotOurs);
        }
        let namespace = self.client().namespace();
        let mut told = HeartbeatBody::default();
        self.profile().describe(&mut told);
        let told = told.consumer_data_set.pop();
        let (consume_type, mut subscription_set) = told.map_or_else(Default::default, |told| {
            (told.consume_type, told.subscription_data_set)
        });
        for subscription in &mut subscription_set {
            subscription.topic = namespace.wrap(&subscription.topic).into_owned();
        }
        let (now, now_millis) = (Instant::now(), self.client().now_millis());
        let owned = self.owned().into_iter();
        let mq_table = owned.map(|owned| {
            let info = owned.info(now, now_millis);
            (self.called_outside(owned.queue()), info)
        });
        let status = self.stats().status(now).into_iter();
        json(&ConsumerRunningInfoBody {
            properties: self.properties(consume_type),
            subscription_set,
            mq_table: mq_table.collect(),
            status_table: status
                .map(|(topic, status)| (namespace.wrap(&topic).into_owned(), status))
                .collect(),
            ..ConsumerRunningInfoBody::default()
        })
    }

    /// Has a listener consume the message in the body, beside those of the queues, and answers with what it says. No offset moves.
    fn consume_directly(
        self: &Arc<Self>,
        from: &Connection,
        command: &Command,
    ) -> Result<Served, DecodeError> {
        let header: ConsumeDirectly<'_> = command.header()?;
        if !self.is_named(&header.consumer_group) || self.sink().concurrency().is_none() {
            return Ok(Served::NotOurs);
        }
        let stored = StoredMessage::decode(&mut command.body.clone())?;
        if self.is_leaving() || self.suspension().is_on() {
            let why = "the consumer is suspended, or ends";
            return Ok(Served::Refused(ResponseCode::SYSTEM_ERROR, why));
        }
        let namespace = self.client().namespace();
        let queue = MessageQueue {
            topic: namespace.unwrap(&stored.topic).into(),
            broker_name: header.broker_name.unwrap_or_default().into(),
            queue_id: stored.queue_id,
        };
        info!(group = self.name(), %queue, offset = stored.queue_offset, "a tool has a message consumed");
        let mut message = MessageExt::new(stored, queue);
        message.leave(namespace);
        let Some(said) = Arc::clone(self.sink()).consume_directly(self, message) else {
            let why = "too many messages of tools wait for the listeners";
            return Ok(Served::Refused(ResponseCode::SYSTEM_BUSY, why));
        };
        let (to, command) = (from.clone(), command.clone());
        self.spawn("consume directly", async move {
            // Nobody has to say anything to a broker that has given up; a listener that has not begun does not begin then.
            if let Ok(Ok(said)) = timeout(PATIENCE, said).await {
                // Names and numbers are always JSON.
                let body = java_json::to_vec(&said).unwrap_or_default().into();
                if let Err(error) = to.respond(&command, ResponseCode::SUCCESS, None, &body) {
                    debug!(%error, addr = %to.addr(), "cannot answer a request");
                }
            }
        });
        Ok(Served::Done)
    }

    fn properties(&self, consume_type: String) -> BTreeMap<String, String> {
        let name_servers = self.client().config().name_servers().iter();
        let name_servers: String = name_servers.map(|addr| format!("{addr};")).collect();
        let concurrency = self.sink().concurrency().unwrap_or_default();
        let properties = [
            (property::NAME_SERVERS, name_servers),
            (property::CONCURRENCY, concurrency.to_string()),
            (property::ORDERLY, false.to_string()),
            (property::CONSUME_TYPE, consume_type),
            (property::CLIENT_VERSION, VERSION.to_owned()),
            (property::STARTED, self.started().to_string()),
        ];
        properties
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// The queue as tools call it.
    fn called_outside(&self, queue: &MessageQueue) -> MessageQueue {
        MessageQueue {
            topic: self.client().namespace().wrap(&queue.topic).into(),
            ..queue.clone()
        }
    }
}

fn json(body: &impl Serialize) -> Result<Served, DecodeError> {
    // Names and numbers are always JSON.
    let body = java_json::to_vec(body).unwrap_or_default();
    Ok(Served::Answer(body.into()))
}
