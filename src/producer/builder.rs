//! Making a producer.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::client::{Client, ClientBuilder};
use crate::config::{ClientConfig, DEFAULT_TOPIC};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::producer::compression::{Compression, Packing};
use crate::producer::faults::FaultTolerance;
use crate::producer::interceptor::{Interceptors, SendInterceptor};
use crate::producer::result::WhenNotOk;
use crate::producer::transaction::Checking;
use crate::producer::{DefaultProducer, Settings, room, validate};
use crate::protocol::frame::MAX_FRAME;

pub(super) const OPERATION: &str = "start a producer";

/// What a frame holds beside the body: a header with as many properties as a broker takes, generously.
const FRAME_RESERVE: usize = 64 * 1024;

/// Makes a [`DefaultProducer`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct DefaultProducerBuilder {
    settings: Settings,
    topics: Vec<Arc<str>>,
    own: ClientBuilder,
    own_is_set: bool,
    shared: Option<Client>,
}

impl DefaultProducerBuilder {
    pub(super) fn new(group: Arc<str>) -> Self {
        Self {
            settings: Settings {
                group,
                send_timeout: Duration::from_secs(3),
                retries: 2,
                when_not_ok: WhenNotOk::Return,
                fault_tolerance: FaultTolerance::Off,
                interceptors: Interceptors::default(),
                max_message_size: 4 * 1024 * 1024,
                packing: Packing::default(),
                auto_batch: false,
                max_in_flight: 1024,
                max_in_flight_bytes: 100 * 1024 * 1024,
                default_topic: DEFAULT_TOPIC.into(),
                default_topic_queues: 4,
            },
            topics: Vec::new(),
            own: Client::builder(),
            own_is_set: false,
            shared: None,
        }
    }

    /// The name servers, `host:port`, several separated by `;`. Default: the environment variable `NAMESRV_ADDR`. See
    /// [`ClientConfig::name_server`].
    pub fn name_server(self, addrs: impl AsRef<str>) -> Self {
        self.with_own(|own| own.name_server(addrs))
    }

    /// Replaces the whole configuration of the connection to the cluster. Default: [`ClientConfig::from_env`].
    pub fn config(self, config: ClientConfig) -> Self {
        self.with_own(|own| own.config(config))
    }

    /// Where connections and the time come from. Default: [`TcpEnvironment`](crate::environment::TcpEnvironment).
    pub fn environment(self, environment: Arc<dyn Environment>) -> Self {
        self.with_own(|own| own.environment(environment))
    }

    /// Shares a client with other producers and consumers. By default the producer has one of its own, which ends with it.
    pub fn client(mut self, client: &Client) -> Self {
        self.shared = Some(client.clone());
        self
    }

