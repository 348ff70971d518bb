//! Histories that are wrong, each in one way.

mod real_time;

use std::time::Duration;

use rocketmq_sdk::MessageQueue;

use super::{Limits, Report};
use crate::history::record::{Event, Happened, History, Logged, Outcome, Question, Told};

const LIMITS: Limits = Limits {
    clients: 1,
    ..Limits::new(1000)
};

fn q() -> MessageQueue {
    MessageQueue::new("t", "broker-a", 0)
}

fn retry() -> MessageQueue {
    MessageQueue::new("%RETRY%g", "broker-a", 0)
}

fn delivered(member: usize, offset: i64) -> Event {
    Event::Delivered {
        member,
        queue: q(),
        offset,
        id: offset as u64,
    }
}

fn consumed(member: usize, offset: i64, success: bool) -> Event {
    Event::Consumed {
        member,
        queue: q(),
        offset,
        id: offset as u64,
        success,
    }
}

fn commits(member: usize, offset: i64) -> Event {
    Event::Commits {
        member,
        queue: q(),
        offset,
    }
}

fn committed(offset: i64) -> Event {
    Event::Committed { queue: q(), offset }
}

fn asked(member: usize) -> Event {
    Event::AskedOffset { member, queue: q() }
}

fn told(member: usize, told: Told) -> Event {
    Event::ToldOffset {
        member,
        queue: q(),
        told,
    }
}

fn pulls(member: usize, offset: i64) -> Event {
    Event::Pulls {
        member,
        queue: q(),
        offset,
    }
}

fn given(member: usize, first: i64, count: usize, bytes: usize) -> Event {
    Event::Given {
        member,
        queue: q(),
        first,
        count,
        bytes,
    }
}

fn sent(id: u64, outcome: Outcome) -> Event {
    Event::Sent {
        id,
        outcome,
        late: false,
    }
}

fn logged(queue: MessageQueue, offset: i64, id: u64) -> Logged {
    Logged {
        queue,
        offset,
        position: 100 * offset,
        key: "".into(),
        id,
    }
}

/// Two messages that are sent, pulled, consumed and committed as it should be.
fn right() -> Vec<Event> {
    vec![
        asked(1),
        told(1, Told::Nothing),
        commits(1, 0),
        committed(0),
        pulls(1, 0),
        Event::Sending { id: 0 },
        sent(0, Outcome::Acked),
        Event::Sending { id: 1 },
        sent(1, Outcome::Acked),
        given(1, 0, 2, 400),
        delivered(1, 0),
        consumed(1, 0, true),
        delivered(1, 1),
        consumed(1, 1, true),
        commits(1, 2),
        committed(2),
        Event::Called {
            call: 1,
            what: "shutdown",
        },
        Event::Returned { call: 1 },
        Event::Rest {
            tasks_before: 3,
            tasks_after: 3,
        },
    ]
}

/// A history of one event a second.
fn history(events: Vec<Event>) -> History {
    let events = events.into_iter().enumerate().map(|(at, event)| Happened {
        place: at as u64,
        at: Duration::from_secs(at as u64),
        event,
    });
    History {
        events: events.collect(),
        log: vec![logged(q(), 0, 0), logged(q(), 1, 1)],
        sees_brokers: true,
        seen: Vec::new(),
    }
}

fn check(events: Vec<Event>) -> Report {
    super::check(&history(events), &LIMITS)
}

/// The only finding.
fn finding(report: &Report) -> &str {
    assert_eq!(report.broken.len(), 1, "{report:?}");
    &report.broken[0]
}

#[track_caller]
fn assert_finds(events: Vec<Event>, what: &str) {
    let report = check(events);
    assert!(finding(&report).contains(what), "{report:?} and not {what}");
}

/// The right history, changed.
fn with(change: impl FnOnce(&mut Vec<Event>)) -> Vec<Event> {
    let mut events = right();
    change(&mut events);
    events
}

fn place(events: &[Event], wanted: &Event) -> usize {
    events.iter().position(|event| event == wanted).unwrap()
}

fn put_before(events: &mut Vec<Event>, next: &Event, event: Event) {
    events.insert(place(events, next), event);
}

fn remove(events: &mut Vec<Event>, unwanted: &Event) {
    events.remove(place(events, unwanted));
}

