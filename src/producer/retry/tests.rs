use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_attempt_has_all_the_time_where_no_other_broker_is() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 3 * SECOND, 2);
    assert_eq!(budget.begin(now, false), now + 3 * SECOND);
    assert_eq!(budget.begin(now + SECOND, false), now + 3 * SECOND);
}

#[test]
fn attempts_share_the_time_where_another_broker_is() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 12 * SECOND, 2);
    assert_eq!(budget.begin(now, true), now + 4 * SECOND);
    // What an attempt did not use is for the others.
    assert_eq!(budget.begin(now + 2 * SECOND, true), now + 7 * SECOND);
    assert_eq!(budget.begin(now + 3 * SECOND, true), now + 12 * SECOND);
    assert_eq!(budget.attempts(), (3, 3));
}

#[test]
fn a_share_is_no_less_than_a_second_and_no_more_than_what_is_left() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 1500 * millis(1), 9);
    assert_eq!(budget.begin(now, true), now + SECOND);
    assert_eq!(budget.begin(now + SECOND, true), now + millis(1500));
    assert_eq!(
        Budget::new(now, Duration::ZERO, 2).begin(now + SECOND, true),
        now
    );
}

#[test]
fn there_are_as_many_attempts_as_were_asked_for() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 3 * SECOND, 1);
    let next = |budget: &mut Budget| {
        budget.begin(now, true);
        budget.next(Verdict::Elsewhere, now, true, 0.0)
    };
    assert_eq!(next(&mut budget), Next::AT_ONCE);
    assert_eq!(next(&mut budget), Next::Stop(Last::Attempts));
    let mut once = Budget::new(now, SECOND, 0);
    once.begin(now, true);
    assert_eq!(
        once.next(Verdict::AfterRefresh, now, true, 0.0),
        Next::Stop(Last::Attempts)
    );
    let mut ever = Budget::new(now, SECOND, u32::MAX);
    assert_eq!(next(&mut ever), Next::AT_ONCE);
}

#[test]
fn nothing_is_tried_after_the_end() {
    let now = Instant::now();
    let mut budget = Budget::new(now, SECOND, 5);
    budget.begin(now, true);
    assert_eq!(
        budget.next(Verdict::Elsewhere, now + SECOND, true, 0.0),
        Next::Stop(Last::Time)
    );
    // Nor when the pause would reach it.
    let late = now + millis(900);
    assert_eq!(
        budget.next(Verdict::Elsewhere, late, false, 0.0),
        Next::Stop(Last::Time)
    );
    assert_eq!(
        budget.next(Verdict::Elsewhere, late, true, 0.0),
        Next::AT_ONCE
    );
}

#[test]
fn the_same_broker_is_given_a_pause_that_grows() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 60 * SECOND, 20);
    let mut pauses = Vec::new();
    for chance in [0.0, 0.0, 1.0, 0.0, 0.0, 0.0] {
        budget.begin(now, false);
        match budget.next(Verdict::Elsewhere, now, false, chance) {
            Next::Again {
                pause,
                refresh: false,
            } => pauses.push(pause.as_millis()),
            next => panic!("{next:?}"),
        }
    }
    assert_eq!(pauses, [100, 300, 1125, 1000, 1000, 1000]);
}

#[test]
fn what_only_another_broker_takes_stops_without_one() {
    let now = Instant::now();
    let mut budget = Budget::new(now, SECOND, 5);
    budget.begin(now, true);
    assert_eq!(
        budget.next(Verdict::OnlyElsewhere, now, true, 0.0),
        Next::AT_ONCE
    );
    assert_eq!(
        budget.next(Verdict::OnlyElsewhere, now, false, 0.0),
        Next::Stop(Last::Brokers)
    );
    assert_eq!(
        budget.next(Verdict::GiveUp, now, true, 0.0),
        Next::Stop(Last::Answer)
    );
}

#[test]
fn the_route_is_looked_up_again_once() {
    let now = Instant::now();
    let mut budget = Budget::new(now, SECOND, 5);
    budget.begin(now, false);
    let refreshed = Next::Again {
        pause: Duration::ZERO,
        refresh: true,
    };
    assert_eq!(
        budget.next(Verdict::AfterRefresh, now, false, 0.0),
        refreshed
    );
    assert_eq!(
        budget.next(Verdict::AfterRefresh, now, false, 0.0),
        Next::Stop(Last::Brokers)
    );
    assert_eq!(
        budget.next(Verdict::AfterRefresh, now, true, 0.0),
        Next::AT_ONCE
    );
}

#[test]
fn an_unclear_answer_has_the_route_looked_up_in_the_pause_once() {
    let now = Instant::now();
    let mut budget = Budget::new(now, 60 * SECOND, 5);
    let mut seen = Vec::new();
    for other in [true, false, false] {
        budget.begin(now, other);
        match budget.next(Verdict::ElsewhereOrRefreshed, now, other, 0.0) {
            Next::Again { pause, refresh } => seen.push((pause.as_millis(), refresh)),
            Next::Stop(_) => panic!("it stopped"),
        }
    }
    assert_eq!(seen, [(0, false), (300, true), (900, false)]);
}

proptest! {
    /// Whatever happens, a send makes no more attempts than it may, and none begins or is waited for after the end.
    #[test]
    fn a_send_ends(
        timeout in 0..10_000_u64,
        retries in 0..6_u32,
        steps in proptest::collection::vec((0..5_usize, any::<bool>(), 0..3_000_u64, 0.0..1.0), 1..20),
    ) {
        let verdicts = [
            Verdict::Elsewhere,
            Verdict::ElsewhereOrRefreshed,
            Verdict::OnlyElsewhere,
            Verdict::AfterRefresh,
            Verdict::GiveUp,
        ];
        let start = Instant::now();
        let mut budget = Budget::new(start, millis(timeout), retries);
        let (mut now, mut attempts) = (start, 0);
        for (verdict, other, took, chance) in steps {
            let until = budget.begin(now, other);
            attempts += 1;
            prop_assert!(until <= budget.deadline());
            now += millis(took);
            match budget.next(verdicts[verdict], now, other, chance) {
                Next::Again { pause, .. } => now += pause,
                Next::Stop(_) => break,
            }
            prop_assert!(now < budget.deadline());
        }
        prop_assert!(attempts <= retries + 1);
    }
}
