//! PUT_KV_CONFIG (100), GET_KV_CONFIG (101), DELETE_KV_CONFIG (102).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::kv_config::{
    DeleteKvConfig, GetKvConfig, GetKvConfigResponse, PutKvConfig,
};

use crate::name_server::State;
use crate::net::call::{Call, Refusal};

/// How many entries there may be, and how long one, in bytes.
const MAX_ENTRIES: usize = 10_000;
const MAX_LEN: usize = 16 * 1024;

pub(super) fn put(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let entry: PutKvConfig<'_> = call.header()?;
    let count: usize = state.kv.values().map(|entries| entries.len()).sum();
    let known = state
        .kv
        .get(&*entry.namespace)
        .is_some_and(|entries| entries.contains_key(&*entry.key));
    if count >= MAX_ENTRIES && !known {
        let remark = format!("no more than {MAX_ENTRIES} entries");
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    let len = entry.namespace.len() + entry.key.len() + entry.value.len();
    if len > MAX_LEN {
        let remark = format!("an entry of {len} bytes, of at most {MAX_LEN}");
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    state
        .kv
        .entry(entry.namespace.into_owned())
        .or_default()
        .insert(entry.key.into_owned(), entry.value.into_owned());
    call.done();
    Ok(())
}

pub(super) fn get(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let entry: GetKvConfig<'_> = call.header()?;
    let Some(value) = state.kv_entry(&entry.namespace, &entry.key) else {
        let remark = format!(
            "No config item, Namespace: {} Key: {}",
            entry.namespace, entry.key
        );
        return Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark));
    };
    call.answer(&GetKvConfigResponse {
        value: Some(value.into()),
    });
    Ok(())
}

pub(super) fn delete(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let entry: DeleteKvConfig<'_> = call.header()?;
    if let Some(entries) = state.kv.get_mut(&*entry.namespace) {
        entries.remove(&*entry.key);
        if entries.is_empty() {
            state.kv.remove(&*entry.namespace);
        }
    }
    call.done();
    Ok(())
}

impl State {
    /// An entry's value.
    pub(super) fn kv_entry(&self, namespace: &str, key: &str) -> Option<&str> {
        let value = self.kv.get(namespace)?.get(key)?;
        Some(value)
    }
}
