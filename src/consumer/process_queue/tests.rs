use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::client::Budget;
use crate::consumer::sample;

const LIMITS: Limits = Limits {
    count: 10,
    span: 100,
    bytes: 8 * 1024,
};

struct Fixture {
    queue: ProcessQueue,
    budget: Arc<Budget>,
    now: Instant,
}

impl Fixture {
    fn new(position: i64) -> Self {
        let queue = ProcessQueue::new(position);
        Self {
            queue,
            budget: Budget::new(1 << 30),
            now: Instant::now(),
        }
    }

    fn reservation(&self, bytes: usize) -> Reservation {
        self.budget
            .allowance()
            .reserve(bytes)
            .now_or_never()
            .expect("a large budget")
    }

    fn put(&mut self, offsets: &[i64], next: i64) {
        let messages = offsets
            .iter()
            .map(|offset| sample::message("t", *offset))
            .collect();
        let reservation = self.reservation(1024);
        self.queue.put(messages, next, reservation).unwrap();
    }

    fn take(&mut self, max: usize) -> (Ticket, Vec<i64>) {
        let (ticket, messages) = self.queue.take(max, self.now).expect("something to take");
        (
            ticket,
            messages.iter().map(MessageExt::queue_offset).collect(),
        )
    }
}

#[test]
fn l01_the_safe_offset_is_that_of_the_smallest_unfinished_message() {
    let mut fixture = Fixture::new(5);
    assert_eq!(fixture.queue.safe_offset(), 5);
    fixture.put(&[7, 8, 12], 20);
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.position()),
        (7, 20)
    );
    let (one, offsets) = fixture.take(2);
    assert_eq!(offsets, [7, 8]);
    let (two, offsets) = fixture.take(2);
    assert_eq!(offsets, [12]);
    assert!(fixture.queue.take(2, fixture.now).is_none());
    fixture.queue.finish(&two, 0..1);
    fixture.queue.finish(&one, 1..2);
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (7, 1)
    );
    fixture.queue.finish(&one, 0..2);
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (20, 0)
    );
    assert_eq!(fixture.queue.running(), 0);
}

#[test]
fn what_is_put_back_comes_again_one_by_one_and_counts_no_failure() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 1, 2, 3], 4);
    let (ticket, _) = fixture.take(3);
    fixture.queue.finish(&ticket, 1..2);
    fixture.queue.put_back(&ticket, 0..3, fixture.now);
    assert_eq!(fixture.queue.running(), 0);
    for offset in [0, 2, 3] {
        let (ticket, messages) = fixture.queue.take(3, fixture.now).unwrap();
        assert_eq!((messages.len(), messages[0].queue_offset()), (1, offset));
        assert_eq!(messages[0].reconsume_times(), 0);
        fixture.queue.finish(&ticket, 0..1);
    }
    assert_eq!(
        (fixture.queue.unfinished(), fixture.queue.safe_offset()),
        (0, 4)
    );
}

#[test]
fn what_failed_here_comes_again_when_it_is_due_and_counts_it() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 1], 2);
    let (ticket, _) = fixture.take(2);
    let due = fixture.now + Duration::from_secs(5);
    fixture.queue.finish(&ticket, 1..2);
    fixture.queue.retry(&ticket, 0, due);
    assert_eq!(
        (fixture.queue.running(), fixture.queue.safe_offset()),
        (0, 0)
    );
    assert!(fixture.queue.take(2, fixture.now).is_none());
    let (again, messages) = fixture.queue.take(2, due).unwrap();
    assert_eq!(messages[0].reconsume_times(), 1);
    fixture.queue.finish(&ticket, 0..2);
    assert_eq!(
        fixture.queue.safe_offset(),
        2,
        "finished by the place that it kept"
    );
    fixture.queue.finish(&again, 0..1);
    assert_eq!(
        (fixture.queue.unfinished(), fixture.queue.running()),
        (0, 0)
    );
}

