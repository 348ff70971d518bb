//! The routes that a client knows, and how it comes by new ones: one look-up at a time for each topic.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, Result};
use crate::route::name_server::NameServers;
use crate::route::table::Route;

/// How long the last good route of a topic is used while name servers say that there is none: they forget every topic when
/// they start, until the brokers register again.
const KEEP_FOR: Duration = Duration::from_secs(600);

type Found = Result<Option<Arc<Route>>>;
type Lookup = Shared<BoxFuture<'static, Found>>;

/// The routes of one client.
pub(crate) struct Routes {
    name_servers: Arc<NameServers>,
    lookup_timeout: Duration,
    tasks: TaskTracker,
    generation: AtomicU64,
    known: RwLock<HashMap<Arc<str>, Known>>,
    lookups: Mutex<HashMap<Arc<str>, Lookup>>,
    changed: Changed,
}

/// Is told the topic of every route that is new or not what it was. Called on a task: it must not block.
pub(crate) type Changed = Box<dyn Fn(&str) + Send + Sync>;

struct Known {
    route: Arc<Route>,
    confirmed: Instant,
}

impl Routes {
    pub(crate) fn new(
        name_servers: Arc<NameServers>,
        lookup_timeout: Duration,
        tasks: TaskTracker,
        changed: Changed,
    ) -> Arc<Self> {
        Arc::new(Self {
            name_servers,
            lookup_timeout,
            tasks,
            generation: AtomicU64::new(0),
            known: RwLock::default(),
            lookups: Mutex::default(),
            changed,
        })
    }

    /// The route that is known now.
    pub(crate) fn cached(&self, topic: &str) -> Option<Arc<Route>> {
        self.known
            .read()
            .get(topic)
            .map(|known| Arc::clone(&known.route))
    }

    /// The route that is known, else what the name servers say; `None` when they know no such topic.
    ///
    /// # Errors
    /// No name server answered in time.
    ///
    /// # Cancel safety
    /// The look-up goes on for those who still wait for it.
    pub(crate) async fn find(
        self: &Arc<Self>,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<Arc<Route>>> {
        match self.cached(topic) {
            Some(route) => Ok(Some(route)),
            None => self.look_up(topic, deadline).await,
        }
    }

    /// What the name servers say now, unless a route newer than `seen` is known already.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        topic: &str,
        seen: u64,
        deadline: Instant,
    ) -> Result<Option<Arc<Route>>> {
        match self.cached(topic) {
            Some(route) if route.generation > seen => Ok(Some(route)),
            _ => self.look_up(topic, deadline).await,
        }
    }

    /// The address of every broker that is known; masters only when `masters` says so.
    pub(crate) fn addrs(&self, masters: bool) -> Vec<Arc<str>> {
        let known = self.known.read();
        let mut addrs: Vec<_> = known
            .values()
            .flat_map(|known| known.route.addrs(masters))
            .cloned()
            .collect();
        addrs.sort_unstable();
        addrs.dedup();
        addrs
    }

    /// The name of the broker at an address, if it is known.
    pub(crate) fn broker_at(&self, addr: &str) -> Option<Arc<str>> {
        let known = self.known.read();
        known
            .values()
            .find_map(|known| known.route.broker_at(addr))
            .cloned()
    }

    /// The address of a broker's master, and a topic that it holds, if a known route names it.
    pub(crate) fn master_of(&self, broker_name: &str) -> Option<(Arc<str>, Arc<str>)> {
        let known = self.known.read();
        known.iter().find_map(|(topic, known)| {
            let addr = known.route.master(broker_name)?;
            Some((Arc::clone(topic), Arc::clone(addr)))
        })
    }

    /// Forgets every route but those of these topics, which are sorted.
    pub(crate) fn retain(&self, topics: &[Arc<str>]) {
        let mut known = self.known.write();
        known.retain(|topic, _| topics.binary_search(topic).is_ok());
    }

