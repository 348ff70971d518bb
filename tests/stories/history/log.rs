//! What the queues hold at the end of a trial, read from the brokers without the client.

use rocketmq_sdk::MessageQueue;

use super::listening::id;
use super::record::Logged;
use crate::stored::read_queue;
use crate::target::Target;

/// Every message in so many queues of a topic, on all brokers.
pub async fn read(target: &Target, topic: &str, queues: i32) -> Vec<Logged> {
    let mut log = Vec::new();
    for (broker, addr) in target.masters().await {
        for queue in 0..queues {
            let mut messages = Vec::new();
            read_queue(target, &addr, topic, queue, &mut messages).await;
            let queue = MessageQueue::new(topic, &*broker, queue);
            log.extend(messages.iter().map(|message| Logged {
                queue: queue.clone(),
                offset: message.queue_offset,
                position: message.physical_offset,
                key: message.property("UNIQ_KEY").unwrap_or_default().into(),
                id: id(&message.body),
            }));
        }
    }
    log
}