#[test]
fn a_right_history_is_right() {
    let report = check(right());
    report.assert_right();
    assert_eq!((report.acked, report.failed, report.duplicates), (2, 0, 0));
    assert_eq!(report.buffered, 400);
}

#[test]
fn i1_an_acknowledged_message_that_is_not_stored() {
    let mut lost = history(right());
    lost.log.pop();
    let report = super::check(&lost, &LIMITS);
    assert!(finding(&report).starts_with("I1"), "{report:?}");
    // One that nobody asked for may be lost, and is counted.
    lost.events[8].event = sent(1, Outcome::Oneway);
    let report = super::check(&lost, &LIMITS);
    report.assert_right();
    assert_eq!((report.acked, report.oneway_lost), (1, 1));
}

#[test]
fn i2_an_acknowledged_message_that_nobody_finished() {
    let mut events = with(|events| {
        remove(events, &consumed(1, 1, true));
        remove(events, &commits(1, 2));
    });
    assert_finds(events.clone(), "I2: 1 was acknowledged");
    // A failure is not a success.
    events.push(consumed(1, 1, false));
    assert_finds(events, "I2: 1 was acknowledged");
}

#[test]
fn i3_a_first_delivery_out_of_order() {
    let one = delivered(1, 0);
    let swapped = with(|events| {
        let at = place(events, &one);
        // Each with its end.
        events[at..at + 4].rotate_left(2);
    });
    assert_finds(swapped.clone(), "I3: member 1 was given t@broker-a:0:0");
    // What failed may come again, and so may what another assignment was given.
    check(with(|events| {
        let end = events.len();
        events[place(&right(), &consumed(1, 0, true))] = consumed(1, 0, false);
        events.insert(end - 5, one.clone());
        events.insert(end - 4, consumed(1, 0, true));
    }))
    .assert_right();
    let mut unseen = history(swapped);
    unseen.sees_brokers = false;
    assert_eq!(super::check(&unseen, &LIMITS).broken.len(), 1);
    unseen.events.insert(12, unseen.events[11].clone());
    unseen.events[12].event = Event::Fault;
    super::check(&unseen, &LIMITS).assert_right();
    // What an assignment that is not seen brings again is not given for the first time.
    let again = [Event::Fault, delivered(1, 1), delivered(1, 0)];
    let mut again = history(with(|events| {
        let at = place(events, &commits(1, 2));
        events.splice(at..at, again);
    }));
    again.sees_brokers = false;
    super::check(&again, &LIMITS).assert_right();
}

#[test]
fn i4_a_commit_past_an_unfinished_message() {
    let early = with(|events| {
        let late = place(events, &consumed(1, 1, true));
        let consumed = events.remove(late);
        put_before(
            events,
            &Event::Called {
                call: 1,
                what: "shutdown",
            },
            consumed,
        );
    });
    assert_finds(
        early,
        "I4: member 1 commits t@broker-a:0:2 while 1 is not finished",
    );
}

#[test]
fn i4_a_commit_before_the_send_back() {
    let back = Event::SentBack {
        queue: q(),
        offset: 1,
        told: true,
    };
    let failed = |before: &Event| {
        let mut events = with(|events| {
            let at = place(events, &consumed(1, 1, true));
            events[at] = consumed(1, 1, false);
            put_before(events, before, back.clone());
        });
        events.push(Event::Consumed {
            member: 1,
            queue: retry(),
            offset: 0,
            id: 1,
            success: true,
        });
        events
    };
    assert_finds(
        failed(&committed(2)),
        "I4: member 1 commits t@broker-a:0:2 while 1",
    );
    check(failed(&commits(1, 2))).assert_right();
}

#[test]
fn i4_a_commit_that_goes_back_or_below_zero() {
    let back = with(|events| events.extend([commits(1, 1)]));
    assert_finds(back, "I4: member 1 commits t@broker-a:0:1 behind 2");
    let negative = with(|events| events.extend([commits(1, -1)]));
    assert_finds(negative, "I4: member 1 commits t@broker-a:0:-1");
    // A new assignment may begin further back, and so may one whose offset is not there.
    let again = [asked(1), told(1, Told::At(1)), pulls(1, 1), commits(1, 1)];
    check(with(|events| events.extend(again))).assert_right();
    let misplaced = Event::Misplaced {
        member: 1,
        queue: q(),
    };
    check(with(|events| events.extend([misplaced, commits(1, 1)]))).assert_right();
    let behind = [asked(2), told(2, Told::At(2)), commits(2, 1)];
    assert_finds(
        with(|events| events.extend(behind)),
        "I4: member 2 commits t@broker-a:0:1 behind 2",
    );
}

