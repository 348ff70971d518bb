//! SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32).
//!
//! A queue that does not exist is an empty one, as with Apache RocketMQ.

use rocketmq_sdk::protocol::request::queue_offset::{
    GetEarliestStoreTime, GetMaxOffset, GetMinOffset, QueueOffsetResponse, SearchOffset,
    StoreTimeResponse,
};

use crate::broker::Broker;
use crate::broker::store::Boundary;
use crate::net::call::{Call, Refusal};

pub(super) fn search(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: SearchOffset<'_> = call.header()?;
    let boundary = match request.boundary_type.as_deref() {
        Some(upper) if upper.eq_ignore_ascii_case("upper") => Boundary::Upper,
        _ => Boundary::Lower,
    };
    let offset = broker
        .store
        .find_queue(&request.topic, request.queue_id)
        .map_or(0, |queue| {
            broker.store.offset_at(queue, request.timestamp, boundary)
        });
    call.answer(&QueueOffsetResponse { offset });
    Ok(())
}

pub(super) fn max(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetMaxOffset<'_> = call.header()?;
    let offset = broker
        .store
        .find_queue(&request.topic, request.queue_id)
        .map_or(0, |queue| broker.store.max_offset(queue));
    call.answer(&QueueOffsetResponse { offset });
    Ok(())
}

pub(super) fn min(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetMinOffset<'_> = call.header()?;
    let offset = broker
        .store
        .find_queue(&request.topic, request.queue_id)
        .map_or(0, |queue| broker.store.min_offset(queue));
    call.answer(&QueueOffsetResponse { offset });
    Ok(())
}

pub(super) fn earliest(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetEarliestStoreTime<'_> = call.header()?;
    let timestamp = broker
        .store
        .find_queue(&request.topic, request.queue_id)
        .and_then(|queue| {
            let first = broker.store.min_offset(queue);
            broker.store.read(queue, first).next()
        })
        .map_or(-1, |first| first.store_time);
    call.answer(&StoreTimeResponse { timestamp });
    Ok(())
}
