//! Making a producer of transactions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::config::ClientConfig;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::message::MessageExt;
use crate::producer::DefaultProducerBuilder;
use crate::producer::builder::OPERATION;
use crate::producer::transaction::check::{Checking, Listener};
use crate::producer::transaction::{OpenTransactions, TransactionProducer, TransactionResolution};

/// Makes a [`TransactionProducer`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct TransactionProducerBuilder {
    producer: DefaultProducerBuilder,
    listener: Option<Listener>,
    most: usize,
    timeout: Duration,
}

impl TransactionProducerBuilder {
    pub(super) fn new(group: Arc<str>) -> Self {
        Self {
            producer: DefaultProducerBuilder::new(group),
            listener: None,
            most: 16,
            timeout: Duration::from_secs(60),
        }
    }

    /// See [`DefaultProducerBuilder::name_server`].
    pub fn name_server(self, addrs: impl AsRef<str>) -> Self {
        self.producer(|producer| producer.name_server(addrs))
    }

    /// See [`DefaultProducerBuilder::config`].
    pub fn config(self, config: ClientConfig) -> Self {
        self.producer(|producer| producer.config(config))
    }

    /// See [`DefaultProducerBuilder::environment`].
    pub fn environment(self, environment: Arc<dyn Environment>) -> Self {
        self.producer(|producer| producer.environment(environment))
    }

    /// See [`DefaultProducerBuilder::client`].
    pub fn client(self, client: &Client) -> Self {
        self.producer(|producer| producer.client(client))
    }

    /// Topics that the group sends to. Their brokers know the producer from its start, and ask it about transactions of others that
    /// are gone, also before it has sent anything. A producer that names none is asked only after it has sent something. See
    /// [`DefaultProducerBuilder::topics`].
    pub fn topics<T: Into<Arc<str>>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        self.producer(|producer| producer.topics(topics))
    }

    /// Everything else that can be set for a producer.
    ///
    /// ```
    /// # use rocketmq_sdk::TransactionProducer;
    /// # use std::time::Duration;
    /// let builder = TransactionProducer::builder("payments")
    ///     .producer(|producer| producer.send_timeout(Duration::from_secs(5)).retries(1));
    /// # let _ = builder;
    /// ```
    pub fn producer(
        mut self,
        change: impl FnOnce(DefaultProducerBuilder) -> DefaultProducerBuilder,
    ) -> Self {
        self.producer = change(self.producer);
        self
    }

    /// Answers the brokers' questions: what became of the transaction that this message belongs to? A message's
    /// [`msg_id`](MessageExt::msg_id) is the transaction's id. Must be given.
    ///
    /// Questions come for transactions of every producer of the group, as a rule of one that is gone; the first comes 6 to 36 s after
    /// the message, unless the broker or the [message](crate::MessageBuilder::check_immunity) was told otherwise. The closure returns
    /// a [`TransactionState`](crate::TransactionState), or a `Result` of one. When it fails or panics, the state is unknown, and the
    /// broker asks again. Say [`Rollback`](crate::TransactionState::Rollback) only where the transaction cannot take effect any more:
    /// it may be running elsewhere.
    ///
    /// Each question runs on a task of its own.
    pub fn check<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(MessageExt) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<TransactionResolution>,
    {
        self.listener = Some(Listener::new(check));
        self
    }

    /// As [`check`](Self::check), with a state that is cloned for each question.
    pub fn check_with<S, F, Fut>(self, state: S, check: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S, MessageExt) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<TransactionResolution>,
    {
        self.check(move |message| check(state.clone(), message))
    }

    /// How many questions may be answered at a time. Default 16. Up to 2,000 more wait; what comes beyond that is dropped, and the
    /// broker asks again.
    pub fn max_concurrent_checks(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// How long a [`check`](Self::check) may take before its future is dropped and the state is unknown. Default 60 s.
    pub fn check_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the producer. See [`DefaultProducerBuilder::start`].
    ///
    /// # Errors
    /// Those of [`DefaultProducerBuilder::start`]. [`InvalidInput`](crate::ErrorKind::InvalidInput) also when there is no
    /// [`check`](Self::check), or a limit is zero.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(self) -> Result<TransactionProducer> {
        let Self {
            producer,
            listener,
            most,
            timeout,
        } = self;
        let refused = |detail: &str| {
            Err(Error::invalid(OPERATION, detail).target(format!("group {}", producer.group())))
        };
        let Some(listener) = listener else {
            return refused("no check is given, to answer what became of a transaction");
        };
        if most == 0 {
            return refused("max_concurrent_checks is zero");
        }
        if timeout.is_zero() {
            return refused("check_timeout is zero");
        }
        let open = Arc::<OpenTransactions>::default();
        let checking = Checking {
            listener,
            most,
            timeout,
            open: Arc::clone(&open),
        };
        let producer = producer.start_with(Some(checking)).await?;
        Ok(TransactionProducer { producer, open })
    }
}

impl fmt::Debug for TransactionProducerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionProducerBuilder")
            .field("producer", &self.producer)
            .field("has_check", &self.listener.is_some())
            .field("max_concurrent_checks", &self.most)
            .field("check_timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
