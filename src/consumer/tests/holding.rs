//! How much consumers hold, and who waits for whom when that is used up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::world::World;
use crate::client::Client;
use crate::consumer::{ConsumeFromWhere, ConsumeStatus, PushConsumer, PushConsumerBuilder};

const SECOND: Duration = Duration::from_secs(1);

/// A client of the world that may hold this much.
async fn client(world: &Arc<World>, bytes: usize) -> Client {
    let config = world.config().max_buffered_bytes(bytes);
    let client = Client::builder().config(config);
    let client = client.environment(world.environment());
    client.start().await.unwrap()
}

fn builder(client: &Client) -> PushConsumerBuilder {
    PushConsumer::builder("g")
        .client(client)
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
}

#[tokio::test(start_paused = true)]
async fn a_busy_queue_does_not_wait_behind_quiet_ones_while_others_hold_the_budget() {
    let world = World::with_queues(17);
    let client = client(&world, 64 * 1024).await;
    // The listeners of another consumer hang with all that there may be.
    let held = client.allowance().reserve(64 * 1024).await;
    let (came, mut coming) = mpsc::unbounded_channel();
    let consumer = builder(&client).listener_with(came, |came, messages| async move {
        came.send(messages[0].queue_offset()).unwrap();
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND * 60).await;
    for offset in 0..20 {
        let began = Instant::now();
        world.store(16, 1);
        assert_eq!(coming.recv().await, Some(offset));
        assert!(began.elapsed() < SECOND * 5, "{:?}", began.elapsed());
        sleep(SECOND * 7).await;
    }
    // Looking for messages takes turns, and turns have pauses.
    let pulls = world.pulls().len();
    sleep(SECOND * 60).await;
    assert!(world.pulls().len() - pulls < 17 * 60);
    drop(held);
    consumer.shutdown().await.unwrap();
}
