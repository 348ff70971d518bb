//! Offsets that this machine keeps: those of a broadcasting consumer.
//!
//! All of them stand in one file, so commits that come together are one write. What the file once held of other queues stays in it: a
//! route may forget a broker for a while. Does not know: how the file is replaced.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::config::Namespace;
use crate::consumer::offset::OffsetStore;
use crate::consumer::offset::file::OffsetFile;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageQueue;
use crate::protocol::message::OffsetTable;

/// What errors call the operation that they come out of.
const OPERATION: &str = "open the offset file";

/// The folder in the user's home, where Java's client has its files, too.
const FOLDER: &str = ".rocketmq_offsets";

/// How long to wait for the file of a consumer that has just ended, and between attempts.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A member's offsets in a file.
#[derive(Debug)]
pub(crate) struct LocalOffsets {
    inner: Arc<Inner>,
    /// One write at a time; those who wait for it are done with the next one together.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    file: OffsetFile,
    /// What stands before topics in the file.
    namespace: Namespace,
    table: Mutex<Table>,
    /// Held over a write, so that no older picture is written after a newer one: a write goes on when its commit is given up.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Table {
    offsets: BTreeMap<MessageQueue, i64>,
    /// Grows with every offset that changes.
    version: u64,
    /// The version that the file has.
    written: u64,
}

impl LocalOffsets {
    /// The offsets of a client's consumer, below the given folder or the one that Java's client takes.
    ///
    /// # Errors
    /// There is no home to put them to, or another consumer has the file. That it cannot be read or written is none.
    pub(crate) async fn open(
        client: &Client,
        group: &str,
        folder: Option<PathBuf>,
    ) -> Result<Self> {
        let home = || std::env::home_dir().map(|home| home.join(FOLDER));
        let folder = folder.or_else(home).ok_or_else(|| {
            let detail = "the user has no home to keep offsets in; set local_offset_dir";
            Error::invalid(OPERATION, detail).target(format!("group {group}"))
        })?;
        let namespace = client.namespace().clone();
        let group = namespace.wrap(group);
        Self::open_in(folder.join(place(client.id())?).join(&*group), namespace).await
    }

    async fn open_in(folder: PathBuf, namespace: Namespace) -> Result<Self> {
        let path = folder.display().to_string();
        let failed = || Error::new(ErrorKind::OffsetStore, OPERATION).target(path.clone());
        let until = Instant::now() + PATIENCE;
        let opened = loop {
            let folder = folder.clone();
            let opened = spawn_blocking(|| {
                let file = OffsetFile::open(folder)?;
                let table = file.read();
                io::Result::Ok((file, table))
            });
            let opened = opened.await.map_err(|ended| failed().caused_by(ended))?;
            if opened.is_ok() || Instant::now() >= until {
                break opened;
            }
            sleep(PAUSE).await;
        };
        let (file, table) = opened.map_err(|_| {
            failed().detail(
                "another consumer keeps its offsets there; give one of them another instance name, group or folder",
            )
        })?;
        let table = Table {
            offsets: table.offset_table,
            version: 0,
            written: 0,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                file,
                namespace,
                table: Mutex::new(table),
                writing: Mutex::default(),
            }),
            writing: tokio::sync::Mutex::default(),
        })
    }
}

#[async_trait]
impl OffsetStore for LocalOffsets {
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>> {
        let queue = self.inner.wrapped(queue);
        Ok(self.inner.table.lock().offsets.get(&queue).copied())
    }

    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let version = self.inner.set(queue, offset);
        let _one = self.writing.lock().await;
        if self.inner.table.lock().written >= version {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.write()).await??;
        Ok(())
    }
}

/// The folder of a client: what of its identity stays the same, `ip@instance`.
fn place(client_id: &str) -> Result<&str> {
    let place = client_id.split('#').next().unwrap_or(client_id);
    if place.contains(['/', '\\']) {
        let detail = format!("the instance name in {place:?} cannot be that of a folder");
        return Err(Error::invalid(OPERATION, detail));
    }
    Ok(place)
}

impl Inner {
    /// The queue as Java's client calls it.
    fn wrapped(&self, queue: &MessageQueue) -> MessageQueue {
        MessageQueue {
            topic: self.namespace.wrap(&queue.topic).into(),
            ..queue.clone()
        }
    }

