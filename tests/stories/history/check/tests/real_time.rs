//! What nobody can tell where time is real, or where commits are forgotten.

use std::time::Duration;

use super::{
    LIMITS, asked, consumed, delivered, finding, history, logged, place, q, right, sent, told, with,
};
use crate::history::check::{Limits, Report, check};
use crate::history::record::{Event, Outcome, Told};

const LOOSE: Limits = Limits {
    is_loose: true,
    ..LIMITS
};

const HEALED: Event = Event::Healed { within: None };

/// The right history up to the end of a fault, in which these happen when everything is committed.
fn in_a_fault(more: &[Event], limits: &Limits) -> Report {
    let events = with(|events| {
        let end = events.len() - 3;
        let more = more.iter().cloned().chain([HEALED]);
        events.splice(end..end, more);
        let begin = place(events, &delivered(1, 0));
        events.insert(begin, Event::Fault);
    });
    check(&history(events), limits)
}

#[test]
fn what_comes_during_a_fault_may_come_again_once_for_each_takeover() {
    let again = [delivered(1, 0), consumed(1, 0, true)];
    let report = in_a_fault(&again, &LIMITS);
    assert!(finding(&report).starts_with("I5: 1 duplicates, at most 0"));
    in_a_fault(&again, &LOOSE).assert_right();
    // Two messages came, and one takeover makes that four.
    let times = |count| [&again[..]].repeat(count).concat();
    in_a_fault(&times(2), &LOOSE).assert_right();
    let report = in_a_fault(&times(3), &LOOSE);
    assert!(finding(&report).starts_with("I5: 3 duplicates, at most 2"));
    let mut taken_over = vec![asked(1), told(1, Told::At(2))];
    taken_over.extend(times(3));
    in_a_fault(&taken_over, &LOOSE).assert_right();
}

#[test]
fn what_comes_again_without_a_fault_is_one_too_many() {
    let events = with(|events| {
        let end = events.len() - 3;
        events.splice(end..end, [delivered(1, 0), consumed(1, 0, true)]);
    });
    let report = check(&history(events), &LOOSE);
    assert!(finding(&report).starts_with("I5: 1 duplicates, at most 0"));
}

#[test]
fn a_send_that_takes_as_long_as_an_attempt_may_be_stored_twice() {
    let twice = |took| {
        let mut history = history(right());
        history.log.push(logged(q(), 2, 0));
        let sent = place(&right(), &sent(0, Outcome::Acked));
        history.events[sent].at = history.events[sent - 1].at + Duration::from_millis(took);
        history
    };
    check(&twice(1000), &LOOSE).assert_right();
    let report = check(&twice(999), &LOOSE);
    assert!(finding(&report).starts_with("I5: 0 is in the log 2 times"));
    let report = check(&twice(1000), &LIMITS);
    assert!(finding(&report).starts_with("I5: 0 is in the log 2 times"));
    let on_apache = |took| {
        let mut history = twice(took);
        history.sees_brokers = false;
        check(&history, &LIMITS)
    };
    on_apache(1000).assert_right();
    assert!(finding(&on_apache(999)).starts_with("I5: 0 is in the log 2 times"));
}

#[test]
fn commits_that_a_broker_may_have_forgotten_count_by_their_time() {
    let forgets = |seconds| Limits {
        forgets_commits: true,
        committed_within: Duration::from_secs(seconds),
        ..LIMITS
    };
    let events = with(|events| {
        let end = events.len() - 3;
        let more = [Event::Fault, HEALED, delivered(1, 0), consumed(1, 0, true)];
        events.splice(end..end, more);
    });
    // One event a second: both came within seven of the fault and its end, and the commit was made.
    check(&history(events.clone()), &forgets(7)).assert_right();
    let report = check(&history(events), &forgets(2));
    assert!(finding(&report).starts_with("I5: 1 duplicates, at most 0"));
}

#[test]
fn the_order_of_what_several_threads_note_says_nothing() {
    let mut swapped = right();
    let at = place(&swapped, &delivered(1, 0));
    swapped[at..at + 4].rotate_left(2);
    let threaded = Limits {
        is_threaded: true,
        ..LIMITS
    };
    check(&history(swapped.clone()), &threaded).assert_right();
    assert!(finding(&check(&history(swapped), &LIMITS)).starts_with("I3"));
}
