//! What of a group's offsets is left when members end, queues go, and brokers forget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::world::{Reply, World};
use crate::consumer::assigned::Assigned;
use crate::consumer::group::{Again, Group, Sink};
use crate::consumer::handle::Handle;
use crate::consumer::hooks::Hook;
use crate::consumer::profile::ConsumeType;
use crate::consumer::setup::Setup;
use crate::consumer::{ConsumeStatus, LitePullConsumer, PushConsumer, PushConsumerBuilder};
use crate::message::MessageExt;
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::request::Request;
use crate::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};
use crate::protocol::request::pull_message::PullMessage;

const SECOND: Duration = Duration::from_secs(1);

/// Nobody takes messages.
struct Idle;

impl Sink for Idle {
    fn ready(self: Arc<Self>, _: &Arc<Group>, _: Arc<Assigned>) {}
}

fn setup(world: &Arc<World>) -> Setup {
    let mut setup = Setup::new("g".into());
    setup.config(world.config());
    setup.environment(world.environment());
    setup.subscriptions.push(("t".into(), "*".into()));
    setup
}

async fn join(setup: Setup) -> Handle {
    let joined = setup.join(ConsumeType::Actively, Arc::new(Idle));
    joined.await.unwrap()
}

/// A member that begins behind the last message.
async fn lite_pull(world: &Arc<World>) -> LitePullConsumer {
    let builder = LitePullConsumer::builder("g").config(world.config());
    let builder = builder.environment(world.environment());
    builder.subscribe("t", "*").start().await.unwrap()
}

fn push(world: &Arc<World>) -> PushConsumerBuilder {
    PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
}

/// How many messages the next member gets that were stored meanwhile.
async fn next_gets(world: &Arc<World>, stored: usize) -> usize {
    world.store(0, stored);
    let next = lite_pull(world).await;
    let got = next.poll(SECOND).await.unwrap().len();
    next.shutdown().await.unwrap();
    got
}

/// Says yes to the first commit, and keeps nothing.
fn swallow_one(world: &World) {
    let is_first = AtomicBool::new(true);
    world.script(move |command| match command.request_code() {
        UpdateConsumerOffset::CODE if is_first.swap(false, Ordering::Relaxed) => {
            Reply::Code(ResponseCode::SUCCESS)
        }
        _ => Reply::Usual,
    });
}

#[tokio::test(start_paused = true)]
async fn l35_a_start_offset_that_the_broker_forgets_skips_nothing() {
    for seconds in [0, 31] {
        let world = World::with_queues(1);
        world.store(0, 10);
        swallow_one(&world);
        let consumer = lite_pull(&world).await;
        assert_eq!((world.commits(), world.committed(0)), (vec![(0, 10)], None));
        sleep(SECOND * seconds).await;
        if seconds > 0 {
            // Nobody hears of its end.
            world.script(|_| Reply::Silence);
        }
        let id = consumer.client_id().to_owned();
        let _ = consumer.shutdown().await;
        world.script(|_| Reply::Usual);
        world.set_member(&id, false);
        assert_eq!(next_gets(&world, 5).await, 5, "after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn l35_an_offset_that_the_broker_forgets_later_is_committed_again() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 10);
    let consumer = lite_pull(&world).await;
    assert_eq!(consumer.poll(SECOND).await.unwrap().len(), 10);
    consumer.commit().await.unwrap();
    sleep(SECOND * 60).await;
    let commits = world.commits().len();
    assert!(
        commits <= 5,
        "{commits} commits of a queue that stands still"
    );
    world.forget(0);
    sleep(SECOND * 36).await;
    assert_eq!(world.committed(0), Some(10));
    // A queue that goes to another member is asked for, too.
    world.forget(0);
    world.set_member("!", true);
    sleep(SECOND).await;
    assert!(consumer.assigned_queues().is_empty());
    assert_eq!(world.committed(0), Some(10));
    consumer.shutdown().await.unwrap();
}

/// A member whose listeners take four seconds for five messages ends; what the group has then, and whether all was committed.
async fn drain(is_overtaken: bool, is_asked_in_vain: bool) -> (Option<i64>, bool) {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 5);
    let consumer = push(&world).listener(|_| async {
        sleep(SECOND * 4).await;
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND).await;
    let (report, ()) = tokio::join!(consumer.shutdown(), async {
        sleep(SECOND).await;
        if is_overtaken {
            world.set_committed(0, 50);
        }
        if is_asked_in_vain {
            world.script(|command| match command.request_code() {
                QueryConsumerOffset::CODE => Reply::Code(ResponseCode::SYSTEM_ERROR),
                _ => Reply::Usual,
            });
        }
    });
    let report = report.unwrap();
    assert_eq!(report.unfinished(), 0);
    (world.committed(0), report.uncommitted().is_empty())
}

#[tokio::test(start_paused = true)]
async fn l03_who_ends_does_not_put_the_group_back_that_another_member_took_on() {
    assert_eq!(drain(false, false).await, (Some(5), true));
    assert_eq!(drain(true, false).await, (Some(50), true));
    assert_eq!(drain(true, true).await, (Some(50), false));
    // They come again.
    assert_eq!(drain(false, true).await, (Some(0), false));
}

#[tokio::test(start_paused = true)]
async fn l03_a_commit_that_is_under_way_at_the_end_does_not_come_after_the_last_one() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 10);
    world.script(|command| match command.request_code() {
        UpdateConsumerOffset::CODE => {
            let header: UpdateConsumerOffset<'_> = command.header().unwrap();
            match header.commit_offset {
                5 => Reply::UsualAfter(SECOND),
                _ => Reply::Usual,
            }
        }
        _ => Reply::Usual,
    });
    let listener = |messages: Vec<MessageExt>| async move {
        if messages[0].queue_offset() >= 5 {
            sleep(Duration::from_millis(5400)).await;
        }
        ConsumeStatus::CONSUME_SUCCESS
    };
    let consumer = push(&world).listener(listener).start().await.unwrap();
    sleep(Duration::from_millis(5700)).await;
    assert_eq!(world.commits().last(), Some(&(0, 5)), "it is under way");
    assert_eq!(world.committed(0), Some(0));
    consumer.shutdown().await.unwrap();
    sleep(SECOND * 2).await;
    assert_eq!(world.committed(0), Some(10));
}