#[test]
fn a_closed_queue_gives_nothing_out_and_stays_before_what_is_left() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 1, 2, 3], 9);
    let (first, _) = fixture.take(1);
    let (second, _) = fixture.take(1);
    fixture.queue.retry(&second, 0, fixture.now);
    fixture.queue.close();
    assert!(
        fixture
            .queue
            .take(9, fixture.now + Duration::from_secs(9))
            .is_none()
    );
    assert_eq!(
        (fixture.queue.running(), fixture.queue.unfinished()),
        (1, 2)
    );
    let reservation = fixture.reservation(1024);
    fixture
        .queue
        .put(vec![sample::message("t", 9)], 10, reservation)
        .unwrap();
    assert_eq!(fixture.queue.unfinished(), 2);
    fixture.queue.finish(&first, 0..1);
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.running()),
        (1, 0)
    );
}

#[test]
fn a_queue_that_is_closed_while_nothing_runs_is_before_what_was_not_taken() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[3, 4], 9);
    fixture.queue.close();
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (3, 0)
    );
    assert_eq!(
        fixture
            .budget
            .allowance()
            .reserve(1 << 30)
            .now_or_never()
            .unwrap()
            .bytes(),
        1 << 30
    );
}

#[test]
fn messages_out_of_order_are_refused_and_leave_no_trace() {
    for offsets in [&[4, 3][..], &[4, 4], &[2, 5], &[i64::MAX], &[-1]] {
        let mut fixture = Fixture::new(3);
        let messages = offsets
            .iter()
            .map(|offset| sample::message("t", *offset))
            .collect();
        let reservation = fixture.reservation(1024);
        fixture.queue.put(messages, 9, reservation).unwrap_err();
        assert_eq!(
            (fixture.queue.position(), fixture.queue.unfinished()),
            (3, 0)
        );
    }
}

#[test]
fn each_limit_is_passed_by_more_than_it() {
    let limits = |queue: &ProcessQueue| queue.full(&LIMITS);
    let mut fixture = Fixture::new(0);
    fixture.put(&(0..10).collect::<Vec<_>>(), 10);
    assert_eq!(limits(&fixture.queue), None);
    fixture.put(&[10], 11);
    assert_eq!(limits(&fixture.queue), Some(Full::Count));

    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 100], 101);
    assert_eq!(limits(&fixture.queue), None);
    fixture.put(&[101], 102);
    assert_eq!(limits(&fixture.queue), Some(Full::Span));

    let mut fixture = Fixture::new(0);
    for offset in 0..8 {
        fixture.put(&[offset], offset + 1);
    }
    assert_eq!(limits(&fixture.queue), None);
    fixture.put(&[8], 9);
    assert_eq!(limits(&fixture.queue), Some(Full::Bytes));
    let (ticket, _) = fixture.take(1);
    fixture.queue.finish(&ticket, 0..1);
    assert_eq!(limits(&fixture.queue), None);
}

#[test]
fn a_pull_without_messages_moves_only_the_position() {
    let mut fixture = Fixture::new(3);
    fixture.put(&[], 9);
    assert_eq!(
        (fixture.queue.position(), fixture.queue.safe_offset()),
        (9, 9)
    );
    fixture.put(&[], 4);
    assert_eq!(fixture.queue.position(), 9, "never backwards");
    fixture.put(&[11], 2);
    assert_eq!(
        fixture.queue.position(),
        12,
        "behind the last message at least"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        gaps: Vec<u8>,
        tail: u8,
    },
    Take(usize),
    Finish {
        ticket: usize,
        which: Range<usize>,
    },
    Retry {
        ticket: usize,
        which: usize,
        after: u64,
    },
    Leave {
        ticket: usize,
        which: Range<usize>,
    },
    Wait(u64),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0_usize..5, 0_usize..5).prop_map(|(start, len)| start..start + len);
    prop_oneof![
        4 => (proptest::collection::vec(0_u8..4, 0..5), 0_u8..3)
            .prop_map(|(gaps, tail)| Step::Put { gaps, tail }),
        5 => (1_usize..5).prop_map(Step::Take),
        5 => (any::<usize>(), range()).prop_map(|(ticket, which)| Step::Finish { ticket, which }),
        2 => (any::<usize>(), 0_usize..4, 0_u64..4)
            .prop_map(|(ticket, which, after)| Step::Retry { ticket, which, after }),
        1 => (any::<usize>(), range()).prop_map(|(ticket, which)| Step::Leave { ticket, which }),
        2 => (0_u64..4).prop_map(Step::Wait),
        1 => Just(Step::Close),
    ]
}

