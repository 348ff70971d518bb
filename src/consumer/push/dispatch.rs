//! Which worker takes from which queue: a list of queues that have something, and a bound on workers.
//!
//! Workers are started when there is something to do and end when there is not. They are started one at a time: the next one when the
//! last has taken something and there is more, so that a burst that one worker can handle does not start twenty.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Hands queues out to workers.
pub(super) struct Dispatch<Q> {
    state: Mutex<State<Q>>,
    /// How many workers there may be.
    limit: usize,
}

struct State<Q> {
    /// Each queue stands here once at most.
    ready: VecDeque<Q>,
    workers: usize,
    /// A worker was started and has taken nothing yet.
    is_starting: bool,
}

impl<Q> Dispatch<Q> {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let state = State {
            ready: VecDeque::new(),
            workers: 0,
            is_starting: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            limit,
        })
    }

    /// Adds a queue that has something. With a place, which has to be given to a new worker, where one is needed.
    pub(super) fn offer(self: &Arc<Self>, queue: Q) -> Option<Place<Q>> {
        let mut state = self.state.lock();
        state.ready.push_back(queue);
        self.admit(&mut state)
    }

    /// A place for one more worker, where there is something to do for it.
    fn admit(self: &Arc<Self>, state: &mut State<Q>) -> Option<Place<Q>> {
        if state.ready.is_empty() || state.is_starting || state.workers >= self.limit {
            return None;
        }
        state.workers += 1;
        state.is_starting = true;
        Some(Place {
            dispatch: Arc::clone(self),
            is_new: true,
            is_left: false,
        })
    }
}

/// One worker's place among those that there may be. It is free again when this is dropped.
#[must_use = "it has to be given to a worker"]
pub(super) struct Place<Q> {
    dispatch: Arc<Dispatch<Q>>,
    is_new: bool,
    is_left: bool,
}

impl<Q> Place<Q> {
    /// The next queue to take from, and a place for one more worker where there is more to do. `None` when there is nothing, or the
    /// worker has left; its place is free then.
    pub(super) fn next(&mut self) -> Option<(Q, Option<Self>)> {
        if self.is_left {
            return None;
        }
        let mut state = self.dispatch.state.lock();
        if std::mem::take(&mut self.is_new) {
            state.is_starting = false;
        }
        let Some(queue) = state.ready.pop_front() else {
            // Under the same lock, so that whoever offers a queue now finds the place free.
            state.workers -= 1;
            self.is_left = true;
            return None;
        };
        Some((queue, self.dispatch.admit(&mut state)))
    }

    /// Frees the place although the worker goes on with what it has. With the place of a successor, where there is something to do.
    pub(super) fn leave(&mut self) -> Option<Self> {
        let mut state = self.dispatch.state.lock();
        if !std::mem::replace(&mut self.is_left, true) {
            state.workers -= 1;
            state.is_starting &= !self.is_new;
        }
        self.dispatch.admit(&mut state)
    }
}

impl<Q> Drop for Place<Q> {
    fn drop(&mut self) {
        if !self.is_left {
            let mut state = self.dispatch.state.lock();
            state.workers -= 1;
            state.is_starting &= !self.is_new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<Q>(dispatch: &Dispatch<Q>) -> (usize, usize) {
        let state = dispatch.state.lock();
        (state.ready.len(), state.workers)
    }

    #[test]
    fn workers_are_started_one_after_the_other_up_to_the_limit() {
        let dispatch = Dispatch::new(2);
        let mut one = dispatch.offer('a').expect("a first worker");
        assert!(
            dispatch.offer('b').is_none(),
            "the first has not taken anything yet"
        );
        assert!(dispatch.offer('c').is_none());
        let (queue, two) = one.next().unwrap();
        let mut two = two.expect("there is more to do");
        assert_eq!(queue, 'a');
        assert!(dispatch.offer('d').is_none());
        let (queue, three) = two.next().unwrap();
        assert!(queue == 'b' && three.is_none(), "the limit is two");
        assert_eq!(one.next().unwrap().0, 'c');
        assert_eq!(one.next().unwrap().0, 'd');
        assert!(one.next().is_none() && one.next().is_none());
        assert_eq!(counts(&dispatch), (0, 1));
        assert!(dispatch.offer('e').is_some(), "a place is free");
        drop(two);
        assert_eq!(counts(&dispatch), (1, 0));
    }

    #[test]
    fn one_worker_that_keeps_up_stays_alone() {
        let dispatch = Dispatch::new(20);
        let mut one = dispatch.offer(0).unwrap();
        let mut places = Vec::new();
        for queue in 1..100 {
            let (_, more) = one.next().unwrap();
            places.extend(more);
            places.extend(dispatch.offer(queue));
        }
        assert!(places.len() <= 1, "at most one is being started at a time");
    }

    #[test]
    fn a_worker_that_leaves_is_replaced_once() {
        let dispatch = Dispatch::new(1);
        let mut hung = dispatch.offer('a').unwrap();
        assert_eq!(hung.next().unwrap().0, 'a');
        assert!(dispatch.offer('b').is_none());
        let mut successor = hung.leave().expect("b waits");
        assert!(hung.next().is_none());
        assert_eq!(successor.next().unwrap().0, 'b');
        drop(hung);
        assert_eq!(counts(&dispatch), (0, 1));
    }

    #[test]
    fn a_place_that_no_worker_took_is_free_again() {
        let dispatch = Dispatch::new(1);
        drop(dispatch.offer('a'));
        assert_eq!(counts(&dispatch), (1, 0));
        assert!(dispatch.offer('b').is_some());
    }
}
