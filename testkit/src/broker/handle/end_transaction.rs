//! END_TRANSACTION (37).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{StoredMessage, TransactionType, property_names};
use rocketmq_sdk::protocol::request::end_transaction::EndTransaction;

use crate::broker::Broker;
use crate::broker::transactions::{NOT_FOUND, late_after};
use crate::net::call::{Call, Refusal};

const COMMIT: i32 = TransactionType::Commit.bits();
const ROLLBACK: i32 = TransactionType::Rollback.bits();

/// What is neither a commit nor a rollback is not answered.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: EndTransaction<'_> = call.header()?;
    if ![COMMIT, ROLLBACK].contains(&request.commit_or_rollback) {
        return Ok(());
    }
    let Some(stored) = broker.store.at(request.commit_log_offset) else {
        return Err(Refusal::failed(NOT_FOUND));
    };
    let half = StoredMessage::decode(&mut stored.clone())?;
    if broker.is_too_late(&request, &half) {
        return Err(Refusal::new(ResponseCode::ILLEGAL_OPERATION, ""));
    }
    check(&request, &half)?;
    broker.end_transaction(&half, request.commit_or_rollback == COMMIT)?;
    call.done();
    Ok(())
}

impl Broker {
    /// Whether the producer should be asked first: a message that says when that may be is not ended after that otherwise.
    fn is_too_late(&self, request: &EndTransaction<'_>, half: &StoredMessage) -> bool {
        request.from_transaction_check != Some(true)
            && late_after(half)
                .is_some_and(|age| self.now.saturating_sub(half.born_timestamp) > age)
    }
}

fn check(request: &EndTransaction<'_>, half: &StoredMessage) -> Result<(), Refusal> {
    if half.property(property_names::PRODUCER_GROUP) != Some(&request.producer_group) {
        Err(Refusal::failed("The producer group wrong"))
    } else if half.queue_offset != request.tran_state_table_offset {
        Err(Refusal::failed("The transaction state table offset wrong"))
    } else {
        Ok(())
    }
}
