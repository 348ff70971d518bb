//! Where a group's offsets are kept.

use std::error::Error as StdError;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::consumer::profile::MessageModel;
use crate::error::{Error, ErrorKind, Result, panic_text};
use crate::message::MessageQueue;

mod file;
mod local;
mod remote;

use local::LocalOffsets;
use remote::BrokerOffsets;

/// Keeps a group's offsets in a place of the application's: for each queue the offset of the next message to consume.
///
/// It is given to [`offset_store`](crate::PushConsumerBuilder::offset_store) of a builder, and then neither brokers nor a file keep
/// offsets. In a clustering group all members have to share what is kept, since a queue goes from one to another. Methods are called
/// from several tasks at a time, each for another queue. One that takes longer than the
/// [request timeout](crate::ClientConfig::request_timeout) is given up, and tried again later; so is one that fails or panics.
///
/// ```
/// use std::collections::HashMap;
/// use std::error::Error;
/// use std::sync::Mutex;
/// use rocketmq_sdk::{MessageQueue, OffsetStore};
///
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<HashMap<MessageQueue, i64>>);
///
/// #[async_trait::async_trait]
/// impl OffsetStore for InMemory {
///     async fn load(&self, queue: &MessageQueue) -> Result<Option<i64>, Box<dyn Error + Send + Sync>> {
///         Ok(self.0.lock().map_err(|_| "poisoned")?.get(queue).copied())
///     }
///
///     async fn commit(&self, queue: &MessageQueue, offset: i64) -> Result<(), Box<dyn Error + Send + Sync>> {
///         self.0.lock().map_err(|_| "poisoned")?.insert(queue.clone(), offset);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait OffsetStore: fmt::Debug + Send + Sync + 'static {
    /// The offset that was committed last; `None` when there is none, and then
    /// [`consume_from`](crate::PushConsumerBuilder::consume_from) decides. A negative number is none, too.
    ///
    /// # Errors
    /// It is not known whether there is one. The queue waits and the store is asked again.
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>>;

    /// Commits an offset. It may be lower than the one before: offsets can be reset. The same one comes again from time to time, since
    /// what a store has kept may be lost.
    ///
    /// # Errors
    /// It is not certain that the offset is kept. It is committed again.
    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

#[async_trait]
impl<S: OffsetStore + ?Sized> OffsetStore for Arc<S> {
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>> {
        (**self).load(queue).await
    }

    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        (**self).commit(queue, offset).await
    }
}

/// Where a consumer keeps its offsets when the application does not say so: at the brokers, or in a file below `folder`.
///
/// # Errors
/// There is no folder, or another consumer has the file.
pub(crate) async fn of_model(
    client: &Client,
    group: &Arc<str>,
    model: MessageModel,
    folder: Option<PathBuf>,
) -> Result<Offsets> {
    match model {
        MessageModel::Clustering => {
            let store = BrokerOffsets::new(client.clone(), Arc::clone(group));
            Ok(Offsets::new(store))
        }
        MessageModel::Broadcasting => LocalOffsets::open(client, group, folder)
            .await
            .map(Offsets::new),
    }
}

/// A store, whatever it does within a deadline.
#[derive(Debug, Clone)]
pub(crate) struct Offsets(Arc<dyn OffsetStore>);

impl Offsets {
    pub(crate) fn new(store: impl OffsetStore) -> Self {
        Self(Arc::new(store))
    }

    /// The committed offset; `None` when there is none, which is not the same as not knowing.
    pub(crate) async fn load(
        &self,
        queue: &MessageQueue,
        deadline: Instant,
    ) -> Result<Option<i64>> {
        let load = self.0.load(queue);
        within("ask for a group's offset", queue, deadline, load).await
    }

    /// Commits an offset, and waits until that is certain.
    pub(crate) async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
        deadline: Instant,
    ) -> Result<()> {
        let commit = self.0.commit(queue, offset);
        within("commit an offset", queue, deadline, commit).await
    }
}

async fn within<T>(
    operation: &'static str,
    queue: &MessageQueue,
    deadline: Instant,
    work: impl Future<Output = Result<T, Box<dyn StdError + Send + Sync>>>,
) -> Result<T> {
    let failed = |kind| {
        let error = Error::new(kind, operation).topic_of(&queue.topic);
        error.target(queue.within_topic())
    };
    match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => match error.downcast::<Error>() {
            Ok(ours) => Err(*ours),
            Err(theirs) => Err(failed(ErrorKind::OffsetStore).caused_by_any(theirs)),
        },
        Ok(Err(panic)) => {
            let detail = format!("the offset store panicked: {}", panic_text(panic));
            Err(failed(ErrorKind::Application).detail(detail))
        }
        Err(_) => Err(failed(ErrorKind::Timeout)),
    }
}
