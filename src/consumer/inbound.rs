//! What brokers ask of a member, because a tool asks them: to move its offsets (220), which offsets it holds (221), and what it is
//! doing (307).
//!
//! Does not know: how a queue begins again, and what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::client::Member;
use crate::consumer::group::Group;
use crate::message::MessageQueue;
use crate::protocol::DecodeError;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::Command;
use crate::protocol::java_json;
use crate::protocol::message::OffsetTable;
use crate::protocol::request::Request;
use crate::protocol::request::consumer_running_info::{
    ConsumerRunningInfoBody, GetConsumerRunningInfo, property,
};
use crate::protocol::request::consumer_status::{ConsumerStatusBody, GetConsumerStatus};
use crate::protocol::request::heartbeat::HeartbeatBody;
use crate::protocol::request::reset_offset::ResetOffset;
use crate::transport::Connection;

/// What tools are told of the client.
const VERSION: &str = concat!("rocketmq-sdk ", env!("CARGO_PKG_VERSION"));

/// What became of a request.
enum Served {
    /// It is meant for somebody else.
    NotOurs,
    Done,
    Answer(Bytes),
}

impl Group {
    /// Serves a broker's request. False if it is not meant for this member.
    pub(super) fn serve(self: &Arc<Self>, from: &Connection, command: &Command) -> bool {
        let served = match command.request_code() {
            ResetOffset::CODE => self.reset_offsets(command),
            GetConsumerStatus::CODE => self.offsets_of_topic(command),
            GetConsumerRunningInfo::CODE => self.running_info(command),
            _ => return false,
        };
        let code = command.request_code();
        let sent = match served {
            Ok(Served::NotOurs) => return false,
            Ok(Served::Done) => Ok(()),
            Ok(Served::Answer(body)) => from.respond(command, ResponseCode::SUCCESS, None, &body),
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