    /// Asks the name servers; all who ask at once share the answer.
    async fn look_up(
        self: &Arc<Self>,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<Arc<Route>>> {
        let (lookup, asking) = self.join(topic);
        if let Some(asking) = asking {
            // A task of its own: it ends also when everybody who asked goes away.
            self.tasks.spawn(asking.ask());
        }
        timeout_at(deadline, lookup).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "look up a route")
                .topic_of(topic)
                .detail("no name server answered in time"))
        })
    }

    /// The look-up of a topic that is under way; else a new one, to be spawned without the lock: a runtime that ends drops the
    /// task at once, and that takes the lock again.
    fn join(self: &Arc<Self>, topic: &str) -> (Lookup, Option<Asking>) {
        let mut lookups = self.lookups.lock();
        if let Some(lookup) = lookups.get(topic) {
            return (lookup.clone(), None);
        }
        let (answer, asked) = oneshot::channel();
        let gone = |_| Err(Error::new(ErrorKind::Closed, "look up a route"));
        let lookup = asked
            .map(move |asked| asked.unwrap_or_else(gone))
            .boxed()
            .shared();
        let topic: Arc<str> = topic.into();
        lookups.insert(Arc::clone(&topic), lookup.clone());
        let asking = Asking {
            routes: Arc::clone(self),
            topic,
            answer: Some(answer),
        };
        (lookup, Some(asking))
    }

    async fn ask(&self, topic: &Arc<str>) -> Result<Option<Arc<Route>>> {
        let deadline = Instant::now() + self.lookup_timeout;
        let found = match self.name_servers.route(topic, deadline).await? {
            None => None,
            Some(body) => {
                let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
                let mut route = Route::new(topic, body, generation).map_err(|error| {
                    Error::new(ErrorKind::Protocol, "look up a route")
                        .topic_of(topic)
                        .caused_by(error)
                })?;
                route.take_turns_from(self.turns(topic));
                (!route.is_empty()).then(|| Arc::new(route))
            }
        };
        if self.note(topic, found.as_ref()) {
            (self.changed)(topic);
        }
        Ok(found)
    }

    /// The count of a topic's turns. It begins anywhere, so that many clients do not all begin with the same queue.
    fn turns(&self, topic: &str) -> Arc<AtomicUsize> {
        let known = self.known.read();
        let turns = known
            .get(topic)
            .map(|known| Arc::clone(known.route.turns()));
        turns.unwrap_or_else(|| Arc::new(AtomicUsize::new(usize::from(rand::random::<u16>()))))
    }

    /// Notes what was found; true when that is another route than before.
    fn note(&self, topic: &Arc<str>, found: Option<&Arc<Route>>) -> bool {
        let now = Instant::now();
        let mut known = self.known.write();
        match (found, known.get(topic)) {
            (Some(route), before) => {
                let changed = before.is_none_or(|before| !before.route.is_like(route));
                if changed {
                    info!(%topic, readable = route.readable.len(), writable = route.writable.len(), "route changed");
                }
                known.insert(
                    Arc::clone(topic),
                    Known {
                        route: Arc::clone(route),
                        confirmed: now,
                    },
                );
                return changed;
            }
            (None, Some(before)) if now - before.confirmed >= KEEP_FOR => {
                warn!(%topic, "name servers have known no route for ten minutes; it is forgotten");
                known.remove(topic);
            }
            (None, Some(_)) => {
                warn!(%topic, "name servers know no route; the last good one is kept")
            }
            (None, None) => debug!(%topic, "name servers know no route"),
        }
        false
    }
}

/// A look-up that is under way. It is over when its task is, however that ended.
struct Asking {
    routes: Arc<Routes>,
    topic: Arc<str>,
    answer: Option<oneshot::Sender<Found>>,
}

impl Asking {
    async fn ask(mut self) {
        let found = self.routes.ask(&self.topic).await;
        let answer = self.answer.take();
        // First, so that nobody joins a look-up that is answered already.
        drop(self);
        // Nobody may wait any more.
        let _ = answer.map(|answer| answer.send(found));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.routes.lookups.lock().remove(&self.topic);
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("topics", &self.known.read().len())
            .finish_non_exhaustive()
    }
}