/// The same, by offsets in a map.
#[derive(Default)]
struct Model {
    messages: BTreeMap<i64, ModelMessage>,
    position: i64,
    batch: usize,
    closed: bool,
}

#[derive(Debug)]
struct ModelMessage {
    batch: usize,
    running: bool,
    taken: bool,
    due: Option<Instant>,
}

impl Model {
    fn running(&self) -> usize {
        self.messages
            .values()
            .filter(|message| message.running)
            .count()
    }

    fn safe_offset(&self) -> i64 {
        self.messages
            .keys()
            .next()
            .copied()
            .unwrap_or(self.position)
    }

    fn batches(&self) -> usize {
        let mut batches: Vec<_> = self
            .messages
            .values()
            .map(|message| message.batch)
            .collect();
        batches.dedup();
        batches.len()
    }

    fn take(&mut self, max: usize, now: Instant) -> Vec<i64> {
        if self.closed {
            return Vec::new();
        }
        let due = |message: &ModelMessage| message.due.filter(|due| *due <= now);
        let again = self
            .messages
            .iter()
            .filter_map(|(offset, message)| Some((due(message)?, *offset)));
        let taken = match again.min() {
            Some((_, offset)) => vec![offset],
            None => {
                let waiting = self.messages.iter().filter(|(_, message)| !message.taken);
                waiting.map(|(offset, _)| *offset).take(max).collect()
            }
        };
        for offset in &taken {
            let message = self.messages.get_mut(offset).unwrap();
            *message = ModelMessage {
                running: true,
                taken: true,
                due: None,
                batch: message.batch,
            };
        }
        taken
    }

    fn is_ready(&self, now: Instant) -> bool {
        let due = |message: &ModelMessage| message.due.is_some_and(|due| due <= now);
        self.messages
            .values()
            .any(|message| !message.taken || due(message))
    }

    fn close(&mut self) {
        self.closed = true;
        if let Some((offset, _)) = self.messages.iter().find(|(_, message)| !message.taken) {
            self.position = *offset;
        }
        self.messages.retain(|_, message| message.taken);
        self.messages
            .values_mut()
            .for_each(|message| message.due = None);
    }
}

