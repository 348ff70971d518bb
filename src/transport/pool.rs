//! One connection for each address: made when it is wanted, by one dialler at a time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::environment::Environment;
use crate::error::Delivery;
use crate::transport::connection::{Connection, Inbound, Limits};
use crate::transport::error::{CallError, Cause};

/// The pause after a failed attempt to connect doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A connection that ended sooner than this counts as a failed attempt.
const SHORT_LIVED: Duration = Duration::from_secs(1);

/// The connections of one client.
pub(crate) struct Pool {
    environment: Arc<dyn Environment>,
    limits: Limits,
    connect_timeout: Duration,
    inbound: Arc<dyn Inbound>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    slots: Mutex<HashMap<Arc<str>, Slot>>,
}

enum Slot {
    Ready {
        connection: Connection,
        failures: u32,
        since: Instant,
    },
    Dialling(watch::Receiver<Option<Result<Connection, Cause>>>),
    /// The last attempt failed; the next may begin at the instant.
    Failed {
        failures: u32,
        not_before: Instant,
    },
}

impl Pool {
    pub(crate) fn new(
        environment: Arc<dyn Environment>,
        limits: Limits,
        connect_timeout: Duration,
        inbound: Arc<dyn Inbound>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            environment,
            limits,
            connect_timeout,
            inbound,
            tasks,
            shutdown,
            slots: Mutex::new(HashMap::new()),
        })
    }

    /// The connection to `addr`, if one has been made. It may have ended since; its first call says so.
    pub(crate) fn ready(&self, addr: &str) -> Option<Connection> {
        match self.slots.lock().get(addr) {
            Some(Slot::Ready { connection, .. }) => Some(connection.clone()),
            _ => None,
        }
    }

    /// A live connection to `addr`. All callers at once share one attempt, and an address that refused is not asked again before
    /// its pause is over.
    ///
    /// Cancel safe: the attempt goes on for those who still wait.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        addr: &Arc<str>,
        deadline: Instant,
    ) -> Result<Connection, CallError> {
        let lost = |cause| CallError::Lost(cause, Delivery::No);
        loop {
            let wait = match self.begin(addr) {
                Ok(connection) => return Ok(connection),
                Err(wait) => wait,
            };
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(lost(Cause::Shutdown)),
                outcome = wait.over() => match outcome {
                    Some(Ok(connection)) => return Ok(connection),
                    Some(Err(cause)) => return Err(lost(cause)),
                    None => {}
                },
                () = sleep_until(deadline) => return Err(CallError::TimedOut(Delivery::No)),
            }
        }
    }

    /// Every connection that is made and takes calls.
    pub(crate) fn live(&self) -> Vec<Connection> {
        let slots = self.slots.lock();
        let ready = slots.values().filter_map(|slot| match slot {
            Slot::Ready { connection, .. } => Some(connection),
            _ => None,
        });
        ready
            .filter(|connection| !connection.is_closed())
            .cloned()
            .collect()
    }

    /// Forgets every address that `keep` does not want and that has no live connection.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.slots.lock().retain(|addr, slot| match slot {
            Slot::Ready { connection, .. } => !connection.is_closed() || keep(addr),
            Slot::Dialling(_) => true,
            Slot::Failed { .. } => keep(addr),
        });
    }

    /// The live connection, or what there is to wait for; starts an attempt where none is under way.
    fn begin(self: &Arc<Self>, addr: &Arc<str>) -> Result<Connection, Wait> {
        let mut slots = self.slots.lock();
        let now = Instant::now();
        let failures = match slots.get(addr) {
            Some(Slot::Ready { connection, .. }) if !connection.is_closed() => {
                return Ok(connection.clone());
            }
            Some(Slot::Dialling(outcome)) => return Err(Wait::Outcome(outcome.clone())),
            Some(Slot::Failed { not_before, .. }) if *not_before > now => {
                return Err(Wait::Pause(*not_before));
            }
            Some(Slot::Failed { failures, .. }) => *failures,
            // A peer that accepts and hangs up at once has failed as well.
            Some(Slot::Ready {
                failures, since, ..
            }) if now - *since < SHORT_LIVED => {
                let (failures, not_before) = (failures + 1, now + pause(*failures));
                slots.insert(
                    Arc::clone(addr),
                    Slot::Failed {
                        failures,
                        not_before,
                    },
                );
                return Err(Wait::Pause(not_before));
            }
            Some(Slot::Ready { .. }) | None => 0,
        };
        let (sender, outcome) = watch::channel(None);
        slots.insert(Arc::clone(addr), Slot::Dialling(outcome.clone()));
        drop(slots);
        let attempt = Attempt {
            pool: Arc::clone(self),
            addr: Arc::clone(addr),
            failures,
            outcome: None,
            sender,
        };
        self.tasks.spawn(attempt.run());
        Err(Wait::Outcome(outcome))
    }

    async fn dial(&self, addr: &Arc<str>) -> Result<Connection, Cause> {
        let stream = match timeout(self.connect_timeout, self.environment.connect(addr)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Cause::Connect(Arc::new(error))),
            Err(_) => return Err(Cause::Connect(Arc::new(io::ErrorKind::TimedOut.into()))),
        };
        info!(%addr, "connected");
        Ok(Connection::spawn(
            stream,
            Arc::clone(addr),
            self.limits.clone(),
            Arc::clone(&self.inbound),
            &self.tasks,
            self.shutdown.clone(),
        ))
    }

    fn finish(&self, addr: &Arc<str>, failures: u32, dialled: &Result<Connection, Cause>) {
        let now = Instant::now();
        let slot = match dialled {
            Ok(connection) => Slot::Ready {
                connection: connection.clone(),
                failures,
                since: now,
            },
            Err(cause) => {
                debug!(%addr, %cause, failures = failures + 1, "cannot connect");
                Slot::Failed {
                    failures: failures + 1,
                    not_before: now + pause(failures),
                }
            }
        };
        self.slots.lock().insert(Arc::clone(addr), slot);
    }
}

