//! The transactions whose state somebody here is finding out, and where their half messages are. Pure.
//!
//! A broker writes a half message once more when it asks about it, and from then on only the new one counts: whoever ends the old
//! one has the message delivered, and is asked about the new one all the same. So the newest place of a half message is kept for as
//! long as its state is being found out.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::producer::result::SendResult;
use crate::producer::transaction::TransactionState;
use crate::protocol::message::{OffsetMessageId, TransactionType};
use crate::protocol::request::check_transaction_state::CheckTransactionState;
use crate::protocol::request::end_transaction::EndTransaction;

/// Where a half message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HalfPlace {
    /// The address of the broker that asked about it; `None` where it was only sent.
    pub(super) asked_from: Option<Arc<str>>,
    topic: Option<Box<str>>,
    broker_name: Option<Box<str>>,
    transaction_id: Option<Box<str>>,
    table_offset: i64,
    /// `None` where the broker's id of the message says nothing.
    log_offset: Option<i64>,
}

impl HalfPlace {
    /// Where a half message was stored.
    pub(super) fn of(result: &SendResult) -> Self {
        let id = result.offset_msg_id().parse::<OffsetMessageId>();
        Self {
            asked_from: None,
            topic: Some((&*result.queue().topic).into()),
            broker_name: Some((&*result.queue().broker_name).into()),
            transaction_id: result.transaction_id().map(Into::into),
            table_offset: result.queue_offset(),
            log_offset: id.ok().map(|id| id.physical_offset),
        }
    }

    /// Where the half message is that a broker asks about.
    pub(super) fn asked(from: &Arc<str>, header: &CheckTransactionState<'_>) -> Self {
        Self {
            asked_from: Some(Arc::clone(from)),
            topic: header.topic.as_deref().map(Into::into),
            broker_name: header.broker_name.as_deref().map(Into::into),
            transaction_id: header.transaction_id.as_deref().map(Into::into),
            table_offset: header.tran_state_table_offset,
            log_offset: Some(header.commit_log_offset),
        }
    }

    /// What ends the transaction; `None` where nobody can.
    pub(super) fn end<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        state: TransactionState,
    ) -> Option<EndTransaction<'a>> {
        let kind = match state {
            TransactionState::Commit => TransactionType::Commit,
            TransactionState::Rollback => TransactionType::Rollback,
            TransactionState::Unknown => TransactionType::None,
        };
        Some(EndTransaction {
            topic: self.topic.as_deref().map(Into::into),
            producer_group: group.into(),
            tran_state_table_offset: self.table_offset,
            commit_log_offset: self.log_offset?,
            commit_or_rollback: kind.bits(),
            from_transaction_check: Some(self.asked_from.is_some()),
            msg_id: id.into(),
            transaction_id: self.transaction_id.as_deref().map(Into::into),
            broker_name: self.broker_name.as_deref().map(Into::into),
        })
    }
}

/// The transactions that somebody here is deciding on, by their ids, with the newest places of their half messages.
#[derive(Debug, Default)]
pub(super) struct OpenTransactions {
    newest: Mutex<HashMap<Box<str>, HalfPlace>>,
}

/// A transaction that its holder decides on. Dropping it lets others do that.
#[derive(Debug)]
#[must_use]
pub(super) struct Opened {
    table: Arc<OpenTransactions>,
    id: Box<str>,
    /// Where the half message was when it was opened.
    place: HalfPlace,
    /// Whether another one decides on it, too, and has the entry.
    beside: bool,
}

impl OpenTransactions {
    /// Opens a transaction that is begun here.
    pub(super) fn begin(self: &Arc<Self>, id: &str, place: HalfPlace) -> Opened {
        let mut newest = self.newest.lock();
        let beside = newest.contains_key(id);
        if !beside {
            newest.insert(id.into(), place.clone());
        }
        Opened {
            table: Arc::clone(self),
            id: id.into(),
            place,
            beside,
        }
    }

    /// Opens a transaction that a broker asks about. `None` when somebody decides on it already: they will answer, for this place.
    pub(super) fn ask(self: &Arc<Self>, id: &str, place: HalfPlace) -> Option<Opened> {
        if let Some(newest) = self.newest.lock().get_mut(id) {
            *newest = place;
            return None;
        }
        Some(self.begin(id, place))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.newest.lock().len()
    }
}

impl Opened {
    /// The newest place of the half message, after its state was found out.
    pub(super) fn close(self) -> HalfPlace {
        let newest = self.table.newest.lock().get(&self.id).cloned();
        newest.unwrap_or_else(|| self.place.clone())
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.beside {
            self.table.newest.lock().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> HalfPlace {
        let header = CheckTransactionState {
            topic: Some("RMQ_SYS_TRANS_HALF_TOPIC".into()),
            tran_state_table_offset: offset,
            commit_log_offset: offset * 100,
            transaction_id: Some("ID".into()),
            ..CheckTransactionState::default()
        };
        HalfPlace::asked(&"b:1".into(), &header)
    }

    #[test]
    fn who_decides_answers_for_the_newest_place() {
        let table = Arc::<OpenTransactions>::default();
        let opened = table.begin("ID", place(1));
        assert!(table.ask("ID", place(2)).is_none());
        assert!(table.ask("ID", place(3)).is_none());
        let other = table.ask("OTHER", place(9)).unwrap();
        assert_eq!((opened.close(), other.close()), (place(3), place(9)));
        assert_eq!(table.len(), 0);
        // Nobody decides any more, so the next question is somebody's to answer.
        assert!(table.ask("ID", place(4)).is_some());
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        let table = Arc::<OpenTransactions>::default();
        drop(table.begin("ID", place(1)));
        assert_eq!(table.len(), 0);
        let first = table.begin("ID", place(1));
        let second = table.begin("ID", place(2));
        drop(second);
        assert!(table.ask("ID", place(3)).is_none());
        assert_eq!(first.close(), place(3));
    }

    #[test]
    fn an_end_says_what_java_s_says() {
        let place = place(7);
        for (state, bits) in [
            (TransactionState::Commit, 8),
            (TransactionState::Rollback, 12),
            (TransactionState::Unknown, 0),
        ] {
            let end = place.end("g", "ID", state).unwrap();
            assert_eq!(
                (end.commit_or_rollback, end.from_transaction_check),
                (bits, Some(true))
            );
            assert_eq!(
                (end.tran_state_table_offset, end.commit_log_offset),
                (7, 700)
            );
            assert_eq!((&*end.producer_group, &*end.msg_id), ("g", "ID"));
            assert_eq!(end.transaction_id.as_deref(), Some("ID"));
        }
    }
}
