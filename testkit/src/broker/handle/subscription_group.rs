//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), DELETE_SUBSCRIPTIONGROUP (207) and
//! GET_SUBSCRIPTIONGROUP_CONFIG (352).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::register_broker::DataVersion;
use rocketmq_sdk::protocol::request::subscription_group::{
    DeleteGroup, GetGroup, GroupConfig, GroupsBody,
};

use crate::broker::MAX_QUEUES;
use crate::broker::{Broker, names};
use crate::net::call::{Call, Refusal};

pub(super) fn put(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let config: GroupConfig = call.json("consumer group")?;
    names::check_group(&config.group_name)
        .map_err(|why| Refusal::new(ResponseCode::INVALID_PARAMETER, why.to_string()))?;
    if !(0..=MAX_QUEUES).contains(&config.retry_queue_nums) {
        let remark = format!(
            "{} retry queues, of 0 to {MAX_QUEUES}",
            config.retry_queue_nums
        );
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    if !broker.groups.put_config(config) {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "too many groups"));
    }
    call.done();
    Ok(())
}

pub(super) fn get(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetGroup<'_> = call.header()?;
    let Some(config) = broker.groups.config(&request.group) else {
        return Err(Refusal::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            "No group in this broker",
        ));
    };
    call.answer_json(config)
}

pub(super) fn list(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let subscription_group_table = broker
        .groups
        .configs()
        .map(|config| (config.group_name.clone(), config.clone()))
        .collect();
    call.answer_json(&GroupsBody {
        subscription_group_table,
        data_version: DataVersion::default(),
    })
}

pub(super) fn delete(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: DeleteGroup<'_> = call.header()?;
    broker.groups.delete_config(&request.group_name);
    if request.clean_offset.or(request.remove_offset) == Some(true) {
        broker.offsets.delete_group(&request.group_name);
    }
    call.done();
    Ok(())
}