#[tokio::test(start_paused = true)]
async fn l03_a_slave_that_knows_no_offset_is_not_believed() {
    let world = World::with_queues(1);
    world.store(0, 10);
    world.set_committed(0, 4);
    world.give_slave();
    world.set_master(false);
    world.script(|command| match command.request_code() {
        QueryConsumerOffset::CODE => Reply::Code(ResponseCode::QUERY_NOT_FOUND),
        _ => Reply::Usual,
    });
    let consumer = lite_pull(&world).await;
    sleep(SECOND * 10).await;
    assert_eq!((world.commits(), world.pulls()), (vec![], vec![]));
    world.set_master(true);
    world.script(|_| Reply::Usual);
    sleep(SECOND * 10).await;
    assert_eq!(consumer.poll(SECOND).await.unwrap().len(), 6);
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_kept_when_the_queue_goes_at_once() {
    for (ends, begins) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::with_queues(1);
        world.store(0, 10);
        world.set_committed(0, 10);
        let handle = join(setup(&world)).await;
        let group = handle.group("test").unwrap();
        if !begins {
            world.script(|command| match command.request_code() {
                QueryConsumerOffset::CODE => Reply::Silence,
                _ => Reply::Usual,
            });
        }
        group.rebuild(&group.owned()[0], Again::Reset(3));
        if !ends {
            world.set_member("!", true);
            sleep(SECOND / 4).await;
            assert!(group.owned().is_empty());
            assert_eq!(world.committed(0), Some(3), "{begins}");
        }
        handle.shutdown(Duration::ZERO).await.unwrap();
        assert_eq!(world.committed(0), Some(3), "{ends} {begins}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_resets_at_every_pull_is_not_asked_without_end() {
    let world = World::with_queues(1);
    world.store(0, 10);
    world.set_committed(0, 10);
    world.script(|command| match command.request_code() {
        PullMessage::CODE => Reply::ResetAfter(3, Duration::ZERO),
        _ => Reply::Usual,
    });
    let handle = join(setup(&world)).await;
    sleep(SECOND * 10).await;
    let pulls = world.pulls().len();
    assert!((2..=40).contains(&pulls), "{pulls}");
    handle.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_a_pull_brings_is_kept_when_the_subscription_changes() {
    let world = World::with_queues(1);
    world.store(0, 10);
    world.set_committed(0, 10);
    let is_slow = Arc::new(AtomicBool::new(false));
    let (slow, mut is_told) = (Arc::clone(&is_slow), false);
    world.script(move |command| match command.request_code() {
        PullMessage::CODE if !std::mem::replace(&mut is_told, true) => Reply::ResetAfter(3, SECOND),
        RequestCode::HEART_BEAT if slow.load(Ordering::Relaxed) => Reply::UsualAfter(SECOND * 2),
        _ => Reply::Usual,
    });
    let handle = join(setup(&world)).await;
    sleep(SECOND / 2).await;
    is_slow.store(true, Ordering::Relaxed);
    handle.subscribe("t", "other").unwrap();
    sleep(SECOND * 5).await;
    assert!(world.commits().contains(&(0, 3)), "{:?}", world.commits());
    assert!(world.pulls().contains(&(0, 3)), "{:?}", world.pulls());
    handle.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l02_what_an_older_assignment_found_out_undoes_no_reset() {
    for late in [Again::Corrected(7), Again::Stalled] {
        let world = World::with_queues(1);
        world.store(0, 10);
        world.set_committed(0, 10);
        let handle = join(setup(&world)).await;
        let group = handle.group("test").unwrap();
        let old = group.owned().remove(0);
        group.rebuild(&old, Again::Reset(3));
        group.rebuild(&old, late);
        sleep(SECOND * 5).await;
        assert_eq!(world.committed(0), Some(3), "{late:?}");
        handle.shutdown(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_rebuilt_twice_in_a_row_is_told_of_once() {
    for (rebuilds, pause) in [
        (1, SECOND),
        (1, Duration::ZERO),
        (2, SECOND),
        (2, Duration::ZERO),
    ] {
        let world = World::with_queues(1);
        world.set_committed(0, 0);
        let (assigned, revoked) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let count = |counter: &Arc<AtomicUsize>| {
            let counter = Arc::clone(counter);
            Some(Hook::new(move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
                async {}
            }))
        };
        let mut setup = setup(&world);
        (setup.hooks.assigned, setup.hooks.revoked) = (count(&assigned), count(&revoked));
        let handle = join(setup).await;
        let group = handle.group("test").unwrap();
        for _ in 0..rebuilds {
            group.rebuild(&group.owned()[0], Again::Stalled);
        }
        sleep(pause).await;
        handle.shutdown(Duration::ZERO).await.unwrap();
        let told = [assigned, revoked].map(|counter| counter.load(Ordering::Relaxed));
        assert_eq!(told, [1, 1], "{rebuilds} {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_an_assignment_whose_queue_was_taken_over_again() {
    let world = World::with_queues(1);
    let member = join(setup(&world)).await;
    let group = member.group("test").unwrap();
    sleep(SECOND).await;
    let first = group.owned().remove(0);
    group.rebuild(&first, Again::Stalled);
    let old = Arc::downgrade(&first);
    drop(first);
    sleep(SECOND).await;
    assert!(group.owned()[0].has_begun());
    assert!(
        old.upgrade().is_none(),
        "its messages and their bytes are held"
    );
    drop(group);
    member.shutdown(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_queues_that_a_shutdown_has_just_taken_does_not_claim_to_be_confirmed() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 3);
    let member = join(setup(&world)).await;
    let group = member.group("test").unwrap();
    sleep(SECOND).await;
    let queue = group.owned().remove(0);
    queue.hand_out(3, Instant::now()).unwrap();
    queue.confirm();
    // No commit is answered.
    world.script(|command| match command.request_code() {
        UpdateConsumerOffset::CODE => Reply::Silence,
        _ => Reply::Usual,
    });
    let (report, ()) = tokio::join!(member.shutdown(SECOND), async {
        group.left().await;
        sleep(Duration::from_millis(1)).await;
        assert!(group.owned().is_empty());
        group.commit_now(vec![queue]).await.unwrap_err();
    });
    assert_eq!(report.unwrap().uncommitted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_a_reset_cuts_off_runs_again_before_the_first_message() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let note = |what: [&'static str; 2]| {
        let told = Arc::clone(&told);
        Some(Hook::new(move |_| {
            let told = Arc::clone(&told);
            async move {
                told.lock().push(what[0]);
                sleep(SECOND).await;
                told.lock().push(what[1]);
            }
        }))
    };
    for is_ended_at_once in [false, true] {
        told.lock().clear();
        let world = World::with_queues(1);
        world.set_committed(0, 0);
        world.store(0, 3);
        let mut setup = setup(&world);
        setup.hooks.assigned = note(["begun", "ready"]);
        setup.hooks.revoked = note(["revoked", "gone"]);
        // By name it comes before every client, so the queue comes when it goes.
        world.set_member("!", true);
        let member = join(setup).await;
        let group = member.group("test").unwrap();
        world.set_member("!", false);
        sleep(SECOND / 2).await;
        assert_eq!(*told.lock(), ["begun"]);
        group.rebuild(&group.owned()[0], Again::Reset(1));
        let expected: &[_] = match is_ended_at_once {
            false => &["begun", "begun", "ready", "revoked", "gone"],
            true => &["begun", "revoked", "gone"],
        };
        if !is_ended_at_once {
            sleep(SECOND * 2).await;
            assert!(group.owned()[0].has_begun());
            assert_eq!(told.lock().last(), Some(&"ready"));
        }
        member.shutdown(SECOND).await.unwrap();
        assert_eq!(*told.lock(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_report_knows_queues_that_were_being_given_up() {
    let world = World::with_queues(2);
    (0..2).for_each(|queue| world.set_committed(queue, 0));
    (0..2).for_each(|queue| world.store(queue, 1));
    let consumer = push(&world).shutdown_timeout(SECOND);
    let consumer = consumer.listener(|_| std::future::pending::<ConsumeStatus>());
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND).await;
    world.set_member("~", true);
    sleep(SECOND).await;
    assert_eq!(consumer.assigned_queues().len(), 1);
    let report = consumer.shutdown().await.unwrap();
    assert_eq!((report.unfinished(), report.uncommitted()), (2, &[][..]));
}