#[test]
fn i4_a_member_that_does_not_know_where_to_begin() {
    // It could not ask, and took that for "not found".
    let guessed = with(|events| remove(events, &told(1, Told::Nothing)));
    assert_finds(
        guessed,
        "I4: member 1 commits t@broker-a:0:0 without knowing",
    );
    let never_asked = with(|events| events.extend([pulls(2, 0)]));
    assert_finds(
        never_asked,
        "I4: member 2 begins t@broker-a:0 at 0 without knowing",
    );
    let uncommitted = with(|events| {
        remove(events, &commits(1, 0));
        remove(events, &committed(0));
    });
    assert_finds(
        uncommitted,
        "I4: member 1 begins t@broker-a:0 at 0 before it has committed",
    );
    let elsewhere = [asked(1), told(1, Told::At(2)), pulls(1, 0)];
    assert_finds(
        with(|events| events.extend(elsewhere)),
        "begins t@broker-a:0 at 0, and the group is at 2",
    );
    // The answer to an older question comes when it has begun.
    let late = [asked(1), asked(1), told(1, Told::At(0)), pulls(1, 0)];
    let late = [&late[..], &[told(1, Told::At(0)), pulls(1, 2)]].concat();
    check(with(|events| events.extend(late))).assert_right();
    let altered = [asked(1), told(1, Told::Something), pulls(1, 0)];
    check(with(|events| events.extend(altered))).assert_right();
}

#[test]
fn i5_more_duplicates_than_a_fault_explains() {
    let uncommitted = committed(2);
    let again = [delivered(2, 1), consumed(2, 1, true)];
    assert_finds(
        with(|events| events.extend(again.clone())),
        "I5: 1 duplicates, at most 0",
    );
    let explained = |with_commit: bool, sees_brokers: bool| {
        let mut events = with(|events| {
            if !with_commit {
                remove(events, &uncommitted);
            }
        });
        events.push(Event::Fault);
        events.extend(again.clone());
        let mut history = history(events);
        history.sees_brokers = sees_brokers;
        super::check(&history, &LIMITS)
    };
    assert!(finding(&explained(true, true)).contains("I5: 1 duplicates, at most 0"));
    let report = explained(false, true);
    report.assert_right();
    assert_eq!((report.duplicates, report.allowed_duplicates), (1, 2));
    // Where commits are not seen, those of the last seconds count.
    assert!(finding(&explained(true, false)).contains("I5: 1 duplicates, at most 0"));
    // What was sent back without an answer may come again, too.
    let unanswered = Event::SentBack {
        queue: q(),
        offset: 1,
        told: false,
    };
    check(with(|events| {
        put_before(events, &commits(1, 2), unanswered);
        events.extend(again);
    }))
    .assert_right();
}

#[test]
fn i5_a_message_that_is_stored_twice_without_a_fault() {
    let twice = |fault: Option<Event>| {
        let events = with(|events| {
            if let Some(fault) = fault {
                put_before(events, &sent(1, Outcome::Acked), fault);
            }
            let at = place(
                events,
                &Event::Called {
                    call: 1,
                    what: "shutdown",
                },
            );
            events.insert(
                at,
                Event::Delivered {
                    member: 1,
                    queue: q(),
                    offset: 2,
                    id: 1,
                },
            );
            let queue = q();
            events.insert(
                at + 1,
                Event::Consumed {
                    member: 1,
                    queue,
                    offset: 2,
                    id: 1,
                    success: true,
                },
            );
        });
        let mut history = history(events);
        history.log.push(logged(q(), 2, 1));
        super::check(&history, &LIMITS)
    };
    assert!(finding(&twice(None)).contains("I5: 1 is in the log 2 times"));
    let report = twice(Some(Event::Fault));
    report.assert_right();
    assert_eq!(report.duplicates, 1);
}

