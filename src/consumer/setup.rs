//! Making a consumer: the settings that every kind has, their limits, and how the member joins its group.
//!
//! Does not know: what is done with the messages, and the settings of that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::client::{Client, ClientBuilder, names};
use crate::config::{ClientConfig, check_time};
use crate::consumer::allocate::{AllocateStrategy, Average};
use crate::consumer::flow::TopicLimits;
use crate::consumer::group::{Group, Settings, Sink};
use crate::consumer::handle::Handle;
use crate::consumer::hooks::Hooks;
use crate::consumer::offset::{Offsets, of_model};
use crate::consumer::process_queue::Limits;
use crate::consumer::profile::{ConsumeType, MessageModel, Profile};
use crate::consumer::pull::PullSettings;
use crate::consumer::start_offset::ConsumeFromWhere;
use crate::consumer::subscription::{Subscriptions, retry_topic};
use crate::environment::Environment;
use crate::error::{Error, Result};

/// What errors call the operation that they come out of.
pub(super) const OPERATION: &str = "start a consumer";

/// The group that Java's client has when it was given none: nobody may share it.
const RESERVED_GROUP: &str = "DEFAULT_CONSUMER";

/// The strategies that brokers know.
const BROKER_STRATEGIES: [&str; 2] = ["AVG", "AVG_BY_CIRCLE"];

/// How long a broker holds a pull when there is nothing, and how long a pull may take in all.
const SUSPEND: Duration = Duration::from_secs(15);
const PULL: Duration = Duration::from_secs(30);

/// What the builders of all consumers set. The defaults are the Java client's.
#[derive(Debug)]
pub(super) struct Setup {
    group: Arc<str>,
    client: Option<Client>,
    own_client: ClientBuilder,
    configures_own_client: bool,
    pub(super) subscriptions: Vec<(String, String)>,
    pub(super) model: MessageModel,
    pub(super) from: ConsumeFromWhere,
    /// Java's default if it is not set.
    pub(super) strategy: Option<Arc<dyn AllocateStrategy>>,
    /// Whether brokers are asked to share the queues.
    pub(super) brokers_share: bool,
    /// Where the application keeps the offsets itself.
    pub(super) store: Option<Offsets>,
    /// Where a broadcasting consumer keeps its offsets.
    pub(super) offset_folder: Option<PathBuf>,
    pub(super) hooks: Hooks,
    pub(super) limits: Limits,
    /// How many messages one pull asks for.
    pub(super) pull_batch_size: usize,
    /// How many bytes it asks for.
    pub(super) pull_batch_bytes: usize,
    pub(super) pull_interval: Duration,
    pub(super) topic_limits: TopicLimits,
    pub(super) commit_interval: Duration,
}

impl Setup {
    pub(super) fn new(group: Arc<str>) -> Self {
        Self {
            group,
            client: None,
            own_client: Client::builder(),
            configures_own_client: false,
            subscriptions: Vec::new(),
            model: MessageModel::default(),
            from: ConsumeFromWhere::default(),
            strategy: None,
            brokers_share: false,
            store: None,
            offset_folder: None,
            hooks: Hooks::default(),
            limits: Limits {
                count: 1000,
                span: 2000,
                bytes: 100 * 1024 * 1024,
            },
            pull_batch_size: 32,
            pull_batch_bytes: 256 * 1024,
            pull_interval: Duration::ZERO,
            topic_limits: TopicLimits::default(),
            commit_interval: Duration::from_secs(5),
        }
    }

    pub(super) const fn group(&self) -> &Arc<str> {
        &self.group
    }

    pub(super) fn name_server(&mut self, addrs: &str) {
        self.change_own(|own| own.name_server(addrs));
    }

    pub(super) fn config(&mut self, config: ClientConfig) {
        self.change_own(|own| own.config(config));
    }

    pub(super) fn environment(&mut self, environment: Arc<dyn Environment>) {
        self.change_own(|own| own.environment(environment));
    }

    pub(super) fn client(&mut self, client: &Client) {
        self.client = Some(client.clone());
    }

    fn change_own(&mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) {
        self.own_client = change(self.own_client.clone());
        self.configures_own_client = true;
    }

    /// What can be told to be wrong before anything is connected.
    pub(super) fn check(&self) -> Result<()> {
        names::check_group(OPERATION, &self.group, RESERVED_GROUP)?;
        if self.subscriptions.is_empty() {
            return Err(invalid("nothing is subscribed"));
        }
        self.subscribed(0)?;
        if self.client.is_some() && self.configures_own_client {
            return Err(invalid("a shared client cannot be configured here"));
        }
        self.check_model()?;
        check_range("pull_batch_size", self.pull_batch_size, 1024)?;
        check_range(
            "pull_batch_size_in_bytes",
            self.pull_batch_bytes,
            i32::MAX as usize,
        )?;
        check_pause("pull_interval", self.pull_interval)?;
        let TopicLimits { count, bytes } = self.topic_limits;
        check_range("pull_threshold_for_topic", count.unwrap_or(1), 6_553_500)?;
        check_range(
            "pull_threshold_size_for_topic",
            bytes.unwrap_or(1),
            usize::MAX,
        )?;
        check_range("pull_threshold_for_queue", self.limits.count, 65_535)?;
        check_range(
            "pull_threshold_size_for_queue",
            self.limits.bytes,
            usize::MAX,
        )?;
        check_range("consume_max_span", self.limits.span as usize, 65_535)?;
        check_time(OPERATION, "commit_interval", self.commit_interval)
    }