proptest! {
    #[test]
    fn behaves_like_a_map_of_offsets(steps in proptest::collection::vec(step(), 0..60)) {
        let mut fixture = Fixture::new(0);
        let mut model = Model::default();
        let mut tickets: Vec<(Ticket, Vec<i64>)> = Vec::new();
        let mut safe = 0;
        for step in steps {
            match step {
                Step::Put { gaps, tail } => {
                    // A source goes on where the queue's position is.
                    let mut offset = fixture.queue.position() - 1;
                    let offsets: Vec<i64> = gaps
                        .iter()
                        .map(|gap| {
                            offset += 1 + i64::from(*gap);
                            offset
                        })
                        .collect();
                    let next = offset + 1 + i64::from(tail);
                    fixture.put(&offsets, next);
                    if !model.closed {
                        model.position = next;
                        model.batch += 1;
                        let batch = model.batch;
                        let fresh = ModelMessage { batch, running: false, taken: false, due: None };
                        model.messages.extend(offsets.iter().map(|offset| {
                            (*offset, ModelMessage { ..fresh })
                        }));
                    }
                }
                Step::Take(max) => {
                    let taken = fixture.queue.take(max, fixture.now);
                    let (ticket, offsets) = taken.map_or((None, Vec::new()), |(ticket, messages)| {
                        (Some(ticket), messages.iter().map(MessageExt::queue_offset).collect())
                    });
                    prop_assert_eq!(&offsets, &model.take(max, fixture.now));
                    tickets.extend(ticket.map(|ticket| (ticket, offsets)));
                }
                Step::Finish { ticket, which } => {
                    if let Some((ticket, offsets)) = pick(&tickets, ticket) {
                        fixture.queue.finish(ticket, which.clone());
                        for offset in slice(offsets, which) {
                            if model.messages.get(offset).is_some_and(|message| message.running) {
                                model.messages.remove(offset);
                            }
                        }
                    }
                }
                Step::Retry { ticket, which, after } => {
                    if let Some((ticket, offsets)) = pick(&tickets, ticket) {
                        // Due times differ, so that the order among equals does not matter.
                        let due = fixture.now + Duration::from_secs(after);
                        let due = due + Duration::from_micros(model.messages.len() as u64);
                        let unique = model.messages.values().all(|message| message.due != Some(due));
                        if unique {
                            fixture.queue.retry(ticket, which, due);
                        }
                        let offset = offsets.get(which).filter(|_| unique);
                        let message = offset.and_then(|offset| model.messages.get_mut(offset));
                        if let Some(message) = message.filter(|message| message.running) {
                            message.running = false;
                            message.due = (!model.closed).then_some(due);
                        }
                    }
                }
                Step::Leave { ticket, which } => {
                    if let Some((ticket, offsets)) = pick(&tickets, ticket) {
                        fixture.queue.leave(ticket, which.clone());
                        for offset in slice(offsets, which) {
                            if let Some(message) = model.messages.get_mut(offset) {
                                message.running = false;
                            }
                        }
                    }
                }
                Step::Wait(secs) => fixture.now += Duration::from_secs(secs),
                Step::Close => {
                    fixture.queue.close();
                    model.close();
                }
            }
            let queue = &fixture.queue;
            prop_assert_eq!(queue.safe_offset(), model.safe_offset());
            prop_assert!(queue.safe_offset() >= safe, "never backwards");
            safe = queue.safe_offset();
            prop_assert_eq!(queue.unfinished(), model.messages.len());
            prop_assert_eq!(queue.running(), model.running());
            prop_assert_eq!(queue.bytes, model.batches() * 1024);
            prop_assert_eq!(queue.is_ready(fixture.now), model.is_ready(fixture.now));
        }
    }
}

fn pick(tickets: &[(Ticket, Vec<i64>)], at: usize) -> Option<&(Ticket, Vec<i64>)> {
    tickets.get(at.checked_rem(tickets.len())?)
}

fn slice(offsets: &[i64], which: Range<usize>) -> &[i64] {
    &offsets[which.start.min(offsets.len())..which.end.min(offsets.len())]
}

#[test]
fn what_is_handed_out_makes_room_and_holds_the_offset_until_it_is_confirmed() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[2, 3, 7], 8);
    let offsets: Vec<i64> = fixture
        .queue
        .peek(2)
        .iter()
        .map(MessageExt::queue_offset)
        .collect();
    assert_eq!((offsets, fixture.queue.safe_offset()), (vec![2, 3], 2));
    assert_eq!(fixture.queue.hand_out(2), Some(true));
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.running()),
        (2, 2)
    );
    assert_eq!(fixture.queue.hand_out(1), Some(false));
    assert_eq!((fixture.queue.bytes, fixture.queue.unfinished()), (0, 3));
    assert!(!fixture.queue.is_ready(fixture.now));
    fixture.queue.confirm();
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (8, 0)
    );
}

#[test]
fn only_what_was_handed_out_can_be_confirmed_and_only_once() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 1, 2, 3, 4], 5);
    fixture.queue.hand_out(4).unwrap();
    for offset in [-1, 5] {
        let refused = fixture.queue.confirm_before(offset).unwrap_err();
        assert_eq!(refused, NotHandedOut { min: 0, max: 4 });
    }
    fixture.queue.confirm_before(3).unwrap();
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (3, 2)
    );
    fixture.queue.confirm_before(2).unwrap_err();
    fixture.queue.confirm_before(3).unwrap();
    fixture.queue.confirm_before(4).unwrap();
    assert_eq!(fixture.queue.running(), 0);
    fixture.queue.confirm_before(4).unwrap();
}

