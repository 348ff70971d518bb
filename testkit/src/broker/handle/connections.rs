//! GET_CONSUMER_CONNECTION_LIST (203) and GET_PRODUCER_CONNECTION_LIST (204).

use std::collections::BTreeMap;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::connections::{
    Connection, ConsumerConnectionsBody, GetConsumerConnections, GetProducerConnections,
    ProducerConnectionsBody,
};

use crate::broker::Broker;
use crate::broker::groups::Member;
use crate::net::call::{Call, Refusal};

pub(super) fn consumers(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetConsumerConnections<'_> = call.header()?;
    let Some(group) = broker.groups.consumer(&request.consumer_group) else {
        let remark = format!("the consumer group[{}] not online", request.consumer_group);
        return Err(Refusal::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
    };
    call.answer_json(&ConsumerConnectionsBody {
        connection_set: connections(&group.members),
        subscription_table: group
            .subscriptions
            .iter()
            .map(|(topic, subscription)| (topic.clone(), subscription.data.clone()))
            .collect(),
        consume_type: group.consume_type.clone(),
        message_model: group.message_model.clone(),
        consume_from_where: group.consume_from_where.clone(),
    })
}

pub(super) fn producers(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetProducerConnections<'_> = call.header()?;
    let Some(members) = broker.groups.producers(&request.producer_group) else {
        let remark = format!("the producer group[{}] not exist", request.producer_group);
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    };
    call.answer_json(&ProducerConnectionsBody {
        connection_set: connections(members),
    })
}

fn connections(members: &BTreeMap<u64, Member>) -> Vec<Connection> {
    members
        .values()
        .map(|member| Connection {
            client_id: member.client_id.clone(),
            client_addr: member.peer.addr.to_string(),
            language: member.language.name().to_owned(),
            version: member.version,
        })
        .collect()
}
