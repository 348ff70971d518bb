//! How many bytes of received messages a client may hold: one budget for all its consumers.
//!
//! Bytes are reserved when a pull is issued, settled when it is answered, and given back when its messages are finished. Does not
//! know: pulls, queues and messages.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the budget counts in.
const UNIT: usize = 1024;

/// The bytes that a client may hold.
pub(crate) struct Budget {
    units: Semaphore,
    /// Units that were taken although they were not there; paid before any is given back.
    debt: Mutex<usize>,
}

/// One consumer's access to the budget of its client. Clones are the same access.
#[derive(Clone)]
pub(crate) struct Allowance {
    budget: Arc<Budget>,
    /// One reservation is granted even when the budget is used up, so that no consumer starves behind another. The next one is when its
    /// bytes are given back or are within the budget again, so a consumer reserves one pull's worth beyond the budget at most. What
    /// pulls bring beyond their reservations is taken all the same.
    spare: Arc<Semaphore>,
}

/// Bytes that are reserved, and given back on drop.
#[must_use = "dropping it gives the bytes back"]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    units: usize,
    spare: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let units = bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            units: Semaphore::new(units),
            debt: Mutex::new(0),
        })
    }

    /// A new consumer's access.
    pub(crate) fn allowance(self: &Arc<Self>) -> Allowance {
        Allowance {
            budget: Arc::clone(self),
            spare: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether nothing is taken that is not there.
    fn is_solvent(&self) -> bool {
        *self.debt.lock() == 0
    }

    /// Takes units whether they are there or not.
    fn force(&self, units: usize) {
        let mut debt = self.debt.lock();
        *debt += units - self.units.forget_permits(units);
    }

    fn give_back(&self, units: usize) {
        let mut debt = self.debt.lock();
        let paid = units.min(*debt);
        *debt -= paid;
        self.units.add_permits(units - paid);
    }
}

impl Allowance {
    /// Reserves bytes as soon as they are there, first come first served, or at once where the consumer has nothing reserved beyond
    /// the budget yet.
    ///
    /// Cancel safe: nothing is reserved by a future that was dropped.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reservation {
        let units = bytes.div_ceil(UNIT);
        let spare = tokio::select! {
            biased;
            permit = self.budget.units.acquire_many(u32::try_from(units).unwrap_or(u32::MAX)) => {
                // Never closed, so this is always a permit.
                permit.map_or(None, |permit| { permit.forget(); None })
            }
            spare = Arc::clone(&self.spare).acquire_owned() => {
                self.budget.force(units);
                spare.ok()
            }
        };
        Reservation {
            budget: Arc::clone(&self.budget),
            units,
            spare,
        }
    }
}

impl Reservation {
    /// Whether it was granted beyond the budget. Whoever else of the consumer needs one waits for it, so it is not to be held for long
    /// while there is nothing.
    pub(crate) const fn is_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Replaces the estimate by what came. What is more than was reserved is taken all the same.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let units = bytes.div_ceil(UNIT);
        if units > self.units {
            self.budget.force(units - self.units);
        } else {
            self.budget.give_back(self.units - units);
        }
        self.units = units;
        if self.budget.is_solvent() {
            self.spare = None;
        }
    }

    /// How many bytes are reserved, rounded up to what the budget counts in.
    pub(crate) const fn bytes(&self) -> usize {
        self.units * UNIT
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.units);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("free", &(self.units.available_permits() * UNIT))
            .field("debt", &(*self.debt.lock() * UNIT))
            .finish()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn free(budget: &Budget) -> isize {
        budget.units.available_permits() as isize - *budget.debt.lock() as isize
    }

    #[test]
    fn what_is_reserved_is_given_back() {
        let budget = Budget::new(10 * UNIT);
        let allowance = budget.allowance();
        let mut one = allowance.reserve(3 * UNIT + 1).now_or_never().unwrap();
        assert_eq!((free(&budget), one.bytes()), (6, 4 * UNIT));
        one.settle(UNIT);
        assert_eq!(free(&budget), 9);
        one.settle(12 * UNIT);
        assert_eq!(free(&budget), -2);
        drop(one);
        assert_eq!(free(&budget), 10);
    }

    #[test]
    fn one_reservation_of_each_consumer_is_granted_beyond_the_budget() {
        let budget = Budget::new(2 * UNIT);
        let (one, two) = (budget.allowance(), budget.allowance());
        let all = one.reserve(2 * UNIT).now_or_never().unwrap();
        let spare = one.reserve(UNIT).now_or_never().unwrap();
        assert!(one.reserve(UNIT).now_or_never().is_none());
        let other = two.reserve(UNIT).now_or_never().unwrap();
        assert!(two.reserve(UNIT).now_or_never().is_none());
        assert_eq!(free(&budget), -2);
        drop(spare);
        let spare = one.reserve(UNIT).now_or_never().unwrap();
        drop((all, spare, other));
        assert_eq!(free(&budget), 2);
    }

    #[test]
    fn a_spare_reservation_is_one_of_many_when_there_is_room_again() {
        let budget = Budget::new(2 * UNIT);
        let allowance = budget.allowance();
        let all = allowance.reserve(2 * UNIT).now_or_never().unwrap();
        let mut spare = allowance.reserve(UNIT).now_or_never().unwrap();
        assert!(!all.is_spare() && spare.is_spare());
        spare.settle(UNIT);
        assert!(spare.is_spare(), "it is beyond the budget still");
        assert!(allowance.reserve(UNIT).now_or_never().is_none());
        drop(all);
        spare.settle(UNIT);
        assert!(!spare.is_spare());
        assert_eq!(free(&budget), 1);
    }

    #[tokio::test]
    async fn a_waiting_reservation_gets_what_is_given_back_and_leaves_nothing_when_it_is_dropped() {
        let budget = Budget::new(2 * UNIT);
        let allowance = budget.allowance();
        let (all, spare) = (
            allowance.reserve(2 * UNIT).await,
            allowance.reserve(UNIT).await,
        );
        let mut gone = Box::pin(allowance.reserve(UNIT));
        let mut waiting = Box::pin(allowance.reserve(UNIT));
        assert!((&mut gone).now_or_never().is_none() && (&mut waiting).now_or_never().is_none());
        drop(gone);
        drop(all);
        let granted = waiting.await;
        assert_eq!(free(&budget), 0);
        drop((granted, spare));
        assert_eq!(free(&budget), 2);
    }

    #[test]
    fn more_than_the_whole_budget_is_granted_as_the_spare_one() {
        let budget = Budget::new(UNIT);
        let allowance = budget.allowance();
        let large = allowance.reserve(100 * UNIT).now_or_never().unwrap();
        assert_eq!(free(&budget), -99);
        drop(large);
        assert_eq!(free(&budget), 1);
    }
}
