//! Requests: messages whose senders wait for a reply of who consumes them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::message::{MAX_INFLATED, Message, MessageExt, MessageQueue};
use crate::producer::queues::Queues;
use crate::producer::retry::Budget;
use crate::producer::send::{SendFuture, polled_before};
use crate::producer::{DefaultProducer, Shared};
use crate::protocol::message::property_names as names;

const OPERATION: &str = "request";

/// A request that is being sent and waits for its reply: resolves to the reply.
///
/// Made by [`DefaultProducer::request`](crate::DefaultProducer::request). Nothing happens before it is awaited. It owns all that it
/// needs, so it can be spawned, joined and buffered. Its options are set before it is polled first; later they change nothing.
///
/// # Errors
/// Those of a [`SendFuture`] where the request could not be sent. [`Timeout`](ErrorKind::Timeout): no reply came in time, with
/// [`Delivery::Unknown`], since the request may be carried out all the same. [`Protocol`](ErrorKind::Protocol): the reply cannot be
/// read. [`Closed`](ErrorKind::Closed): the producer has been shut down.
///
/// # Cancel safety
/// Dropping it cancels the send, and a reply that comes is dropped. What was sent already may be carried out all the same.
#[must_use = "a request is sent when this is awaited"]
pub struct RequestFuture {
    shared: Arc<Shared>,
    state: State,
}

enum State {
    New(Box<SendFuture>),
    Running(BoxFuture<'static, Result<MessageExt>>),
    Over,
}

impl RequestFuture {
    /// How long the request may take, until its reply is there. Default: the producer's send timeout, 3 s. Who consumes the request sees
    /// it as its property `TTL`, in milliseconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|send| send.timeout(timeout))
    }

    /// See [`SendFuture::to`].
    pub fn to(self, queue: MessageQueue) -> Self {
        self.with(|send| send.to(queue))
    }

    /// See [`SendFuture::select`].
    pub fn select<F>(self, selector: F) -> Self
    where
        F: FnOnce(&[MessageQueue], &Message) -> usize + Send + 'static,
    {
        self.with(|send| send.select(selector))
    }

    /// See [`SendFuture::sharding_key`].
    pub fn sharding_key(self, key: impl AsRef<str>) -> Self {
        self.with(|send| send.sharding_key(key))
    }

    fn with(mut self, change: impl FnOnce(SendFuture) -> SendFuture) -> Self {
        self.state = match self.state {
            State::New(send) => State::New(Box::new(change(*send))),
            other => other,
        };
        self
    }
}

impl Future for RequestFuture {
    type Output = Result<MessageExt>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                State::New(send) => {
                    let shared = Arc::clone(&this.shared);
                    this.state = State::Running(async move { shared.request(*send).await }.boxed());
                }
                State::Running(mut running) => {
                    let Poll::Ready(outcome) = running.as_mut().poll(cx) else {
                        this.state = State::Running(running);
                        return Poll::Pending;
                    };
                    return Poll::Ready(outcome);
                }
                State::Over => return Poll::Ready(Err(polled_before())),
            }
        }
    }
}

impl fmt::Debug for RequestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(_) => "new",
            State::Running(_) => "running",
            State::Over => "over",
        };
        f.debug_struct("RequestFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl DefaultProducer {
    /// Sends a message and waits for the reply of a consumer. Options: see [`RequestFuture`].
    ///
    /// ```no_run
    /// # async fn example(producer: rocketmq_sdk::DefaultProducer) -> rocketmq_sdk::Result<()> {
    /// # use std::time::Duration;
    /// # use rocketmq_sdk::Message;
    /// let reply = producer.request(Message::new("prices", "a book")).timeout(Duration::from_secs(1)).await?;
    /// println!("{:?}", reply.body());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A reply that comes too late is dropped, and [counted](Self::unclaimed_replies). Where the request is sent twice because an answer
    /// was lost, or is consumed twice, the first reply counts.
    ///
    /// # Errors
    /// See [`RequestFuture`].
    ///
    /// # Cancel safety
    /// See [`RequestFuture`]: dropping it gives the request up.
    pub fn request(&self, message: Message) -> RequestFuture {
        RequestFuture {
            shared: Arc::clone(&self.shared),
            state: State::New(Box::new(self.send(message))),
        }
    }

    /// How many replies came that no request waited for, or not any more. Those to other producers of the same
    /// [`Client`](crate::Client) count, too.
    pub fn unclaimed_replies(&self) -> u64 {
        self.shared.client.replies().unclaimed()
    }

    /// Replies to a request that was received: resolves when the client that asked has the reply. With more than a body: send what
    /// [`Message::reply_to`] builds.
    ///
    /// ```no_run
    /// use rocketmq_sdk::{DefaultProducer, MessageExt};
    ///
    /// // In a listener of a consumer:
    /// async fn answer(producer: DefaultProducer, request: &MessageExt) -> rocketmq_sdk::Result<()> {
    ///     producer.reply(request, "12.50").await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of a [`SendFuture`]. [`InvalidInput`](ErrorKind::InvalidInput): the message is no [request](MessageExt::is_request).
    /// [`Broker`](ErrorKind::Broker) with `SYSTEM_ERROR`: the client that asked is gone, or does not take the reply.
    ///
    /// # Cancel safety
    /// See [`SendFuture`]: dropping it cancels the reply.
    pub fn reply(&self, request: &MessageExt, body: impl Into<Bytes>) -> SendFuture {
        self.send(Message::reply_to(request).body(body).build())
    }
}