    /// Whether nothing is set that would have no effect.
    fn check_model(&self) -> Result<()> {
        match self.model {
            MessageModel::Clustering if self.offset_folder.is_some() => Err(invalid(
                "local_offset_dir is set, but only a broadcasting consumer keeps its offsets in a file",
            )),
            MessageModel::Broadcasting if self.strategy.is_some() => Err(invalid(
                "allocate_strategy is set, but every member of a broadcasting group gets all queues",
            )),
            MessageModel::Broadcasting if self.brokers_share => Err(invalid(
                "server_side_assignment is set, but every member of a broadcasting group gets all queues",
            )),
            _ if let Some(strategy) = &self.strategy
                && self.brokers_share
                && !BROKER_STRATEGIES.contains(&strategy.name()) =>
            {
                Err(invalid(format!(
                    "brokers do not know the allocate_strategy {:?}; they know {}",
                    strategy.name(),
                    BROKER_STRATEGIES.join(" and ")
                )))
            }
            _ if self.store.is_some() && self.offset_folder.is_some() => Err(invalid(
                "offset_store and local_offset_dir are both set, but offsets are kept in one place only",
            )),
            _ => Ok(()),
        }
    }

    /// Joins the group. Waits until the member has its queues and knows where each begins, for some time.
    pub(super) async fn join(
        self,
        consume_type: ConsumeType,
        sink: Arc<dyn Sink>,
    ) -> Result<Handle> {
        let owns_client = self.client.is_none();
        let client = match self.client.clone() {
            Some(client) => client,
            None => self.own_client.clone().start().await?,
        };
        let mut subscribed = self.subscribed(client.now_millis())?;
        if consume_type == ConsumeType::Passively && self.model == MessageModel::Clustering {
            // Where failed messages come back.
            subscribed.set(
                OPERATION,
                &retry_topic(&self.group),
                "*",
                client.now_millis(),
            )?;
        }
        client.check_group(OPERATION, &self.group)?;
        subscribed
            .iter()
            .try_for_each(|one| client.check_topic(OPERATION, one.topic()))?;
        let deadline = client.request_deadline();
        // An error names the first; the retry topic stands at the beginning of the list.
        let topics = subscribed
            .iter()
            .rev()
            .map(|one| client.route(one.topic(), deadline));
        try_join_all(topics).await.map_err(|error| {
            error
                .during(OPERATION)
                .target(format!("group {}", self.group))
        })?;

        let profile = Profile::new(
            Arc::clone(&self.group),
            consume_type,
            self.model,
            self.from,
            subscribed,
        );
        let profile = Arc::new(profile);
        let store = match &self.store {
            Some(own) => own.clone(),
            None => of_model(&client, &self.group, self.model, self.offset_folder.clone()).await?,
        };
        let registration = client.register(Arc::clone(&profile) as Arc<_>)?;
        let member = Group::new(
            client.clone(),
            self.settings(),
            Arc::clone(&profile),
            store,
            sink,
        );
        let handle = Handle::start(client, owns_client, profile, registration, member);
        handle.settled().await;
        Ok(handle)
    }

    fn subscribed(&self, now_millis: i64) -> Result<Subscriptions> {
        let mut subscriptions = Subscriptions::default();
        for (topic, expression) in &self.subscriptions {
            subscriptions.set(OPERATION, topic, expression, now_millis)?;
        }
        Ok(subscriptions)
    }

    fn settings(self) -> Settings {
        Settings {
            from: self.from,
            strategy: self.strategy.unwrap_or_else(|| Arc::new(Average)),
            brokers_share: self.brokers_share,
            hooks: Arc::new(self.hooks),
            limits: self.limits,
            topic_limits: self.topic_limits,
            pulls: PullSettings {
                group: self.group,
                max_messages: self.pull_batch_size as i32,
                max_bytes: self.pull_batch_bytes as i32,
                interval: self.pull_interval,
                suspend: SUSPEND,
                timeout: PULL,
            },
            commit_interval: self.commit_interval,
        }
    }
}

/// The error of a setting that breaks a rule.
pub(super) fn invalid(detail: impl Into<String>) -> Error {
    Error::invalid(OPERATION, detail)
}

/// A time that may be zero.
pub(super) fn check_pause(name: &'static str, pause: Duration) -> Result<()> {
    check_time(OPERATION, name, pause.max(Duration::from_nanos(1)))
}

pub(super) fn check_range(name: &str, number: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&number) {
        return Ok(());
    }
    Err(invalid(format!(
        "{name} is {number}, allowed is 1 to {max}"
    )))
}