/// An attempt to connect. It has an outcome also when its task does not live to see one.
struct Attempt {
    pool: Arc<Pool>,
    addr: Arc<str>,
    failures: u32,
    outcome: Option<Result<Connection, Cause>>,
    sender: watch::Sender<Option<Result<Connection, Cause>>>,
}

impl Attempt {
    async fn run(mut self) {
        let dialled = tokio::select! {
            dialled = self.pool.dial(&self.addr) => dialled,
            () = self.pool.shutdown.cancelled() => Err(Cause::Shutdown),
        };
        self.outcome.replace(dialled);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let error = io::Error::other("the attempt ended with its runtime, or by a panic");
            Err(Cause::Connect(Arc::new(error)))
        });
        self.pool.finish(&self.addr, self.failures, &outcome);
        // Nobody may wait any more.
        let _ = self.sender.send(Some(outcome));
    }
}

/// How long to wait before the next attempt after `failures` in a row before this one, with up to a quarter at random, so
/// that many clients of a broker that comes back do not arrive at once.
fn pause(failures: u32) -> Duration {
    let pause = (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10))).min(LAST_PAUSE);
    pause.mul_f64(rand::random_range(1.0..1.25))
}

enum Wait {
    Outcome(watch::Receiver<Option<Result<Connection, Cause>>>),
    Pause(Instant),
}

impl Wait {
    /// The outcome of the attempt that is under way; `None` when it is time for a new one.
    async fn over(self) -> Option<Result<Connection, Cause>> {
        match self {
            Self::Outcome(mut outcome) => {
                let seen = outcome.wait_for(Option::is_some).await.ok()?;
                seen.clone()
            }
            Self::Pause(until) => {
                sleep_until(until).await;
                None
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("addresses", &self.slots.lock().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
