//! How much a producer has in flight, and room for more.
//!
//! Knows: two bounds, who has how much of them, and whose turn it is. Does not know: what is sent. Whoever finds room takes it in one
//! atomic step; whoever does not waits in turn, first come first served, and nobody passes those who wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::producer::OPERATION;

/// What can be bounded at most: both counts, and what one send may add to them, share a word.
pub(super) const MOST_MESSAGES: usize = 1 << 20;
pub(super) const MOST_BYTES: usize = 1 << 38;

const MESSAGE: u64 = 1 << 40;
const BYTES: u64 = MESSAGE - 1;
const MESSAGES: u64 = WAITED_FOR - MESSAGE;
/// Somebody waits.
const WAITED_FOR: u64 = 1 << 62;
/// No more is taken, but by those who wait already.
const CLOSED: u64 = 1 << 63;

/// The bounds of one producer, and what is taken of them.
pub(super) struct Room {
    /// The bytes, the messages, and the two flags.
    held: AtomicU64,
    max_messages: usize,
    max_bytes: usize,
    /// Held by whoever is first among those who wait.
    turn: tokio::sync::Mutex<()>,
    /// Tells the first that something was given back.
    given_back: Notify,
    /// Tells that it is closed and nothing is held.
    empty: Notify,
}

/// Why there is no place at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    Closed,
    Full,
}

/// A part of the room, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    weight: u64,
}

impl Room {
    /// Room for so many messages and bytes, at most [`MOST_MESSAGES`] and [`MOST_BYTES`].
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            max_messages,
            max_bytes,
            turn: tokio::sync::Mutex::new(()),
            given_back: Notify::new(),
            empty: Notify::new(),
        })
    }

    /// A place, if there is room and nobody waits for it.
    pub(super) fn take(self: &Arc<Self>, messages: usize, bytes: usize) -> Result<Place, NoPlace> {
        self.take_unless(CLOSED | WAITED_FOR, weight(messages, bytes))
    }

    /// A place as soon as there is room, in turn with others who wait. Also after it was closed.
    ///
    /// Cancel safe: whoever goes away holds nothing.
    pub(super) async fn wait(self: &Arc<Self>, messages: usize, bytes: usize) -> Place {
        let weight = weight(messages, bytes);
        let _turn = self.turn.lock().await;
        let _flag = WaitedFor::set(&self.held);
        loop {
            if let Ok(place) = self.take_unless(0, weight) {
                return place;
            }
            self.given_back.notified().await;
        }
    }

    /// Lets nobody take a place who does not wait for one.
    pub(super) fn close(&self) {
        self.held.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Waits until it is closed and every place is given back.
    ///
    /// Cancel safe: nothing is held while it waits.
    pub(super) async fn emptied(&self) {
        loop {
            let mut empty = std::pin::pin!(self.empty.notified());
            empty.as_mut().enable();
            let held = self.held.load(Ordering::Acquire);
            if held & CLOSED != 0 && held & MESSAGES == 0 {
                return;
            }
            empty.await;
        }
    }

    /// How many messages are in flight.
    pub(super) fn messages(&self) -> usize {
        ((self.held.load(Ordering::Acquire) & MESSAGES) / MESSAGE) as usize
    }

    /// The error of a send that found no room.
    pub(super) fn overloaded(&self, topic: &str, why: &str) -> Error {
        Error::new(ErrorKind::Overloaded, OPERATION)
            .topic_of(topic)
            .detail(format!(
                "the producer has {} messages or {} bytes in flight, {why}",
                self.max_messages, self.max_bytes
            ))
    }

    fn take_unless(self: &Arc<Self>, flags: u64, weight: u64) -> Result<Place, NoPlace> {
        let taken = |held: u64| {
            if held & flags & CLOSED != 0 {
                return Err(NoPlace::Closed);
            }
            let sum = held + weight;
            let fits = (sum & BYTES) as usize <= self.max_bytes
                && ((sum & MESSAGES) / MESSAGE) as usize <= self.max_messages;
            // What is larger than everything may be sent when it is alone.
            if held & flags & WAITED_FOR == 0 && (fits || held & MESSAGES == 0) {
                Ok(sum)
            } else {
                Err(NoPlace::Full)
            }
        };
        let mut held = self.held.load(Ordering::Relaxed);
        loop {
            let sum = taken(held)?;
            match self
                .held
                .compare_exchange_weak(held, sum, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Ok(Place {
                        room: Arc::clone(self),
                        weight,
                    });
                }
                Err(other) => held = other,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &*self.room;
        let before = room.held.fetch_sub(self.weight, Ordering::AcqRel);
        if before & WAITED_FOR != 0 {
            room.given_back.notify_one();
        }
        if before & CLOSED != 0 && before & MESSAGES == self.weight & MESSAGES {
            room.empty.notify_waiters();
        }
    }
}

/// The flag that somebody waits. The next who waits sets it again.
struct WaitedFor<'a>(&'a AtomicU64);

impl<'a> WaitedFor<'a> {
    fn set(held: &'a AtomicU64) -> Self {
        held.fetch_or(WAITED_FOR, Ordering::AcqRel);
        Self(held)
    }
}

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        self.0.fetch_and(!WAITED_FOR, Ordering::AcqRel);
    }
}

