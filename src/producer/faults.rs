//! Leaving brokers alone that have been slow or have failed: the table of one producer, and the task that probes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, info};

use crate::producer::Shared;
use crate::producer::job::Attempt;
use crate::producer::verdict::Verdict;
use crate::protocol::request::queue_offset::GetMaxOffset;
use crate::route::{Ended, FaultTable, Standing};
use crate::transport::{CallError, Cause};

/// How often the task looks for brokers to probe.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// How long a broker has to answer a probe.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// Whether a producer leaves brokers alone for a while that were slow or failed, where another one may take a message. A queue that
/// was chosen - given, by key or by the application - is kept all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FaultTolerance {
    /// It does not: queues have their turn whatever their brokers did, and only the attempts of one send avoid brokers that failed.
    #[default]
    Off,
    /// It does, by Java's table: an answer after 550 ms sets its broker aside for 2 s, one after 1.8 s for 5 s, after 3 s for 6 s, after
    /// 5 s for 10 s, after 15 s for 30 s; a failure for 10 s. When all are set aside, those that could be reached come first.
    Latency,
    /// The same; and a broker that gave no answer, while it is set aside, counts as one that cannot be reached until it answers a probe.
    /// Probes are small requests, every few seconds, only to such brokers. As in Java, ten seconds after its last failure a broker has
    /// its turn again, whether it has answered one or not.
    LatencyAndProbes,
}

/// How the brokers of one producer have done.
#[derive(Debug)]
pub(super) struct Faults {
    table: RwLock<FaultTable>,
    probing: bool,
}

impl Faults {
    pub(super) fn new(tolerance: FaultTolerance) -> Option<Arc<Self>> {
        let probing = match tolerance {
            FaultTolerance::Off => return None,
            FaultTolerance::Latency => false,
            FaultTolerance::LatencyAndProbes => true,
        };
        Some(Arc::new(Self {
            table: RwLock::default(),
            probing,
        }))
    }

    /// How good a choice each broker is now.
    pub(super) fn standings<R>(&self, look: impl FnOnce(&dyn Fn(&str) -> Standing) -> R) -> R {
        let (table, now) = (self.table.read(), Instant::now());
        look(&|broker| table.standing(broker, now))
    }

    /// Notes an attempt without an answer.
    pub(super) fn unanswered(&self, broker: &Arc<str>) {
        self.note(broker, Ended::Unanswered);
    }

    /// Notes an attempt that ended without an answer.
    pub(super) fn failed(&self, broker: &Arc<str>, error: &CallError) {
        match error {
            // That was not the broker.
            CallError::TooLarge(_) | CallError::Lost(Cause::Shutdown, _) => {}
            CallError::Lost(..) | CallError::TimedOut(_) | CallError::Full => {
                self.unanswered(broker);
            }
        }
    }

    /// Notes an attempt that was answered; `verdict` is there where the answer is no success.
    pub(super) fn answered(&self, attempt: &Attempt, verdict: Option<Verdict>) {
        let ended = match verdict {
            Some(Verdict::Elsewhere | Verdict::ElsewhereOrRefreshed | Verdict::OnlyElsewhere) => {
                Ended::InTrouble
            }
            Some(Verdict::AfterRefresh | Verdict::GiveUp) | None => {
                Ended::Answered(attempt.began.elapsed())
            }
        };
        self.note(&attempt.queue.broker_name, ended);
    }

    fn note(&self, broker: &Arc<str>, ended: Ended) {
        let now = Instant::now();
        self.table.write().note(broker, ended, self.probing, now);
    }
}

/// Starts the task that probes, if the producer wants that. It ends with the producer.
pub(super) fn start_probing(shared: &Arc<Shared>) {
    let Some(faults) = shared.faults.as_ref().filter(|faults| faults.probing) else {
        return;
    };
    let (faults, producer) = (Arc::clone(faults), Arc::downgrade(shared));
    let stop = shared.stop.clone();
    shared.client.spawn("probes of a producer", async move {
        stop.run_until_cancelled(probe(faults, producer)).await;
    });
}

async fn probe(faults: Arc<Faults>, producer: Weak<Shared>) {
    let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let due = faults.table.write().due(Instant::now());
        for broker in due {
            let Some(producer) = producer.upgrade() else {
                return;
            };
            producer.probe(&faults, &broker).await;
        }
    }
}

impl Shared {
    async fn probe(&self, faults: &Faults, broker: &Arc<str>) {
        // Of all routes that are known: another producer of the client may have been the one to look it up.
        let Some((topic, addr)) = self.client.routes().master_of(broker) else {
            debug!(%broker, "no route names a broker that could not be reached");
            faults.table.write().forget(broker);
            return;
        };
        let header = GetMaxOffset {
            topic: (&*topic).into(),
            queue_id: 0,
            broker_name: Some((&**broker).into()),
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        match self.client.rpc().max_offset(&addr, &header, deadline).await {
            Ok(_) => {
                info!(%broker, "a broker can be reached again");
                faults.table.write().probed(broker);
            }
            Err(error) => debug!(%broker, %error, "a broker cannot be reached yet"),
        }
    }
}
