//! GET_CONSUMER_RUNNING_INFO (307): asks a member of a group what it is doing, and hands its answer on as it is.

use std::slice;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::fields::NoFields;
use rocketmq_sdk::protocol::request::Request;
use rocketmq_sdk::protocol::request::consumer_running_info::GetConsumerRunningInfo;

use crate::broker::Broker;
use crate::broker::relays::Outcome;
use crate::net::call::{Answer, Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetConsumerRunningInfo<'_> = call.header()?;
    let member = (&*request.consumer_group, &*request.client_id);
    let body = call.request.body.clone();
    ask_member(broker, call, member, &request, &body)
}

/// Asks the member with this client id of a group, and hands its answer on.
pub(super) fn ask_member<'a, R: Request<'a>>(
    broker: &mut Broker,
    call: &Call<'_>,
    (group, client_id): (&str, &str),
    request: &R,
    body: &Bytes,
) -> Result<(), Refusal> {
    let members = broker.groups.consumer(group).into_iter();
    let mut members = members.flat_map(|online| online.members.values());
    let Some(member) = members.find(|member| member.client_id == client_id) else {
        let remark = format!("The Consumer <{group}> <{client_id}> not online");
        return Err(Refusal::failed(remark));
    };
    if !broker.may_relay() {
        let remark = "too many requests to clients are on their way";
        return Err(Refusal::new(ResponseCode::SYSTEM_BUSY, remark));
    }
    let peer = member.peer.clone();
    let later = call.later();
    let who = format!("consumer <{group}> <{client_id}>");
    broker.relay(&peer, request, body, move |outcome| {
        let failed = |code, remark: &str| {
            later.answer_with(&Answer {
                code,
                remark: Some(remark),
                header: &NoFields,
                body: &[],
            });
        };
        match outcome {
            Outcome::Answered(answer) => later.answer_with(&Answer {
                code: answer.response_code(),
                remark: answer.remark.as_deref(),
                header: &NoFields,
                body: slice::from_ref(&answer.body),
            }),
            Outcome::TimedOut => {
                failed(ResponseCode::CONSUME_MSG_TIMEOUT, &format!("{who} Timeout"));
            }
            Outcome::Gone => {
                failed(
                    ResponseCode::SYSTEM_ERROR,
                    &format!("invoke {who} Exception"),
                );
            }
        }
    });
    Ok(())
}
