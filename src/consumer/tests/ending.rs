//! How a consumer ends whose application does not.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::world::World;
use crate::consumer::{ConsumeStatus, PushConsumer};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_that_blocks_its_thread_does_not_keep_a_shutdown() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 1);
    let (release, blocked) = mpsc::channel::<()>();
    let (begun, begins) = oneshot::channel();
    let parts = Arc::new(Mutex::new((Some(begun), blocked)));
    let consumer = PushConsumer::builder("g")
        .config(world.config().request_timeout(Duration::from_millis(500)))
        .environment(world.environment())
        .subscribe("t", "*")
        .shutdown_timeout(Duration::ZERO)
        .listener_with(parts, |parts, _| async move {
            let (begun, blocked) = &mut *parts.lock();
            begun.take().unwrap().send(()).unwrap();
            // Until the test has seen enough, or far too long.
            let _ = blocked.recv_timeout(Duration::from_secs(20));
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    begins.await.unwrap();
    let began = Instant::now();
    let report = consumer.shutdown().await.unwrap();
    let took = began.elapsed();
    drop(release);
    assert_eq!(report.unfinished(), 1);
    assert!(took < Duration::from_secs(10), "{took:?}");
}
