//! The transactions whose state somebody here is finding out, and where their half messages are. Pure.
//!
//! A broker writes a half message once more when it asks about it, and from then on only the new one counts: whoever ends the old
//! one has the message delivered, and is asked about the new one all the same. So the newest place of a half message is kept for as
//! long as its state is being found out. Two brokers hold the message where the answer of the first was lost: then both hear the state.

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
    /// The address of the broker that has it; `None` where no route names it.
    pub(super) addr: Option<Arc<str>>,
    pub(super) broker_name: Box<str>,
    /// Whether the broker asked about it.
    asked: bool,
    topic: Option<Box<str>>,
    transaction_id: Option<Box<str>>,
    table_offset: i64,
    /// `None` where the broker's id of the message says nothing.
    log_offset: Option<i64>,
}

impl HalfPlace {
    /// Where a half message was stored, and the address of its broker.
    pub(super) fn of(result: &SendResult, addr: Option<Arc<str>>) -> Self {
        let id = result.offset_msg_id().parse::<OffsetMessageId>();
        Self {
            addr,
            broker_name: (&*result.queue().broker_name).into(),
            asked: false,
            topic: Some((&*result.queue().topic).into()),
            transaction_id: result.transaction_id().map(Into::into),
            table_offset: result.queue_offset(),
            log_offset: id.ok().map(|id| id.physical_offset),
        }
    }

    /// Where the half message is that the broker of this name asks about.
    pub(super) fn asked(
        from: &Arc<str>,
        broker_name: &str,
        header: &CheckTransactionState<'_>,
    ) -> Self {
        Self {
            addr: Some(Arc::clone(from)),
            broker_name: broker_name.into(),
            asked: true,
            topic: header.topic.as_deref().map(Into::into),
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
            from_transaction_check: Some(self.asked),
            msg_id: id.into(),
            transaction_id: self.transaction_id.as_deref().map(Into::into),
            broker_name: Some((&*self.broker_name).into()),
        })
    }
}

/// The transactions that somebody here is deciding on, by their ids.
#[derive(Debug, Default)]
pub(super) struct OpenTransactions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// As a rule one decides on a transaction.
    deciders: HashMap<Box<str>, Vec<Decider>>,
    last: u64,
}

/// Somebody who decides on a transaction.
#[derive(Debug)]
struct Decider {
    number: u64,
    /// The newest place of the half message on each broker that has it.
    places: Vec<HalfPlace>,
}

/// A transaction that its holder decides on. Dropping it lets others do that.
#[derive(Debug)]
#[must_use]
pub(super) struct Opened {
    open: Arc<OpenTransactions>,
    id: Box<str>,
    number: u64,
}

impl OpenTransactions {
    /// Opens a transaction that is begun here.
    pub(super) fn begin(self: &Arc<Self>, id: &str, place: HalfPlace) -> Opened {
        self.open(&mut self.table.lock(), id, place)
    }

    /// Opens a transaction that a broker asks about. `None` when somebody decides on it already: they will answer, for this place too.
    pub(super) fn ask(self: &Arc<Self>, id: &str, place: HalfPlace) -> Option<Opened> {
        let mut table = self.table.lock();
        match table.deciders.get_mut(id) {
            Some(deciders) => {
                note(deciders, place);
                None
            }
            None => Some(self.open(&mut table, id, place)),
        }
    }

    fn open(self: &Arc<Self>, table: &mut Table, id: &str, place: HalfPlace) -> Opened {
        table.last += 1;
        let decider = Decider {
            number: table.last,
            places: vec![place],
        };
        table.deciders.entry(id.into()).or_default().push(decider);
        Opened {
            open: Arc::clone(self),
            id: id.into(),
            number: table.last,
        }
    }

    fn take(&self, id: &str, number: u64) -> Vec<HalfPlace> {
        let mut table = self.table.lock();
        let Some(deciders) = table.deciders.get_mut(id) else {
            return Vec::new();
        };
        let at = deciders.iter().position(|decider| decider.number == number);
        let taken = at.map(|at| deciders.remove(at).places);
        if deciders.is_empty() {
            table.deciders.remove(id);
        }
        taken.unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.lock().deciders.len()
    }
}

/// Has whoever decides on a place's broker know the new place; else whoever began last.
fn note(deciders: &mut [Decider], place: HalfPlace) {
    let same = |known: &&mut HalfPlace| known.broker_name == place.broker_name;
    let mut known = deciders.iter_mut().flat_map(|decider| &mut decider.places);
    if let Some(known) = known.find(same) {
        *known = place;
    } else if let Some(last) = deciders.last_mut() {
        last.places.push(place);
    }
}

impl Opened {
    /// Where the half message is by now, after its state was found out: one place for each broker.
    pub(super) fn close(self) -> Vec<HalfPlace> {
        self.open.take(&self.id, self.number)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.open.take(&self.id, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> HalfPlace {
        place_on("b", offset)
    }

    fn place_on(broker_name: &str, offset: i64) -> HalfPlace {
        let header = CheckTransactionState {
            topic: Some("RMQ_SYS_TRANS_HALF_TOPIC".into()),
            tran_state_table_offset: offset,
            commit_log_offset: offset * 100,
            transaction_id: Some("ID".into()),
            ..CheckTransactionState::default()
        };
        HalfPlace::asked(&"b:1".into(), broker_name, &header)
    }

    #[test]
    fn who_decides_answers_for_the_newest_place() {
        let table = Arc::<OpenTransactions>::default();
        let opened = table.begin("ID", place(1));
        assert!(table.ask("ID", place(2)).is_none());
        assert!(table.ask("ID", place(3)).is_none());
        let other = table.ask("OTHER", place(9)).unwrap();
        assert_eq!(opened.close(), [place(3)]);
        assert_eq!(other.close(), [place(9)]);
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
        assert_eq!(first.close(), [place(3)]);
    }

    #[test]
    fn two_brokers_that_hold_it_both_have_their_places() {
        let table = Arc::<OpenTransactions>::default();
        let opened = table.begin("ID", place_on("b", 1));
        for (broker_name, offset) in [("a", 5), ("b", 2), ("a", 6)] {
            assert!(table.ask("ID", place_on(broker_name, offset)).is_none());
        }
        assert_eq!(opened.close(), [place_on("b", 2), place_on("a", 6)]);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn who_answers_a_question_and_who_began_it_do_not_answer_for_one_another() {
        let table = Arc::<OpenTransactions>::default();
        // The answer of a was lost, and a has asked before b has stored it.
        let asked = table.ask("ID", place_on("a", 1)).unwrap();
        let begun = table.begin("ID", place_on("b", 1));
        assert!(table.ask("ID", place_on("b", 2)).is_none());
        assert!(table.ask("ID", place_on("a", 2)).is_none());
        assert_eq!(asked.close(), [place_on("a", 2)]);
        assert!(table.ask("ID", place_on("a", 3)).is_none());
        assert_eq!(begun.close(), [place_on("b", 2), place_on("a", 3)]);
        assert_eq!(table.len(), 0);
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
