//! Lite-pull consumers: what they hand out, and what they commit.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::world::{Reply, World};
use crate::consumer::{ConsumeFromWhere, LitePullConsumer, LitePullConsumerBuilder, sample};
use crate::error::ErrorKind;
use crate::message::{MessageExt, MessageQueue};
use crate::protocol::code::ResponseCode;
use crate::protocol::request::Request;
use crate::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};
use crate::protocol::request::pull_message::PullMessage;

const SECOND: Duration = Duration::from_secs(1);

fn builder(world: &Arc<World>) -> LitePullConsumerBuilder {
    LitePullConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
}

fn places(messages: &[MessageExt]) -> Vec<(i32, i64)> {
    let place = |message: &MessageExt| (message.queue().queue_id, message.queue_offset());
    messages.iter().map(place).collect()
}

async fn poll(consumer: &LitePullConsumer) -> Vec<(i32, i64)> {
    places(&consumer.poll(SECOND).await.unwrap())
}

/// Polls until nothing comes any more.
async fn poll_all(consumer: &LitePullConsumer) -> Vec<(i32, i64)> {
    let mut all = Vec::new();
    loop {
        let polled = poll(consumer).await;
        if polled.is_empty() {
            return all;
        }
        all.extend(polled);
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_hear_that_the_group_pulls_and_has_no_retry_topic() {
    let world = World::with_queues(1);
    let consumer = builder(&world).start().await.unwrap();
    let heartbeats = world.heartbeats();
    let group = &heartbeats.last().unwrap().consumer_data_set[0];
    assert_eq!(group.consume_type, "CONSUME_ACTIVELY");
    let topics = group.subscription_data_set.iter().map(|one| &*one.topic);
    assert_eq!(topics.collect::<Vec<_>>(), ["t"]);
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lp_03_an_empty_poll_returns_at_its_timeout() {
    let world = World::with_queues(2);
    let consumer = builder(&world).start().await.unwrap();
    for (timeout, expected) in [(SECOND * 3, SECOND * 3), (Duration::ZERO, Duration::ZERO)] {
        let began = Instant::now();
        assert!(consumer.poll(timeout).await.unwrap().is_empty());
        assert_eq!(began.elapsed().as_secs(), expected.as_secs());
    }
    let began = Instant::now();
    assert!(consumer.poll_default().await.unwrap().is_empty());
    assert_eq!(began.elapsed().as_secs(), 5);
    // A poll that waits gets what comes, as soon as it comes.
    let began = Instant::now();
    let (polled, ()) = tokio::join!(consumer.poll(Duration::MAX), async {
        sleep(SECOND).await;
        world.store(1, 3);
    });
    assert_eq!(places(&polled.unwrap()), [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(began.elapsed().as_secs(), 1);
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lp_04_the_next_poll_says_what_can_be_committed() {
    let world = World::with_queues(1);
    world.store(0, 5);
    let consumer = builder(&world).pull_batch_size(2).start().await.unwrap();
    for handed_out in [2, 4] {
        assert_eq!(poll(&consumer).await.len(), 2);
        sleep(SECOND * 30).await;
        assert_eq!(world.committed(0), Some(handed_out - 2));
    }
    assert_eq!(poll(&consumer).await, [(0, 4)]);
    // Neither the end nor time commits what the last poll gave; `commit` does.
    assert_eq!(world.committed(0), Some(2));
    sleep(SECOND * 30).await;
    assert_eq!(world.committed(0), Some(4));
    let again = consumer.clone();
    let report = consumer.shutdown().await.unwrap();
    assert_eq!((report.unfinished(), report.uncommitted()), (1, &[][..]));
    assert_eq!(world.committed(0), Some(4));
    assert_eq!(again.shutdown().await.unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn a_lp_04_by_hand_only_commits_commit() {
    let world = World::with_queues(2);
    world.store(0, 40);
    world.store(1, 1);
    let consumer = builder(&world).auto_commit(false).start().await.unwrap();
    assert_eq!(poll_all(&consumer).await.len(), 41);
    sleep(SECOND * 30).await;
    assert_eq!((world.committed(0), world.committed(1)), (Some(0), Some(0)));
    consumer.commit().await.unwrap();
    assert_eq!(
        (world.committed(0), world.committed(1)),
        (Some(40), Some(1))
    );
    // Nothing is left to commit.
    let commits = world.asked(UpdateConsumerOffset::CODE);
    consumer.commit().await.unwrap();
    assert_eq!(world.asked(UpdateConsumerOffset::CODE), commits);
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_says_so_and_is_tried_again() {
    let world = World::with_queues(1);
    world.store(0, 3);
    let consumer = builder(&world).auto_commit(false).start().await.unwrap();
    assert_eq!(poll(&consumer).await.len(), 3);
    world.script(|command| match command.request_code() {
        UpdateConsumerOffset::CODE => Reply::Code(ResponseCode::SYSTEM_ERROR),
        _ => Reply::Usual,
    });
    let error = consumer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker, "{error}");
    world.script(|_| Reply::Usual);
    sleep(SECOND * 6).await;
    assert_eq!(world.committed(0), Some(3));
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lp_04_08_given_offsets_are_committed_within_what_was_handed_out() {
    let world = World::with_queues(2);
    world.store(0, 6);
    let consumer = builder(&world).auto_commit(false).pull_batch_size(4);
    let consumer = consumer.start().await.unwrap();
    assert_eq!(poll(&consumer).await.len(), 4);
    let queue = MessageQueue::new("t", "b", 0);
    for (queue, offset, told) in [
        (
            &queue,
            5,
            "the offset is 5; only 0 to 4 can be committed now",
        ),
        (&queue, -1, "the offset is -1"),
        (&MessageQueue::new("t", "b", 1), 1, "queue 1 of b"),
        (
            &MessageQueue::new("t", "b", 2),
            0,
            "the queue is not assigned to this member",
        ),
    ] {
        let error = consumer.commit_offset(queue, offset).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    consumer.commit_offset(&queue, 3).await.unwrap();
    assert_eq!(world.committed(0), Some(3));
    consumer.commit_offset(&queue, 2).await.unwrap_err();
    let report = consumer.shutdown().await.unwrap();
    assert_eq!((report.unfinished(), world.committed(0)), (1, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn a_lp_16_a_queue_that_is_lost_takes_its_messages_with_it() {
    let world = World::with_queues(2);
    let consumer = builder(&world).auto_commit(false).start().await.unwrap();
    world.store(0, 5);
    world.store(1, 5);
    sleep(SECOND).await;
    // This member is the first in the alphabet, or the last; it keeps one queue.
    world.set_member("~", true);
    sleep(SECOND).await;
    let kept = consumer.assigned_queues();
    assert_eq!(kept.len(), 1);
    let polled = poll_all(&consumer).await;
    let expected: Vec<_> = (0..5).map(|offset| (kept[0].queue_id, offset)).collect();
    assert_eq!(polled, expected);
    consumer.commit().await.unwrap();
    let lost = 1 - kept[0].queue_id;
    assert_eq!(
        (world.committed(lost), world.committed(1 - lost)),
        (Some(0), Some(5))
    );
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lp_16_what_was_handed_out_of_a_lost_queue_is_committed_for_a_while() {
    for (late, ahead, committed) in [(1, 0, 5), (1, 7, 7), (10, 0, 0)] {
        let world = World::with_queues(2);
        let consumer = builder(&world).auto_commit(false).start().await.unwrap();
        world.store(0, 5);
        world.store(1, 5);
        assert_eq!(poll_all(&consumer).await.len(), 10);
        world.set_member("~", true);
        sleep(SECOND).await;
        let kept = consumer.assigned_queues();
        let lost = 1 - kept[0].queue_id;
        // Its new owner may have got ahead.
        world.set_committed(lost, ahead);
        sleep(SECOND * late).await;
        consumer.commit().await.unwrap();
        assert_eq!(world.committed(kept[0].queue_id), Some(5));
        assert_eq!(world.committed(lost), Some(committed), "{late} s later");
        consumer.shutdown().await.unwrap();
        assert_eq!(world.committed(lost), Some(committed));
    }
}

#[tokio::test(start_paused = true)]
async fn l02_messages_of_an_older_assignment_move_no_offset_of_a_newer_one() {
    let world = World::with_queues(2);
    let consumer = builder(&world).auto_commit(false).start().await.unwrap();
    world.store(0, 5);
    world.store(1, 5);
    assert_eq!(poll_all(&consumer).await.len(), 10);
    // Each queue that goes and comes back is another assignment, which begins where the group is.
    world.set_member("~", true);
    sleep(SECOND * 10).await;
    world.set_member("~", false);
    sleep(SECOND * 10).await;
    let again = poll_all(&consumer).await;
    assert_eq!(
        again.len(),
        5,
        "the queue that was away comes again: {again:?}"
    );
    let away = again[0].0;
    world.store(away, 1);
    sleep(SECOND).await;
    consumer.commit().await.unwrap();
    assert_eq!(
        (world.committed(away), world.committed(1 - away)),
        (Some(5), Some(5))
    );
    assert_eq!(poll_all(&consumer).await, [(away, 5)]);
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l02_a_pull_that_is_answered_late_brings_nothing_to_a_newer_assignment() {
    let world = World::with_queues(2);
    let consumer = builder(&world).auto_commit(false).start().await.unwrap();
    world.script(|command| match command.request_code() {
        PullMessage::CODE => Reply::UsualAfter(SECOND * 3),
        _ => Reply::Usual,
    });
    world.store(0, 3);
    world.store(1, 3);
    sleep(SECOND).await;
    // The queue is away for a second, while its first pull is under way.
    world.set_member("~", true);
    sleep(SECOND).await;
    world.set_member("~", false);
    sleep(SECOND * 10).await;
    let mut all = poll_all(&consumer).await;
    all.sort_unstable();
    assert_eq!(all, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    consumer.commit().await.unwrap();
    assert_eq!((world.committed(0), world.committed(1)), (Some(3), Some(3)));
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l03_f14_an_offset_that_is_not_known_is_neither_pulled_nor_committed() {
    for reply in [Reply::Code(ResponseCode::SYSTEM_ERROR), Reply::Silence] {
        let world = World::with_queues(1);
        world.store(0, 3);
        world.set_committed(0, 2);
        world.script(move |command| match command.request_code() {
            QueryConsumerOffset::CODE => reply,
            _ => Reply::Usual,
        });
        let consumer = builder(&world).start().await.unwrap();
        assert!(poll(&consumer).await.is_empty());
        consumer.commit().await.unwrap();
        assert_eq!((world.pulls(), world.commits()), (vec![], vec![]));
        world.script(|_| Reply::Usual);
        sleep(SECOND * 10).await;
        assert_eq!(poll(&consumer).await, [(0, 2)], "{reply:?}");
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l03_no_offset_is_never_sent_as_one() {
    let world = World::with_queues(1);
    world.store(0, 3);
    world.script(|command| match command.request_code() {
        QueryConsumerOffset::CODE => Reply::Offset(-1),
        _ => Reply::Usual,
    });
    let consumer = builder(&world).start().await.unwrap();
    assert_eq!(poll(&consumer).await.len(), 3);
    consumer.commit().await.unwrap();
    assert_eq!(world.commits(), [(0, 0), (0, 3)]);
    assert!(world.pulls().iter().all(|(_, offset)| *offset >= 0));
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lp_12_who_does_not_poll_stops_pulling() {
    let count = |builder: LitePullConsumerBuilder| builder.pull_threshold_for_queue(10);
    let span = |builder: LitePullConsumerBuilder| builder.consume_max_span(10);
    let bytes = |builder: LitePullConsumerBuilder| builder.pull_threshold_size_for_queue(800);
    for limit in [count, span, bytes] as [fn(_) -> _; 3] {
        let world = World::with_queues(1);
        world.store(0, 200);
        let consumer = limit(builder(&world).pull_batch_size(8))
            .start()
            .await
            .unwrap();
        sleep(SECOND * 60).await;
        let pulls = world.pulls().len();
        assert!((1..=3).contains(&pulls), "{pulls} pulls");
        let all = poll_all(&consumer).await;
        assert_eq!(all, (0..200).map(|offset| (0, offset)).collect::<Vec<_>>());
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn f37_a_poll_that_is_dropped_anywhere_loses_nothing() {
    let world = World::with_queues(3);
    let consumer = builder(&world).auto_commit(false).pull_batch_size(2);
    let consumer = consumer.start().await.unwrap();
    let mut all = Vec::new();
    for number in 0..300 {
        // The message comes before the poll, while it waits, or when it is dropped.
        let (times, early) = (number % 15, number / 15);
        world.store(number % 3, 1);
        for _ in 0..early {
            yield_now().await;
        }
        let mut poll = Box::pin(consumer.poll(SECOND));
        for _ in 0..times {
            if let Some(polled) = (&mut poll).now_or_never() {
                all.extend(places(&polled.unwrap()));
                break;
            }
            yield_now().await;
        }
    }
    all.extend(poll_all(&consumer).await);
    all.sort_unstable();
    let expected = (0..3).flat_map(|queue| (0..100).map(move |offset| (queue, offset)));
    assert_eq!(all, expected.collect::<Vec<_>>());
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_who_poll_get_something() {
    let world = World::with_queues(1);
    let consumer = builder(&world).auto_commit(false).pull_batch_size(1);
    let consumer = consumer.start().await.unwrap();
    let polls = (0..5).map(|_| consumer.poll(SECOND * 30));
    let (polled, ()) = tokio::join!(futures::future::join_all(polls), async {
        sleep(SECOND).await;
        world.store(0, 5);
    });
    let mut all: Vec<_> = polled
        .into_iter()
        .flat_map(|one| places(&one.unwrap()))
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..5).map(|offset| (0, offset)).collect::<Vec<_>>());
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_not_skipped_and_holds_no_other_queue() {
    let world = World::with_queues(2);
    world.store(0, 2);
    let mut broken = sample::stored("t", 2, &[]);
    broken.body_crc ^= 1;
    world.store_one(0, broken);
    world.store(0, 1);
    world.store(1, 2);
    let consumer = builder(&world).pull_batch_size(8).start().await.unwrap();
    sleep(SECOND).await;
    let mut polled = [poll(&consumer).await, poll(&consumer).await].concat();
    polled.sort_unstable();
    assert_eq!(polled, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let began = Instant::now();
    let error = consumer.poll(SECOND * 3).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 3, "others may come meanwhile");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let told = error.to_string();
    assert!(
        told.contains("offset 2") && told.contains("queue 0 of b"),
        "{told}"
    );
    world.store(1, 1);
    assert_eq!(poll(&consumer).await, [(1, 2)]);
    let item = consumer.stream().next().await.unwrap();
    assert_eq!(item.unwrap_err().kind(), ErrorKind::Protocol);
    consumer.commit().await.unwrap();
    assert_eq!((world.committed(0), world.committed(1)), (Some(2), Some(3)));
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_one_after_the_other_and_ends_with_its_consumer() {
    let world = World::with_queues(1);
    world.store(0, 5);
    let consumer = builder(&world).start().await.unwrap();
    let mut stream = consumer.stream();
    for offset in 0..3 {
        assert_eq!(stream.next().await.unwrap().unwrap().queue_offset(), offset);
    }
    // The third one is not done with, and the others were never out.
    drop(stream);
    sleep(SECOND * 6).await;
    assert_eq!(world.committed(0), Some(2));
    let mut stream = consumer.stream();
    for offset in 3..5 {
        assert_eq!(stream.next().await.unwrap().unwrap().queue_offset(), offset);
    }
    let (last, report) = tokio::join!(stream.next(), async {
        sleep(SECOND * 60).await;
        consumer.shutdown().await.unwrap()
    });
    assert!(last.is_none() && report.is_clean(), "{last:?}, {report:?}");
    assert_eq!(world.committed(0), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_lp_14_a_poll_after_the_end_is_an_error() {
    let world = World::with_queues(1);
    let consumer = builder(&world).start().await.unwrap();
    let (waiting, _) = tokio::join!(consumer.poll(SECOND * 60), async {
        sleep(SECOND).await;
        consumer.shutdown().await.unwrap()
    });
    let errors = [
        waiting.unwrap_err(),
        consumer.poll(SECOND).await.unwrap_err(),
        consumer.commit().await.unwrap_err(),
        consumer.subscribe("u", "*").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("group g"), "{error}");
    }
    assert!(consumer.stream().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn settings_have_limits() {
    let world = World::with_queues(1);
    let refused = [
        builder(&world).poll_timeout(Duration::ZERO),
        builder(&world).commit_interval(Duration::ZERO),
        builder(&world).pull_batch_size(0),
        builder(&world).pull_threshold_for_queue(0),
        LitePullConsumer::builder("g").name_server("ns:9876"),
    ];
    for builder in refused {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}