#[test]
fn i6_a_missing_second_late_or_untrue_outcome() {
    let missing = with(|events| events.push(Event::Sending { id: 9 }));
    assert_finds(missing, "I6: send 9 has no outcome");
    let second = with(|events| events.push(sent(1, Outcome::Acked)));
    assert_finds(second, "I6: send 1 has an outcome too many");
    let replaced = |outcome, late| {
        with(|events| {
            let at = place(events, &sent(0, Outcome::Acked));
            events[at] = Event::Sent {
                id: 0,
                outcome,
                late,
            };
        })
    };
    assert_finds(
        replaced(Outcome::Acked, true),
        "I6: send 0 had its outcome too late",
    );
    assert_finds(
        replaced(Outcome::NotStored, false),
        "I6: 0 is in the log, but its error says",
    );
    assert_finds(
        replaced(Outcome::Unwritten, false),
        "I6: 0 is in the log, but its error says",
    );
    // An error that leaves it open is right either way.
    check(replaced(Outcome::Unknown, false)).assert_right();
    let hanging = with(|events| remove(events, &Event::Returned { call: 1 }));
    assert_finds(hanging, "I6: a call of shutdown never returned");
    let twice = with(|events| events.push(Event::Returned { call: 1 }));
    assert_finds(twice, "I6: call 1 returned once too often");
}

#[test]
fn i7_memory_beyond_the_budget() {
    // 400 bytes for each pull, of which nothing is finished.
    let more = |count: i64| (1..=count).flat_map(|at| [pulls(1, at), given(1, at, 1, 400)]);
    check(with(|events| events.extend(more(2)))).assert_right();
    assert_finds(
        with(|events| events.extend(more(3))),
        "I7: a member held 1200 bytes",
    );
    // What is pulled again, or by another member, is not held twice.
    let again = (0..5).flat_map(|_| [pulls(1, 7), given(1, 7, 1, 400)]);
    check(with(|events| events.extend(again))).assert_right();
    let moved = [
        asked(2),
        told(2, Told::At(2)),
        pulls(2, 2),
        given(2, 2, 1, 400),
    ];
    let report = check(with(|events| {
        events.extend(more(2));
        events.extend(moved);
        events.extend([
            asked(1),
            told(1, Told::At(3)),
            pulls(1, 3),
            given(1, 3, 1, 400),
        ]);
    }));
    report.assert_right();
    assert_eq!(report.buffered, 800);
}

#[test]
fn i7_tasks_that_stay() {
    let more = Event::Rest {
        tasks_before: 3,
        tasks_after: 5,
    };
    assert_finds(
        with(|events| *events.last_mut().unwrap() = more),
        "I7: 2 tasks stay",
    );
}

#[test]
fn i8_a_recovery_that_takes_too_long() {
    let healed = |within| Event::Healed {
        within: Some(Duration::from_secs(within)),
    };
    let before_sends =
        |within| with(|events| put_before(events, &Event::Sending { id: 0 }, healed(within)));
    check(before_sends(7)).assert_right();
    assert_finds(
        before_sends(3),
        "I8: the first listener after a fault came 4000 ms too late",
    );
    assert_eq!(check(before_sends(1)).broken.len(), 2);
    let never = with(|events| events.extend([healed(9), consumed(1, 1, true)]));
    assert_finds(never, "I8: no send succeeded");
    let until_the_next = with(|events| {
        events.extend([healed(0), sent(1, Outcome::Unknown), Event::Fault]);
        events.remove(place(&right(), &sent(1, Outcome::Acked)));
    });
    assert_eq!(check(until_the_next).broken.len(), 2);
    check(with(|events| events.extend([healed(2), Event::Fault]))).assert_right();
}

#[test]
fn i9_a_panic() {
    let panicked = Event::Panicked {
        text: "src/lib.rs:1: oh".into(),
    };
    assert_finds(with(|events| events.push(panicked)), "I9: src/lib.rs:1: oh");
}

#[test]
fn i11_a_storm() {
    let questions = [Question::Route, Question::Members, Question::Heartbeat];
    let all = questions
        .map(Event::Asked)
        .into_iter()
        .chain([Event::Connected]);
    for event in all {
        let storm = |seconds: usize| {
            let mut history = history(with(|events| events.extend(vec![event.clone(); 300])));
            for (at, happened) in history.events.iter_mut().enumerate() {
                happened.at = Duration::from_millis((at * seconds * 1000 / 300) as u64);
            }
            super::check(&history, &LIMITS)
        };
        assert!(finding(&storm(60)).contains("I11"), "{event:?}");
        storm(180).assert_right();
    }
}
