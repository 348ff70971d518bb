//! How an assigned queue is fed: where it begins, and one pull after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use crate::client::Reservation;
use crate::consumer::assigned::Assigned;
use crate::consumer::backoff::Backoff;
use crate::consumer::committed::Committed;
use crate::consumer::group::{Again, Group};
use crate::consumer::pull::{self, Found, MASTER, Messages, PullAnswer, PullFrom, broker};
use crate::consumer::start_offset::{Origin, Start, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::code::ResponseCode;
use crate::protocol::request::queue_offset::{GetMaxOffset, SearchOffset};

/// The pauses between attempts that fail.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(3);

/// How many bytes a pull is expected to bring when nothing is known, and at least.
const LEAST_BYTES: usize = 16 * 1024;

/// An answer without messages that comes sooner is no long poll.
const PROMPT: Duration = Duration::from_millis(500);

/// Between two looks of a queue that may not wait at its broker.
const LOOK: Duration = Duration::from_secs(2);

/// How long to wait before a queue is pulled again at another offset, so that a broker that says so at every pull is not asked without end.
const BEFORE_RESTART: Duration = Duration::from_millis(500);

/// What one pull tells about the next.
struct Pace {
    /// The broker id to ask.
    broker_id: i64,
    /// How many bytes are reserved for the next pull, which asks for no more: twice what the last one brought, so that many come soon
    /// where there are many, up to what a pull may ask for. A message that is larger than that comes all the same, and there may be
    /// another.
    expected: usize,
    backoff: Backoff,
}

/// A pull that was issued.
struct Asked {
    offset: i64,
    at: Instant,
    reservation: Reservation,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Pull,
    /// Pull after a pause, which grows.
    Pause,
    /// Look again soon: the broker is not to hold the pull.
    Look,
    /// The queue has to begin again.
    Restart(Again),
}

impl Assigned {
    /// Begins where the group is, and pulls until the queue is given up: it is cancelled then.
    pub(super) async fn feed(self: &Arc<Self>, group: &Arc<Group>) {
        let (offset, committed) = self.find_start(group).await;
        self.set_waiting(true);
        self.announce(group).await;
        self.set_waiting(false);
        self.begin(offset, committed);
        group.progressed();
        info!(queue = %self.queue(), epoch = self.epoch().0, offset, "queue taken");
        if let Origin::Reset(_) = self.origin {
            // Not before it begins: what was asked for is kept first.
            sleep(BEFORE_RESTART).await;
        }
        let mut pace = Pace {
            broker_id: MASTER,
            expected: LEAST_BYTES,
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
        };
        loop {
            match self.feed_once(group, &mut pace).await {
                Next::Pull => self.pause_between_pulls(group).await,
                Next::Pause => sleep(pace.backoff.fail()).await,
                Next::Look => sleep(LOOK).await,
                Next::Restart(again) => {
                    group.rebuild(self, again);
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn pause_between_pulls(&self, group: &Group) {
        let interval = group.pulls().interval;
        if !interval.is_zero() {
            self.set_waiting(true);
            sleep(interval).await;
        }
    }

    /// Where to begin, asked for until it is known and committed; and what is committed.
    async fn find_start(&self, group: &Group) -> (i64, Committed) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        let mut chosen = None;
        if let Origin::Corrected(_) = self.origin {
            sleep(BEFORE_RESTART).await;
        }
        loop {
            self.set_waiting(false);
            match self.try_start(group, &mut chosen).await {
                Ok(begun) => return begun,
                Err(error) => {
                    if backoff.is_news() {
                        warn!(queue = %self.queue(), %error, "it is not known yet where the queue begins");
                    }
                    note_failure(group, self, &error).await;
                    sleep(backoff.fail()).await;
                }
            }
        }
    }

    /// One attempt. What was chosen stays chosen, so that nothing is skipped that came after the choice.
    async fn try_start(&self, group: &Group, chosen: &mut Option<i64>) -> Result<(i64, Committed)> {
        let (client, queue) = (group.client(), self.queue());
        let deadline = client.request_deadline();
        let stored = group.store().load(queue, deadline).await?;
        let is_retry_topic = group.is_retry(&queue.topic);
        let start = decide(group.settings().from, self.origin, is_retry_topic, stored);
        let offset = match (start, *chosen) {
            (Start::GoOn(offset), _) => {
                return Ok((offset, Committed::found(offset, Instant::now())));
            }
            (_, Some(offset)) => offset,
            (Start::Begin(offset), None) => offset,
            (Start::End, None) => {
                let (addr, _) = broker(client, queue, MASTER).await?;
                let header = GetMaxOffset {
                    topic: (&*queue.topic).into(),
                    queue_id: queue.queue_id,
                    broker_name: Some((&*queue.broker_name).into()),
                };
                client.rpc().max_offset(&addr, &header, deadline).await?
            }
            (Start::Time(timestamp), None) => {
                let (addr, _) = broker(client, queue, MASTER).await?;
                let header = SearchOffset {
                    topic: (&*queue.topic).into(),
                    queue_id: queue.queue_id,
                    timestamp,
                    boundary_type: None,
                    broker_name: Some((&*queue.broker_name).into()),
                };
                client.rpc().search_offset(&addr, &header, deadline).await?
            }
        };
        if offset < 0 {
            let error = Error::new(ErrorKind::Protocol, "find where a queue begins");
            return Err(error
                .topic_of(&queue.topic)
                .detail(format!("the broker says {offset}")));
        }
        *chosen = Some(offset);
        match group.store().commit(queue, offset, deadline).await {
            Ok(()) => Ok((offset, Committed::chosen(offset, Instant::now()))),
            // What a file cannot keep is no reason for a member to get nothing. Whoever commits tries again, and says so.
            Err(_) if group.is_broadcasting() => Ok((offset, Committed::default())),
            Err(error) => Err(error),
        }
    }

    /// Waits for room, pulls once, and takes in what came.
    async fn feed_once(self: &Arc<Self>, group: &Arc<Group>, pace: &mut Pace) -> Next {
        self.room().await;
        self.set_waiting(true);
        group.resumed().await;
        let reservation = group.allowance().reserve(pace.expected).await;
        self.set_waiting(false);
        let Some(subscription) = group.subscription(&self.queue().topic) else {
            // The queue is given up as soon as the queues are shared again.
            return Next::Pause;
        };
        let Some(offset) = self.with_ring(|ring| ring.position()) else {
            return Next::Pause;
        };
        let from = PullFrom {
            queue: self.queue(),
            subscription: &subscription,
            offset,
            broker_id: pace.broker_id,
            // While one pull goes beyond the budget, those of the other queues wait for it.
            may_wait: !reservation.is_spare(),
            max_bytes: pace.expected.min(group.pulls().max_bytes as usize) as i32,
        };
        let asked = Asked {
            offset,
            at: Instant::now(),
            reservation,
        };
        self.set_pulling(subscription.version());
        let answer = tokio::select! {
            biased;
            answer = pull::pull(group.client(), group.pulls(), from) => answer,
            () = self.renewed() => return Next::Pull,
        };
        match answer {
            // Somebody has reset the group, whatever is subscribed now, and the broker says so once.
            Ok(answer)
                if matches!(answer.found, Found::Reset { .. })
                    || group.is_current(&subscription) =>
            {
                self.take_in(group, pace, asked, answer)
            }
            // The broker chose by tags that nobody wants any more.
            Ok(_) => Next::Pull,
            Err(error) => {
                drop(asked);
                self.log_failure(pace, &error);
                pace.broker_id = MASTER;
                note_failure(group, self, &error).await;
                Next::Pause
            }
        }
    }

    fn take_in(
        self: &Arc<Self>,
        group: &Arc<Group>,
        pace: &mut Pace,
        asked: Asked,
        answer: PullAnswer,
    ) -> Next {
        pace.broker_id = answer.suggested;
        if let Found::Messages(found) = &answer.found {
            let took = asked.at.elapsed();
            self.counters().pulled(found.messages.len(), took);
        }
        match answer.found {
            Found::Messages(messages) if messages.next <= asked.offset => {
                if pace.backoff.is_news() {
                    let offset = asked.offset;
                    warn!(queue = %self.queue(), offset, "the broker says that it found something, and nothing is there");
                }
                Next::Pause
            }
            Found::Messages(messages) => self.put(group, pace, messages, asked.reservation),
            Found::Nothing { next } => {
                pace.expected = LEAST_BYTES;
                let _ = self.with_ring(|ring| ring.advance(next));
                if asked.reservation.is_spare() {
                    self.recovered(pace);
                    return Next::Look;
                }
                // A broker that holds no pulls must not be asked without end.
                if next <= asked.offset && asked.at.elapsed() < PROMPT {
                    return Next::Pause;
                }
                self.recovered(pace);
                Next::Pull
            }
            Found::Reset { offset } if offset >= 0 => Next::Restart(Again::Reset(offset)),
            Found::Reset { .. } => Next::Pause,
            Found::IllegalOffset { .. } if answer.asked != MASTER => {
                // A slave may be behind.
                pace.broker_id = MASTER;
                Next::Pause
            }
            Found::IllegalOffset { correct } => self.correct(asked.offset, correct),
        }
    }

    fn put(
        self: &Arc<Self>,
        group: &Arc<Group>,
        pace: &mut Pace,
        messages: Messages,
        mut reservation: Reservation,
    ) -> Next {
        let Messages {
            messages,
            next,
            bytes,
        } = messages;
        reservation.settle(bytes);
        let most = group.pulls().max_bytes as usize;
        pace.expected = (2 * bytes).clamp(LEAST_BYTES.min(most), most).max(bytes);
        let put = self.with_ring(|ring| ring.put(messages, next, reservation));
        match put {
            Some(Err(error)) => {
                error!(queue = %self.queue(), %error, "messages come out of order; they are pulled again");
                Next::Pause
            }
            Some(Ok(())) | None => {
                self.recovered(pace);
                group.offer(self, Instant::now());
                Next::Pull
            }
        }
    }

    /// Goes on at an offset that the broker has.
    fn correct(&self, offset: i64, correct: i64) -> Next {
        let queue = self.queue();
        if correct < 0 || correct == offset {
            warn!(%queue, offset, correct, "the broker refuses the offset and knows no better one");
            return Next::Pause;
        }
        warn!(%queue, offset, correct, "the broker does not have the offset; consumption goes on at the nearest");
        if correct < offset {
            return Next::Restart(Again::Corrected(correct));
        }
        let _ = self.with_ring(|ring| ring.advance(correct));
        Next::Pause
    }

    fn recovered(&self, pace: &mut Pace) {
        let failures = pace.backoff.succeed();
        if failures > 1 {
            info!(queue = %self.queue(), failures, "pulling goes on");
        }
    }

    /// The first failure in a row is worth a warning, and then one now and again.
    fn log_failure(&self, pace: &Pace, error: &Error) {
        if pace.backoff.is_news() {
            warn!(queue = %self.queue(), %error, "pull failed");
        } else {
            debug!(queue = %self.queue(), %error, "pull failed again");
        }
    }
}

/// Does what may help the next attempt: a heartbeat where the broker does not know us, a new route where the broker is gone.
async fn note_failure(group: &Group, queue: &Assigned, error: &Error) {
    match error.response_code() {
        Some(
            ResponseCode::SUBSCRIPTION_NOT_EXIST
            | ResponseCode::SUBSCRIPTION_NOT_LATEST
            | ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        ) => group.tell_brokers(),
        Some(ResponseCode::FLOW_CONTROL | ResponseCode::SYSTEM_BUSY) => {}
        _ => group.refresh_route(&queue.queue().topic).await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::client::Budget;
    use crate::consumer::assigned::Epoch;
    use crate::consumer::process_queue::Limits;
    use crate::consumer::sample;
    use crate::consumer::start_offset::Origin;
    use crate::message::MessageQueue;

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_waits_for_its_client_s_budget_does_not_hang() {
        let limits = Limits {
            count: 10,
            span: 10,
            bytes: 1 << 20,
        };
        let queue = MessageQueue::new("t", "broker-a", 0);
        let queue = Assigned::new(queue, Epoch(1), Origin::Known, limits);
        queue.begin(0, Committed::found(0, Instant::now()));
        let allowance = Budget::new(1 << 20).allowance();
        let reservation = allowance.reserve(1).now_or_never().unwrap();
        queue
            .with_ring(|ring| ring.put(vec![sample::message("t", 0)], 1, reservation))
            .unwrap()
            .unwrap();
        let taken = queue.take(1, Instant::now()).unwrap();
        queue.set_waiting(true);
        // A listener of the queue's own ends meanwhile; others hold the budget.
        queue.finish(&taken.ticket, 0..1);
        let later = Instant::now() + Duration::from_secs(3600);
        assert!(!queue.is_stalled(later));
        queue.set_waiting(false);
        assert!(queue.is_stalled(later));
    }
}
