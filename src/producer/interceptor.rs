//! What applications hang around their sends: for tracing, metering and policy.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::error::{Error, ErrorKind, Result, panic_text};
use crate::message::Message;
use crate::producer::OPERATION;
use crate::producer::result::SendResult;

/// Is told of every message before it is sent, and of what became of it. Given to a producer with
/// [`DefaultProducerBuilder::interceptor`](crate::DefaultProducerBuilder::interceptor).
///
/// Every way of sending counts, and each message of a batch; a message counts once, however often it is tried. The methods are called
/// on the task that sends, or on the producer's own, and must not block. Several interceptors are called in the order in which they were
/// given, and afterwards in reverse. One that panics before a send fails that send; one that panics afterwards is only logged.
///
/// A send that is dropped is neither stored nor failed: nobody is told of its end.
///
/// ```
/// use rocketmq_sdk::{Intercepted, OutgoingMessage, SendInterceptor, SendResult};
///
/// struct Tracing;
///
/// impl SendInterceptor for Tracing {
///     fn before(&self, message: &mut OutgoingMessage<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         if message.message().property("tenant").is_none() {
///             return Err("no tenant".into()); // the send fails with this
///         }
///         message.set_property("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
///         Ok(())
///     }
///
///     fn stored(&self, send: &Intercepted<'_>, result: Option<&SendResult>) {
///         println!("{} took {:?}: {:?}", send.message().topic(), send.elapsed(), result.map(SendResult::msg_id));
///     }
/// }
///
/// let builder = rocketmq_sdk::DefaultProducer::builder("orders").interceptor(Tracing);
/// # let _ = builder;
/// ```
pub trait SendInterceptor: Send + Sync + 'static {
    /// A message is about to be sent. It is not checked yet. Properties can be added, and whoever is against the send says why.
    ///
    /// # Errors
    /// The send fails with this as the cause, as an error of the kind [`Application`](ErrorKind::Application), and nothing is sent.
    fn before(
        &self,
        message: &mut OutgoingMessage<'_>,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let _ = message;
        Ok(())
    }

    /// A message is stored. There is no result of a oneway message, which was only written, nor of a request whose reply came before the
    /// broker's answer.
    fn stored(&self, send: &Intercepted<'_>, result: Option<&SendResult>) {
        let _ = (send, result);
    }

    /// A message could not be sent; [`Error::delivery`] says whether it may be stored all the same.
    fn failed(&self, send: &Intercepted<'_>, error: &Error) {
        let _ = (send, error);
    }
}

/// A message that is about to be sent.
pub struct OutgoingMessage<'a> {
    message: &'a mut Message,
    group: &'a str,
}

impl OutgoingMessage<'_> {
    /// The message as it stands.
    pub const fn message(&self) -> &Message {
        self.message
    }

    /// The producer's group.
    pub const fn group(&self) -> &str {
        self.group
    }

    /// Sets a property: see [`MessageBuilder::property`](crate::MessageBuilder::property) for what it may be. One that breaks the
    /// rules fails the send.
    pub fn set_property(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        self.message
            .set_user_property(name.as_ref(), value.as_ref());
    }
}

/// A send that came to its end.
pub struct Intercepted<'a> {
    message: &'a Message,
    group: &'a str,
    elapsed: Duration,
}

impl Intercepted<'_> {
    /// The message as it was after all interceptors had seen it. Its body is the application's, compressed or not.
    pub const fn message(&self) -> &Message {
        self.message
    }

    /// The producer's group.
    pub const fn group(&self) -> &str {
        self.group
    }

    /// How long the send took, all attempts together.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// The interceptors of one producer.
#[derive(Clone, Default)]
pub(super) struct Interceptors(Vec<Arc<dyn SendInterceptor>>);

/// A send that interceptors want to hear the end of.
pub(super) struct Watched {
    interceptors: Interceptors,
    /// How many of them have been told of it.
    told: usize,
    group: Arc<str>,
    message: Message,
    began: Instant,
}

impl Interceptors {
    pub(super) fn add(&mut self, interceptor: Arc<dyn SendInterceptor>) {
        self.0.push(interceptor);
    }

    /// Tells them of a message that is about to be sent. `None` when there is nobody to tell; else with the error of the one that is
    /// against it.
    pub(super) fn before(
        &self,
        group: &Arc<str>,
        message: &mut Message,
    ) -> Option<(Watched, Result<()>)> {
        if self.0.is_empty() {
            return None;
        }
        let (mut told, mut outcome) = (0, Ok(()));
        for interceptor in &self.0 {
            outcome = ask(&**interceptor, group, message);
            if outcome.is_err() {
                break;
            }
            told += 1;
        }
        let watched = Watched {
            interceptors: self.clone(),
            told,
            group: Arc::clone(group),
            message: message.clone(),
            began: Instant::now(),
        };
        Some((watched, outcome))
    }
}

fn ask(interceptor: &dyn SendInterceptor, group: &str, message: &mut Message) -> Result<()> {
    let topic = Arc::clone(message.shared_topic());
    let against = |detail: String| {
        Error::new(ErrorKind::Application, OPERATION)
            .topic_of(&topic)
            .detail(detail)
    };
    let mut outgoing = OutgoingMessage { message, group };
    let asked = catch_unwind(AssertUnwindSafe(|| interceptor.before(&mut outgoing)));
    match asked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(against(format!("an interceptor is against it: {why}"))),
        Err(panic) => {
            let text = panic_text(panic);
            Err(against(format!("an interceptor panicked: {text}")))
        }
    }
}

impl Watched {
    /// Tells those who were told before what became of the message.
    pub(super) fn over(self, outcome: Result<Option<&SendResult>, &Error>) {
        let send = Intercepted {
            message: &self.message,
            group: &self.group,
            elapsed: self.began.elapsed(),
        };
        for interceptor in self.interceptors.0[..self.told].iter().rev() {
            let told = catch_unwind(AssertUnwindSafe(|| match outcome {
                Ok(result) => interceptor.stored(&send, result),
                Err(error) => interceptor.failed(&send, error),
            }));
            if let Err(panic) = told {
                let (topic, panic) = (self.message.topic(), panic_text(panic));
                error!(%topic, panic, "an interceptor panicked after a send");
            }
        }
    }
}

impl fmt::Debug for OutgoingMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutgoingMessage")
            .field(self.message)
            .finish()
    }
}

impl fmt::Debug for Intercepted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intercepted").field(self.message).finish()
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptors", self.0.len())
    }
}