/// What so many messages and bytes add to the word.
const fn weight(messages: usize, bytes: usize) -> u64 {
    const fn at_most(value: usize, most: usize) -> u64 {
        (if value < most { value } else { most }) as u64
    }
    at_most(messages, MOST_MESSAGES) * MESSAGE + at_most(bytes, MOST_BYTES)
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.load(Ordering::Relaxed);
        f.debug_struct("Room")
            .field("messages", &self.messages())
            .field("bytes", &(held & BYTES))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;
    use proptest::prelude::*;

    use super::*;

    fn held(room: &Room) -> (usize, u64) {
        let held = room.held.load(Ordering::Relaxed);
        assert_eq!(held & WAITED_FOR, 0, "nobody waits any more");
        (room.messages(), held & BYTES)
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let room = Room::new(3, 100);
        let places: Vec<_> = [(1, 40), (1, 50), (1, 10)]
            .map(|(messages, bytes)| room.take(messages, bytes).unwrap())
            .into();
        assert_eq!(held(&room), (3, 100));
        assert_eq!(room.take(1, 0).unwrap_err(), NoPlace::Full);
        drop(places);
        assert_eq!(held(&room), (0, 0));
        let _half = room.take(1, 51).unwrap();
        assert_eq!(room.take(1, 50).unwrap_err(), NoPlace::Full);
        room.take(1, 49).unwrap();
    }

    #[test]
    fn what_is_larger_than_everything_goes_alone() {
        let room = Room::new(3, 100);
        let large = room.take(usize::MAX, usize::MAX).unwrap();
        assert_eq!(held(&room), (MOST_MESSAGES, MOST_BYTES as u64));
        assert_eq!(room.take(1, 1).unwrap_err(), NoPlace::Full);
        drop(large);
        let _small = room.take(1, 1).unwrap();
        assert_eq!(room.take(4, 1).unwrap_err(), NoPlace::Full);
    }

    #[test]
    fn those_who_wait_have_their_turn_and_are_not_passed() {
        let room = Room::new(2, 100);
        let (first, second) = (room.take(1, 10).unwrap(), room.take(1, 90).unwrap());
        let mut large = Box::pin(room.wait(1, 60));
        let mut small = Box::pin(room.wait(1, 10));
        assert!((&mut large).now_or_never().is_none() && (&mut small).now_or_never().is_none());
        drop(first);
        assert_eq!(room.take(1, 1).unwrap_err(), NoPlace::Full, "others wait");
        assert!((&mut small).now_or_never().is_none(), "it is not its turn");
        assert!((&mut large).now_or_never().is_none(), "it does not fit yet");
        drop(second);
        let large = large.now_or_never().unwrap();
        let small = small.now_or_never().unwrap();
        assert_eq!(held(&room), (2, 70));
        drop((large, small));
        assert_eq!(held(&room), (0, 0));
    }

    #[test]
    fn whoever_goes_away_lets_the_next_have_his_turn() {
        let room = Room::new(1, 100);
        let first = room.take(1, 1).unwrap();
        let mut gone = Box::pin(room.wait(1, 1));
        let mut next = Box::pin(room.wait(1, 1));
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(next.now_or_never().unwrap());
        assert_eq!(held(&room), (0, 0));
        room.take(1, 1).unwrap();
    }

    #[test]
    fn closed_it_takes_only_those_who_wait_and_tells_when_it_is_empty() {
        let room = Room::new(1, 100);
        let first = room.take(1, 1).unwrap();
        let mut waiting = Box::pin(room.wait(1, 1));
        let mut empty = Box::pin(room.emptied());
        assert!((&mut waiting).now_or_never().is_none() && (&mut empty).now_or_never().is_none());
        room.close();
        assert!((&mut empty).now_or_never().is_none());
        assert_eq!(room.take(1, 1).unwrap_err(), NoPlace::Closed);
        drop(first);
        let second = waiting.now_or_never().unwrap();
        drop(second);
        assert!(empty.now_or_never().is_some());
        assert!(room.emptied().now_or_never().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_at_once_stay_within_the_bounds_and_all_have_their_turn() {
        let room = Room::new(7, 1000);
        let most = Arc::new(AtomicU64::new(0));
        let tasks = (0..50_u64).map(|task| {
            let (room, most) = (Arc::clone(&room), Arc::clone(&most));
            tokio::spawn(async move {
                for turn in 0..200 {
                    let bytes = ((task * 31 + turn * 17) % 400) as usize;
                    let place = match room.take(1, bytes) {
                        Ok(place) => place,
                        Err(_) => room.wait(1, bytes).await,
                    };
                    let held = room.held.load(Ordering::Relaxed);
                    assert!(held & BYTES <= 1000 && room.messages() <= 7);
                    most.fetch_max(held & MESSAGES, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    drop(place);
                }
            })
        });
        for outcome in join_all(tasks).await {
            outcome.unwrap();
        }
        assert_eq!(held(&room), (0, 0));
        assert!(most.load(Ordering::Relaxed) > MESSAGE, "they met");
    }

    proptest! {
        #[test]
        fn what_is_held_is_the_sum_of_the_places(
            steps in proptest::collection::vec((any::<bool>(), 1..5_usize, 0..60_usize), 0..60),
        ) {
            let room = Room::new(8, 100);
            let mut places = Vec::new();
            for (take, messages, bytes) in steps {
                if take {
                    let (had, had_bytes) = held(&room);
                    let fits = had + messages <= 8 && had_bytes as usize + bytes <= 100;
                    match room.take(messages, bytes) {
                        Ok(place) => {
                            prop_assert!(fits || had == 0);
                            places.push((place, messages, bytes));
                        }
                        Err(why) => {
                            prop_assert_eq!(why, NoPlace::Full);
                            prop_assert!(!fits && had > 0);
                        }
                    }
                } else if !places.is_empty() {
                    places.swap_remove(bytes % places.len());
                }
                let sum = places.iter().fold((0, 0), |sum, (_, messages, bytes)| {
                    (sum.0 + messages, sum.1 + *bytes as u64)
                });
                prop_assert_eq!(held(&room), sum);
            }
        }
    }
}