#[test]
fn a_closed_queue_hands_nothing_out_and_confirms_what_is_out() {
    let mut fixture = Fixture::new(0);
    fixture.put(&[0, 1, 2], 3);
    fixture.queue.hand_out(1).unwrap();
    fixture.queue.close();
    assert!(fixture.queue.peek(9).is_empty() && fixture.queue.hand_out(1).is_none());
    assert_eq!(
        (fixture.queue.safe_offset(), fixture.queue.unfinished()),
        (0, 1)
    );
    fixture.queue.confirm();
    assert_eq!(fixture.queue.safe_offset(), 1);
}

#[derive(Debug, Clone)]
enum Polling {
    Put { gaps: Vec<u8>, tail: u8 },
    HandOut(usize),
    Confirm,
    ConfirmBefore(i64),
    Close,
}

fn polling() -> impl Strategy<Value = Polling> {
    prop_oneof![
        4 => (proptest::collection::vec(0_u8..4, 0..5), 0_u8..3)
            .prop_map(|(gaps, tail)| Polling::Put { gaps, tail }),
        5 => (0_usize..5).prop_map(Polling::HandOut),
        2 => Just(Polling::Confirm),
        3 => (-3_i64..9).prop_map(Polling::ConfirmBefore),
        1 => Just(Polling::Close),
    ]
}

proptest! {
    #[test]
    fn hands_every_message_out_once_and_never_passes_one_that_is_not_confirmed(
        steps in proptest::collection::vec(polling(), 0..60),
    ) {
        let mut fixture = Fixture::new(0);
        // What was put in and not handed out, what is out, and the offset behind which nothing is.
        let (mut waiting, mut out) = (Vec::<i64>::new(), Vec::<i64>::new());
        let (mut position, mut closed, mut safe) = (0, false, 0);
        for step in steps {
            let behind_out = waiting.first().copied().unwrap_or(position);
            match step {
                Polling::Put { gaps, tail } => {
                    let mut offset = fixture.queue.position() - 1;
                    let offsets: Vec<i64> = gaps.iter().map(|gap| {
                        offset += 1 + i64::from(*gap);
                        offset
                    }).collect();
                    let next = offset + 1 + i64::from(tail);
                    fixture.put(&offsets, next);
                    if !closed {
                        position = next;
                        waiting.extend(offsets);
                    }
                }
                Polling::HandOut(count) => {
                    let seen = fixture.queue.peek(count);
                    let offsets: Vec<i64> = seen.iter().map(MessageExt::queue_offset).collect();
                    let count = count.min(waiting.len());
                    prop_assert_eq!(&offsets[..], &waiting[..count]);
                    let first = fixture.queue.hand_out(count);
                    prop_assert_eq!(first, (!closed).then_some(out.is_empty()));
                    out.extend(waiting.drain(..count));
                }
                Polling::Confirm => {
                    fixture.queue.confirm();
                    out.clear();
                }
                Polling::ConfirmBefore(ahead) => {
                    let offset = safe + ahead;
                    let allowed = (safe..=behind_out).contains(&offset);
                    prop_assert_eq!(fixture.queue.confirm_before(offset).is_ok(), allowed);
                    if allowed && offset < behind_out {
                        // The offset itself may be that of no message: it stands for the first one behind it.
                        out.retain(|message| *message > offset);
                        out.insert(0, offset);
                    } else if allowed {
                        out.clear();
                    }
                }
                Polling::Close => {
                    fixture.queue.close();
                    position = waiting.first().copied().unwrap_or(position);
                    waiting.clear();
                    closed = true;
                }
            }
            let queue = &fixture.queue;
            let expected = out.iter().chain(&waiting).next().copied().unwrap_or(position);
            prop_assert_eq!(queue.safe_offset(), expected);
            prop_assert!(queue.safe_offset() >= safe, "never backwards");
            safe = queue.safe_offset();
            prop_assert!(queue.running() + waiting.len() == queue.unfinished());
            prop_assert_eq!(queue.running() == 0, out.is_empty());
            prop_assert_eq!(queue.is_ready(fixture.now), !waiting.is_empty());
        }
    }
}