    /// How long a send may take, all attempts together. Default 3 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.settings.send_timeout = timeout;
        self
    }

    /// How often a send that failed is tried again, within its timeout. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Tries another broker, if there is one, when a broker has stored a message and says that it is less safe than its settings ask
    /// for: a [`SendStatus`](crate::SendStatus) other than `SEND_OK`. Such an attempt counts among the
    /// [`retries`](Self::retries), and consumers may get the message from both brokers. Default: the status is returned.
    ///
    /// When no broker does better, the send resolves to what the first one said.
    pub fn retry_another_broker_when_not_store_ok(mut self) -> Self {
        self.settings.when_not_ok = WhenNotOk::TryAnotherBroker;
        self
    }

    /// Whether brokers that were slow or failed are left alone for a while. Default [`FaultTolerance::Off`].
    pub fn fault_tolerance(mut self, tolerance: FaultTolerance) -> Self {
        self.settings.fault_tolerance = tolerance;
        self
    }

    /// Has an interceptor told of every message, before it is sent and afterwards: see [`SendInterceptor`]. There may be several.
    pub fn interceptor(mut self, interceptor: impl SendInterceptor) -> Self {
        self.settings.interceptors.add(Arc::new(interceptor));
        self
    }

    /// The largest body, in bytes and before compression. Default 4 MiB, as in brokers; they have to be told too. At most a
    /// little under 16 MiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// How bodies are compressed. Default [`Compression::Zlib`], or [`Compression::Off`] without the feature `zlib`. Batches are never
    /// compressed, as in Java.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.packing.compression = compression;
        self
    }

    /// How much work compression may be: 0 to 9 for zlib, 1 to 22 for Zstandard; it changes nothing for LZ4. Default 5, as in Java.
    pub fn compression_level(mut self, level: u32) -> Self {
        self.settings.packing.level = level;
        self
    }

    /// From which size on bodies are compressed, in bytes. Default 4,096. One that compression does not make smaller is sent as it is.
    pub fn compress_over(mut self, bytes: usize) -> Self {
        self.settings.packing.over = bytes;
        self
    }

    /// Sends messages that come while another one is on its way together, in one request. Default: each in a request of its own.
    ///
    /// A message that comes alone goes at once: none waits for others to come. Each has its own result, its own timeout, and its own id.
    /// The messages for one queue are a lane, of which one request is on its way at a time. So messages with the same
    /// [key](crate::SendFuture::sharding_key), or for the same queue, are stored in the order in which they were sent, also when nobody
    /// waits for the one before; as long as the topic's queues stay the same. The messages of a topic that may go to any queue are
    /// another lane: what comes in it waits for an answer to what is on its way for at most 200 ms.
    ///
    /// Delayed messages, half messages and oneway messages go by themselves, and so does one that is
    /// [large enough to be compressed](Self::compress_over), in its turn. What a batch is refused for is the error of each of its messages.
    pub fn auto_batch(mut self) -> Self {
        self.settings.auto_batch = true;
        self
    }

    /// How many messages may be in flight at once: sent, or about to be, and without an outcome. Default 1,024. Every way of sending
    /// counts; a batch counts as its messages.
    ///
    /// Over that, a send, a [`submit`](DefaultProducer::submit) and a oneway send wait for room within their timeout, in turn, and fail
    /// with [`Overloaded`](crate::ErrorKind::Overloaded) when none comes; a send with a callback fails at once. One batch that is
    /// larger may be in flight alone.
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.settings.max_in_flight = messages;
        self
    }

    /// How many bytes of bodies and properties may be in flight at once: see [`max_in_flight`](Self::max_in_flight). Default 100 MiB.
    /// One message that is larger may be in flight alone.
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_in_flight_bytes = bytes;
        self
    }

    /// The topic whose brokers make a topic that does not exist, from its configuration. Default `TBW102`.
    pub fn default_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.settings.default_topic = topic.into();
        self
    }

    /// How many queues such a topic gets on each broker, if the default topic has as many. Default 4.
    pub fn default_topic_queues(mut self, queues: u16) -> Self {
        self.settings.default_topic_queues = queues.into();
        self
    }

    /// Topics that will be sent to. Their routes are looked up by [`start`](Self::start), and their brokers know the producer
    /// from then on; those of other topics hear of it when they are connected to, or with the next heartbeat. A topic need
    /// not exist.
    pub fn topics<T: Into<Arc<str>>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Starts the producer. Where topics were named, it asks a name server for their routes and makes itself known to their
    /// brokers; else it connects when the first message is sent.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the group or a setting breaks a rule, no name server is set, or the
    /// shared client has a producer of this group already. [`NameServer`](crate::ErrorKind::NameServer),
    /// [`Timeout`](crate::ErrorKind::Timeout): topics were named, and no name server answered within the client's request timeout.
    /// [`Closed`](crate::ErrorKind::Closed): the shared client has been shut down.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(self) -> Result<DefaultProducer> {
        self.start_with(None).await
    }

    /// Starts it, with an answer to questions about transactions where that is given.
    pub(super) async fn start_with(self, checking: Option<Checking>) -> Result<DefaultProducer> {
        self.check()?;
        let (client, owns_client) = match self.shared {
            Some(client) => (client, false),
            None => (self.own.start().await?, true),
        };
        client.check_group(OPERATION, &self.settings.group)?;
        self.topics
            .iter()
            .try_for_each(|topic| client.check_topic(OPERATION, topic))?;
        let deadline = client.request_deadline();
        try_join_all(
            self.topics
                .iter()
                .map(|topic| client.route(topic, deadline)),
        )
        .await
        .map_err(|error| error.target(format!("group {}", self.settings.group)))?;
        let known_at_once = !self.topics.is_empty();
        let producer = {
            let (settings, topics) = (self.settings, self.topics);
            DefaultProducer::open(client, owns_client, settings, topics, checking)
        }?;
        if known_at_once {
            producer.shared.client.heartbeat_now().await;
        }
        Ok(producer)
    }

    pub(super) fn group(&self) -> &str {
        &self.settings.group
    }

    fn check(&self) -> Result<()> {
        let settings = &self.settings;
        validate::group(OPERATION, &settings.group)?;
        validate::topic(OPERATION, &settings.default_topic)?;
        self.topics
            .iter()
            .try_for_each(|topic| validate::topic(OPERATION, topic))?;
        let most = MAX_FRAME - FRAME_RESERVE;
        let detail = if let Err(wrong) = settings.packing.check() {
            wrong
        } else if settings.send_timeout.is_zero() {
            "send_timeout is zero".to_owned()
        } else if !(1..=most).contains(&settings.max_message_size) {
            format!(
                "max_message_size is {}; allowed is 1 to {most}",
                settings.max_message_size
            )
        } else if !(1..=room::MOST_MESSAGES).contains(&settings.max_in_flight) {
            format!(
                "max_in_flight is {}; allowed is 1 to {}",
                settings.max_in_flight,
                room::MOST_MESSAGES
            )
        } else if !(1..=room::MOST_BYTES).contains(&settings.max_in_flight_bytes) {
            format!(
                "max_in_flight_bytes is {}; allowed is 1 to {}",
                settings.max_in_flight_bytes,
                room::MOST_BYTES
            )
        } else if settings.default_topic_queues == 0 {
            "default_topic_queues is zero".to_owned()
        } else if self.shared.is_some() && self.own_is_set {
            "a shared client is given, and name servers, a configuration or an environment for an own one".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::invalid(OPERATION, detail).target(format!("group {}", settings.group)))
    }

    fn with_own(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.own = change(self.own);
        self.own_is_set = true;
        self
    }
}
