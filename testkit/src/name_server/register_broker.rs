//! REGISTER_BROKER (103) and UNREGISTER_BROKER (104).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::register_broker::{
    RegisterBroker, RegisterBrokerBody, RegisterBrokerResponse, UnregisterBroker,
};

use crate::name_server::State;
use crate::name_server::table::Registration;
use crate::net::call::{Call, Refusal};

pub(super) fn register(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: RegisterBroker<'_> = call.header()?;
    if header.compressed == Some(true) {
        return Err(Refusal::new(
            ResponseCode::SYSTEM_ERROR,
            "compressed registrations are not read",
        ));
    }
    let body: RegisterBrokerBody = if call.request.body.is_empty() {
        RegisterBrokerBody::default()
    } else {
        call.json("registration")?
    };
    let known = state.routes.register(Registration {
        cluster: &header.cluster_name,
        broker: &header.broker_name,
        broker_id: header.broker_id,
        addr: &header.broker_addr,
        ha_addr: &header.ha_server_addr,
        topics: body.topic_config_serialize_wrapper.topic_config_table,
        connection: call.peer.id,
    });
    if !known {
        return Err(Refusal::new(
            ResponseCode::SYSTEM_ERROR,
            "register broker failed",
        ));
    }
    // Only slaves are told where their master is.
    let master = (header.broker_id != 0)
        .then(|| state.routes.master(&header.broker_name))
        .flatten();
    call.answer(&RegisterBrokerResponse {
        ha_server_addr: master.map(|master| master.ha_addr.as_str().into()),
        master_addr: master.map(|master| master.addr.as_str().into()),
    });
    Ok(())
}

pub(super) fn unregister(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: UnregisterBroker<'_> = call.header()?;
    state
        .routes
        .unregister(&header.broker_name, header.broker_id, &header.broker_addr);
    call.done();
    Ok(())
}