    /// Notes an offset; the version of the table with it.
    fn set(&self, queue: &MessageQueue, offset: i64) -> u64 {
        let queue = self.wrapped(queue);
        let mut table = self.table.lock();
        if table.offsets.insert(queue, offset) != Some(offset) {
            table.version += 1;
        }
        table.version
    }

    /// Writes all that there is now, also what came after who asked for it.
    fn write(&self) -> io::Result<()> {
        let _one = self.writing.lock();
        let (version, contents) = {
            let table = self.table.lock();
            let offset_table = table.offsets.clone();
            (table.version, OffsetTable { offset_table })
        };
        let path = self.file.path();
        self.file.write(&contents.encode()).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        self.table.lock().written = version;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    async fn open(folder: PathBuf) -> Result<LocalOffsets> {
        LocalOffsets::open_in(folder, Namespace::default()).await
    }

    fn queue(id: i32) -> MessageQueue {
        MessageQueue::new("t", "broker-a", id)
    }

    #[tokio::test]
    async fn what_is_committed_is_there_after_a_restart_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = || dir.path().join("10.0.0.1@DEFAULT").join("g");
        let first = open(folder()).await.unwrap();
        assert_eq!(first.load(&queue(0)).await.unwrap(), None);
        first.commit(&queue(0), 7).await.unwrap();
        first.commit(&queue(1), 8).await.unwrap();
        first.commit(&queue(0), 5).await.unwrap();
        drop(first);
        let second = open(folder()).await.unwrap();
        second.commit(&queue(1), 9).await.unwrap();
        drop(second);
        let third = open(folder()).await.unwrap();
        assert_eq!(third.load(&queue(0)).await.unwrap(), Some(5));
        assert_eq!(third.load(&queue(1)).await.unwrap(), Some(9));
    }

    #[tokio::test]
    async fn commits_that_come_together_are_few_writes_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path().to_owned()).await.unwrap();
        let queues: Vec<_> = (0..500).map(queue).collect();
        for round in 1..4 {
            let commits = queues.iter().map(|queue| store.commit(queue, round));
            for outcome in join_all(commits).await {
                outcome.unwrap();
            }
            let kept = store.inner.file.read().offset_table;
            assert!(kept.len() == 500 && kept.values().all(|offset| *offset == round));
        }
    }

    #[tokio::test]
    async fn a_commit_that_is_given_up_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path().to_owned()).await.unwrap();
        for offset in 0..50 {
            let _ = store.commit(&queue(0), offset).now_or_never();
            store.commit(&queue(1), offset).await.unwrap();
            let kept = store.inner.file.read().offset_table;
            assert_eq!(kept.into_values().collect::<Vec<_>>(), [offset, offset]);
        }
    }

    #[tokio::test]
    async fn a_second_consumer_of_one_file_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let _first = open(dir.path().to_owned()).await.unwrap();
        let error = open(dir.path().to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetStore);
        let text = error.to_string();
        assert!(text.contains(&*dir.path().to_string_lossy()), "{text}");
        assert!(text.contains("another consumer"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_just_ends_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path().to_owned()).await.unwrap();
        let (second, ()) = tokio::join!(open(dir.path().to_owned()), async move {
            sleep(Duration::from_millis(300)).await;
            drop(first);
        });
        second.unwrap();
    }

    #[test]
    fn a_client_s_folder_is_what_stays_of_its_identity() {
        assert_eq!(place("10.0.0.1@DEFAULT#0123").unwrap(), "10.0.0.1@DEFAULT");
        for outside in ["10.0.0.1@../../x#0123", "10.0.0.1@a\\b#0123"] {
            place(outside).unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_namespace_stands_before_the_topics_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let namespace = Namespace::new(Some("ns"));
        let store = LocalOffsets::open_in(dir.path().to_owned(), namespace)
            .await
            .unwrap();
        store.commit(&queue(0), 7).await.unwrap();
        assert_eq!(store.load(&queue(0)).await.unwrap(), Some(7));
        let kept = store.inner.file.read().offset_table;
        assert_eq!(&*kept.first_key_value().unwrap().0.topic, "ns%t");
    }
}