impl Shared {
    async fn request(self: &Arc<Self>, send: SendFuture) -> Result<MessageExt> {
        let time = send.own_timeout().unwrap_or(self.settings.send_timeout);
        let began = Instant::now();
        let deadline = Budget::new(began, time, 0).deadline();
        let topic = send.topic();
        let id = format!("{:032x}", rand::random::<u128>());
        let unanswered = |kind, detail: &str| {
            Error::new(kind, OPERATION)
                .topic_of(&topic)
                .target(format!("request {id}"))
                .detail(detail)
                .after(began.elapsed())
                .maybe_delivered(Delivery::Unknown)
        };
        let mut send = send.change(|message| self.mark(message, &id, time));
        let ticket = send.enter().await?;
        // First, since a reply may come before the broker has answered.
        let mut expected = self.client.replies().expect(&id);
        match self.queues(OPERATION, &topic, deadline).await {
            Ok(queues) => self.introduce(&queues),
            Err(error) => return Err(send.ended(error)),
        }
        let waiting = async {
            let sent = tokio::select! {
                biased;
                // So it is stored: nobody has to wait for the broker to say so, and another attempt would be carried out, too.
                reply = &mut expected => {
                    send.stored();
                    return Ok(reply);
                }
                sent = &mut send => sent,
            };
            // A shutdown waits for the reply as well; the room is free for other messages.
            let _in_flight = self.in_flight.token();
            drop(ticket);
            if let Err(error) = &sent
                && error.delivery() == Delivery::No
            {
                return Err(error.clone());
            }
            tokio::select! {
                biased;
                reply = &mut expected => Ok(reply),
                () = sleep_until(deadline) => Err(sent.err().unwrap_or_else(|| {
                    unanswered(ErrorKind::Timeout, "it was sent, but no reply came")
                })),
            }
        };
        let outcome = self.stop.run_until_cancelled(waiting).await;
        let mut reply = outcome.unwrap_or_else(|| {
            let detail = "the producer ended before the reply came";
            Err(send.ended(unanswered(ErrorKind::Closed, detail)))
        })?;
        reply.inflate_body(MAX_INFLATED).map_err(|error| {
            unanswered(ErrorKind::Protocol, "its reply cannot be read").caused_by(error)
        })?;
        Ok(reply)
    }

    /// Makes a message a request.
    fn mark(&self, message: &mut Message, id: &str, time: Duration) {
        if message.reply_through().is_some() {
            message.blame("a reply cannot be a request".to_owned());
        }
        message.add_property(names::CORRELATION_ID, id);
        message.add_property(names::REPLY_TO_CLIENT, self.client.id());
        message.add_property(names::TTL, &time.as_millis().to_string());
    }

    /// Has every broker hear of the producer that replies may come through: those of the clusters that hold a topic. The broker that takes
    /// a request hears of it before that; nobody waits for the others.
    fn introduce(&self, queues: &Queues) {
        for cluster in queues.clusters() {
            let reply_topic: Arc<str> = format!("{cluster}_REPLY_TOPIC").into();
            if !self.membership.watch(&reply_topic) {
                continue;
            }
            let client = self.client.clone();
            self.client
                .spawn("introduction of a producer to a cluster", async move {
                    let deadline = client.request_deadline();
                    if let Err(error) = client.route(&reply_topic, deadline).await {
                        debug!(%reply_topic, %error, "no route for replies yet");
                    }
                    client.heartbeat_now().await;
                });
        }
    }
}
