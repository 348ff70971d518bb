use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::{Head, Serialization};
use crate::protocol::fields::NoFields;
use crate::protocol::frame;

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A table, a waker that counts, and a clock that stands at `now`.
struct Rig {
    pending: Pending,
    woken: Arc<Counter>,
    now: Instant,
    wakers: Vec<Waker>,
}

impl Rig {
    fn new() -> Self {
        let woken = Arc::new(Counter(AtomicUsize::new(0)));
        Self {
            pending: Pending::default(),
            woken,
            now: Instant::now(),
            wakers: Vec::new(),
        }
    }

    fn enter(&mut self, millis: u64) -> i32 {
        self.pending
            .enter(self.now + Duration::from_millis(millis), 0)
            .unwrap()
    }

    fn poll(&mut self, opaque: i32) -> Poll<Result<Command, CallError>> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.pending.poll(opaque, &mut Context::from_waker(&waker))
    }

    fn answer(&mut self, opaque: i32) {
        self.pending.answer(answer(opaque), &mut self.wakers);
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn expire(&mut self, millis: u64, written: u64) {
        self.pending.expire(
            self.now + Duration::from_millis(millis),
            written,
            &mut self.wakers,
        );
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

fn answer(opaque: i32) -> Command {
    let mut out = BytesMut::new();
    let head = Head::response(ResponseCode::SUCCESS, opaque);
    frame::encode_head(&mut out, Serialization::Binary, &head, None, &NoFields, 0).unwrap();
    frame::decode(&mut out).unwrap().unwrap()
}

#[test]
fn a_call_is_woken_when_it_wants_to_be_and_goes_on() {
    let mut rig = Rig::new();
    let opaque = rig.enter(3000);
    assert!(rig.poll(opaque).is_pending());
    rig.pending
        .wake_at(opaque, rig.now + Duration::from_millis(1000));
    assert_eq!(
        rig.pending.due(),
        Some(rig.now + Duration::from_millis(1000))
    );
    rig.expire(999, 1);
    assert_eq!(rig.woken(), 0);
    rig.expire(1000, 1);
    assert_eq!(rig.woken(), 1);
    assert_eq!(
        rig.pending.due(),
        Some(rig.now + Duration::from_millis(3000))
    );
    // Only once, and the answer is still waited for.
    rig.expire(2000, 1);
    assert_eq!(rig.woken(), 1);
    assert!(rig.poll(opaque).is_pending());
    rig.answer(opaque);
    assert!(matches!(rig.poll(opaque), Poll::Ready(Ok(_))));
}

#[test]
fn a_call_that_was_woken_in_vain_makes_the_peer_silent_once() {
    let mut rig = Rig::new();
    for (written, silent) in [(0, false), (1, true)] {
        let opaque = rig.enter(3000);
        let at = rig.now + Duration::from_millis(1000);
        rig.pending.wake_at(opaque, at);
        rig.expire(1000, written);
        assert_eq!(rig.pending.silent_since(1), silent.then_some(at));
        if silent {
            // Its deadline tells nothing more.
            rig.expire(3000, written);
            assert!(rig.pending.silent_since(2).is_none());
        }
        rig.pending.forget(opaque);
    }
    rig.pending.heard(0);
    assert!(rig.pending.silent_since(1).is_none());
}

#[test]
fn an_answer_wakes_its_call_once_and_only_its_call() {
    let mut rig = Rig::new();
    let (first, second) = (rig.enter(10), rig.enter(10));
    assert!(rig.poll(first).is_pending() && rig.poll(second).is_pending());
    rig.answer(second);
    rig.answer(second);
    assert_eq!(rig.woken(), 1);
    assert!(rig.poll(first).is_pending());
    assert!(matches!(rig.poll(second), Poll::Ready(Ok(command)) if command.head.opaque == second));
    assert_eq!(rig.pending.unclaimed(), 1);
    rig.answer(second);
    rig.answer(99);
    assert_eq!(rig.pending.unclaimed(), 3);
}

#[test]
fn a_deadline_ends_the_call_and_only_a_written_one_makes_the_peer_silent() {
    let mut rig = Rig::new();
    let sent = rig
        .pending
        .enter(rig.now + Duration::from_millis(10), 0)
        .unwrap();
    let unsent = rig
        .pending
        .enter(rig.now + Duration::from_millis(10), 100)
        .unwrap();
    let later = rig.enter(20);
    rig.expire(9, 100);
    assert!(rig.poll(sent).is_pending());
    rig.expire(10, 100);
    assert!(matches!(
        rig.poll(sent),
        Poll::Ready(Err(CallError::TimedOut(Delivery::Unknown)))
    ));
    assert!(matches!(
        rig.poll(unsent),
        Poll::Ready(Err(CallError::TimedOut(Delivery::Unknown)))
    ));
    assert_eq!(rig.pending.due(), Some(rig.now + Duration::from_millis(20)));
    assert!(rig.pending.silent_since(1).is_some() && rig.pending.silent_since(2).is_none());
    rig.answer(later);
    assert!(matches!(rig.poll(later), Poll::Ready(Ok(_))));
    assert!(rig.pending.is_empty());
}

#[test]
fn f11_l11_an_answer_replaces_a_timeout_that_was_not_seen() {
    let mut rig = Rig::new();
    let opaque = rig.enter(10);
    rig.expire(10, 1);
    rig.answer(opaque);
    assert!(matches!(rig.poll(opaque), Poll::Ready(Ok(_))));
    assert!(rig.pending.is_empty());
}

#[test]
fn poison_ends_everyone_and_lets_nobody_in() {
    let mut rig = Rig::new();
    let (waiting, answered) = (rig.enter(10), rig.enter(10));
    assert!(rig.poll(waiting).is_pending());
    rig.answer(answered);
    rig.pending.poison(&Cause::ClosedByPeer, 1, &mut rig.wakers);
    assert_eq!(rig.wakers.len(), 1);
    assert!(matches!(
        rig.poll(waiting),
        Poll::Ready(Err(CallError::Lost(Cause::ClosedByPeer, Delivery::Unknown)))
    ));
    assert!(matches!(rig.poll(answered), Poll::Ready(Ok(_))));
    assert!(rig.pending.enter(rig.now, 0).is_err() && rig.pending.enter_oneway().is_err());
}

#[test]
fn f12_l26_opaques_wrap_and_pass_over_those_that_wait() {
    let mut rig = Rig::new();
    let waiting = rig.enter(10);
    rig.pending.next_opaque = i32::MAX;
    assert_eq!((rig.enter(10), rig.enter(10)), (i32::MAX, i32::MIN));
    rig.pending.next_opaque = waiting;
    assert_eq!(rig.enter(10), waiting + 1);
}

#[derive(Debug, Clone)]
enum Step {
    Enter(u64),
    Poll(usize),
    Answer(usize),
    Drop(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..50_u64).prop_map(Step::Enter),
        (0..40_usize).prop_map(Step::Poll),
        (0..40_usize).prop_map(Step::Answer),
        (0..40_usize).prop_map(Step::Drop),
        (1..20_u64).prop_map(Step::Advance),
    ]
}

proptest! {
    /// Whatever happens in whatever order: one outcome for each call, the right one, and nothing is left over.
    #[test]
    fn every_call_has_one_outcome(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new();
        let mut millis = 0;
        let mut calls: Vec<(i32, u64, bool, bool)> = Vec::new(); // opaque, deadline, answered in time, over
        for step in steps {
            match step {
                Step::Enter(timeout) => calls.push((rig.enter(millis + timeout), millis + timeout, false, false)),
                Step::Poll(at) => if let Some((opaque, deadline, answered, over)) = calls.get_mut(at) && !*over {
                    match rig.poll(*opaque) {
                        Poll::Ready(Ok(command)) => {
                            prop_assert!(*answered && command.head.opaque == *opaque);
                            *over = true;
                        }
                        Poll::Ready(Err(_)) => {
                            prop_assert!(!*answered && *deadline <= millis);
                            *over = true;
                        }
                        Poll::Pending => prop_assert!(!*answered && *deadline > millis),
                    }
                },
                Step::Answer(at) => if let Some((opaque, _, answered, over)) = calls.get_mut(at) {
                    *answered |= !*over;
                    rig.answer(*opaque);
                },
                Step::Drop(at) => if let Some((opaque, .., over)) = calls.get_mut(at) {
                    *over = true;
                    rig.pending.forget(*opaque);
                },
                Step::Advance(by) => {
                    millis += by;
                    rig.expire(millis, 1);
                }
            }
        }
        for (opaque, .., over) in &calls {
            if !over {
                rig.pending.forget(*opaque);
            }
        }
        prop_assert!(rig.pending.is_empty());
    }
}
