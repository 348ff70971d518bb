//! What a story runs on.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use rocketmq_sdk::environment::{Environment, TcpEnvironment};
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Head, Serialization};
use rocketmq_sdk::protocol::fields::FieldWriter;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::{DefaultProducer, DefaultProducerBuilder, PushConsumer, PushConsumerBuilder};
use rocketmq_testkit::{Cluster, ClusterBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod servers;

use servers::OwnApache;
pub use servers::{run, script};

/// What lets a broker take messages back; 4.9 does not know it.
const RECALL: &str = "recallMessageEnable=true";

/// How long a story waits for what it expects, before it fails. Long enough for a redelivery by a real broker, and for one that
/// does not hear of a member's end: it lists that one for 130 s, and the others look again within 20 s.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Target {
    kind: Kind,
    /// Makes the names of this story's topics and groups its own.
    suffix: String,
}

enum Kind {
    Testkit(Cluster),
    /// The testkit without sockets, where tokio's time may be paused.
    Memory(Cluster),
    Apache {
        name_server: String,
        own: Option<Arc<OwnApache>>,
    },
}

impl Target {
    /// A target that the story must leave as it is.
    pub async fn shared() -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(name_server) => Self::of(Kind::Apache {
                name_server,
                own: None,
            }),
            Err(_) => Self::testkit().await,
        }
    }

    /// A target whose servers the story may stop and start.
    pub async fn own() -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(_) => Self::own_apache(&[]).await,
            Err(_) => Self::testkit().await,
        }
    }

    /// A target of its own with two brokers, which make no topic by themselves.
    pub async fn own_strict_pair() -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(_) => {
                let strict = "autoCreateTopicEnable=false";
                Self::own_apache(&["--brokers", "2", "--set", strict]).await
            }
            Err(_) => Self::of_cluster(Cluster::builder().brokers(2).auto_create(false)).await,
        }
    }

    /// The same servers for another story: for one after the other, where they may be stopped. They end with the last handle. None of
    /// the testkit, which is started anew at no cost.
    pub fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Testkit(_) | Kind::Memory(_) => None,
            Kind::Apache { name_server, own } => Some(Self::of(Kind::Apache {
                name_server: name_server.clone(),
                own: own.clone(),
            })),
        }
    }

    /// A target of its own with so many brokers, with sockets also on the testkit, which the story sets up otherwise.
    pub async fn own_of(
        brokers: usize,
        set_up: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
    ) -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(_) => Self::own_apache(&["--brokers", &brokers.to_string()]).await,
            Err(_) => Self::of_cluster(set_up(Cluster::builder().brokers(brokers))).await,
        }
    }

    /// A cluster in memory with these topics, for a story with tokio's time paused. None on a real broker, whose time cannot be
    /// paused: the story is skipped then, for this reason.
    pub async fn paused(reason: &str, topics: &[(&str, i32)]) -> Option<Cluster> {
        if env::var("ROCKETMQ_TEST_NAMESRV").is_ok() {
            skipped(reason);
            return None;
        }
        let cluster = Cluster::builder().in_memory();
        let cluster = topics.iter().fold(cluster, |cluster, (name, queues)| {
            cluster.topic(*name, *queues)
        });
        Some(cluster.start().await.expect("start a cluster"))
    }

    /// The same as [`shared`](Self::shared) for a story that runs with tokio's time paused: the testkit in memory. On a real broker
    /// time goes on.
    pub async fn shared_paused() -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(_) => {
                tokio::time::resume();
                Self::shared().await
            }
            Err(_) => Self::memory(Cluster::builder()).await,
        }
    }

    /// A target of its own with so many brokers, which the story may stop and start. For a story that runs with tokio's time paused.
    pub async fn own_paused(brokers: usize) -> Self {
        match env::var("ROCKETMQ_TEST_NAMESRV") {
            Ok(_) => {
                tokio::time::resume();
                Self::own_apache(&["--brokers", &brokers.to_string()]).await
            }
            Err(_) => Self::memory(Cluster::builder().brokers(brokers)).await,
        }
    }

    /// The testkit in memory, for what no real broker can do.
    pub async fn memory(builder: ClusterBuilder) -> Self {
        let cluster = builder.in_memory().start().await;
        Self::of(Kind::Memory(cluster.expect("start a cluster")))
    }

    async fn testkit() -> Self {
        Self::of_cluster(Cluster::builder()).await
    }

    async fn of_cluster(builder: ClusterBuilder) -> Self {
        // Waits turn the brokers' clock much faster than clients send heartbeats, and none of them is to be taken for dead.
        let cluster = builder.recall(true).member_expiry(Duration::MAX);
        let cluster = cluster.start().await;
        Self::of(Kind::Testkit(cluster.expect("start a cluster")))
    }

    async fn own_apache(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("make a folder");
        let mut up = script("up", dir.path());
        up.args(["--free-ports", "--set", RECALL]).args(args);
        if let Ok(version) = env::var("ROCKETMQ_TEST_VERSION") {
            up.args(["--version", &version]);
        }
        let printed = run(up).await;
        let name_server = printed
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("NAMESRV_ADDR="))
            .expect("an address");
        Self::of(Kind::Apache {
            name_server: name_server.to_owned(),
            own: Some(Arc::new(OwnApache { dir })),
        })
    }

    fn of(kind: Kind) -> Self {
        static STORIES: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        let suffix = format!("{now}_{}", STORIES.fetch_add(1, Ordering::Relaxed));
        Self { kind, suffix }
    }

    pub fn name_server(&self) -> &str {
        match &self.kind {
            Kind::Testkit(cluster) | Kind::Memory(cluster) => cluster.name_server_addr(),
            Kind::Apache { name_server, .. } => name_server,
        }
    }

    /// The name server that stories ask themselves: the last one, where there are several.
    fn asked_name_server(&self) -> &str {
        let all = self.name_server();
        all.rsplit(';').next().unwrap_or(all)
    }

    /// The cluster inside this process, if that is the target.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.kind {
            Kind::Testkit(cluster) | Kind::Memory(cluster) => Some(cluster),
            Kind::Apache { .. } => None,
        }
    }

    /// Whether time can be turned here, and faults can be asked for.
    pub fn is_testkit(&self) -> bool {
        self.cluster().is_some()
    }

    /// Whether tokio's time may be paused here, so that a story can say how long something took.
    pub fn is_paused(&self) -> bool {
        matches!(self.kind, Kind::Memory(_))
    }

    /// How clients reach this target.
    pub fn environment(&self) -> Arc<dyn Environment> {
        match &self.kind {
            Kind::Memory(cluster) => cluster.environment(),
            Kind::Testkit(_) | Kind::Apache { .. } => Arc::new(TcpEnvironment),
        }
    }

    /// Whether the broker is a real one of the 4.9 line.
    pub fn is_apache_4(&self) -> bool {
        !self.is_testkit()
            && env::var("ROCKETMQ_TEST_VERSION").is_ok_and(|version| version.starts_with('4'))
    }

    /// The release whose Java client acts beside ours: the broker's; on the testkit the one that is asked for.
    pub fn java_version(&self) -> Option<String> {
        let (name, default) = if self.is_testkit() {
            ("ROCKETMQ_TEST_JAVA", None)
        } else {
            ("ROCKETMQ_TEST_VERSION", Some("5.4.0".to_owned()))
        };
        env::var(name).ok().or(default)
    }

    /// Whether that is one of version 4, which knows nothing of times, recalls and codecs.
    pub fn is_java_4(&self) -> bool {
        self.java_version()
            .is_some_and(|version| version.starts_with('4'))
    }

    /// Says why this target cannot do a story, which then returns. The table of results is made of these lines.
    pub fn skip(&self, reason: &str) {
        skipped(reason);
    }

    /// A name that no other story has.
    pub fn name(&self, base: &str) -> String {
        format!("{base}_{}", self.suffix)
    }

    /// A new topic with this many queues on every broker.
    pub async fn topic(&self, base: &str, queues: i32) -> String {
        let topic = self.name(base);
        for addr in self.brokers().await {
            self.put_topic(&addr, &topic, queues).await;
        }
        self.wait_for_route(&topic).await;
        topic
    }

    /// Makes a topic on one broker, or changes its number of queues.
    pub async fn put_topic(&self, addr: &str, topic: &str, queues: i32) {
        let fields = topic_fields(topic, queues);
        let put = self.ask(addr, RequestCode::UPDATE_AND_CREATE_TOPIC, fields);
        check(put.await);
    }

    /// Waits until a name server names this many queues, to whom knows nothing yet: it may hear of them a little later than we do.
    pub async fn wait_for_queues(&self, topic: &str, count: usize) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let fresh = self.producer().await;
            let queues = fresh.queues(topic).await;
            fresh.shutdown().await.expect("shut a producer down");
            if queues.as_ref().is_ok_and(|queues| queues.len() == count) {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "{queues:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A producer of a group of its own.
    pub async fn producer(&self) -> DefaultProducer {
        let builder = self.producer_of(&self.name("producers"));
        builder.start().await.expect("start a producer")
    }

    /// A builder of a producer, with the target's name server.
    pub fn producer_of(&self, group: &str) -> DefaultProducerBuilder {
        DefaultProducer::builder(group)
            .name_server(self.name_server())
            .environment(self.environment())
    }

    /// A builder for a member of a group, with the target's name server.
    pub fn consumer(&self, group: &str) -> PushConsumerBuilder {
        PushConsumer::builder(group)
            .name_server(self.name_server())
            .environment(self.environment())
    }

    /// Lets time pass for the broker, where that can be done; a real one takes its own.
    pub fn turn(&self, by: Duration) {
        if let Some(cluster) = self.cluster() {
            cluster.clock().advance(by);
        }
    }

    /// The addresses of all masters.
    pub async fn brokers(&self) -> Vec<String> {
        self.masters().await.into_values().collect()
    }

    /// The addresses of all masters, by their brokers' names.
    pub async fn masters(&self) -> BTreeMap<String, String> {
        let answer = self
            .ask(
                self.asked_name_server(),
                RequestCode::GET_BROKER_CLUSTER_INFO,
                |_| {},
            )
            .await;
        let text = rocketmq_sdk::protocol::java_json::to_standard(&answer.body)
            .expect("JSON")
            .into_owned();
        let info: serde_json::Value = serde_json::from_slice(&text).expect("cluster information");
        let table = info["brokerAddrTable"].as_object().expect("brokers");
        let masters = table.iter().filter_map(|(name, broker)| {
            let addr = broker["brokerAddrs"]["0"].as_str()?;
            Some((name.clone(), addr.to_owned()))
        });
        masters.collect()
    }

    /// One request on a connection of its own, without the client.
    pub async fn ask(
        &self,
        addr: &str,
        code: RequestCode,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Command {
        ask_over(&*self.environment(), addr, code, fields, b"").await
    }

    /// Somebody becomes a member of a group at all brokers, and is gone at once: they tell the others both times.
    pub async fn pass_through(&self, client_id: &str, group: &str, topic: &str) {
        let subscription = json!({"topic": topic, "subString": "*", "subVersion": 1});
        let member = json!({
            "groupName": group,
            "consumeType": "CONSUME_PASSIVELY",
            "messageModel": "CLUSTERING",
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
            "subscriptionDataSet": [subscription],
        });
        let body =
            json!({"clientID": client_id, "producerDataSet": [], "consumerDataSet": [member]});
        for addr in self.brokers().await {
            let (environment, body) = (self.environment(), body.to_string());
            let asking = ask_over(
                &*environment,
                &addr,
                RequestCode::HEART_BEAT,
                |_| {},
                body.as_bytes(),
            );
            check(asking.await);
        }
    }

    async fn wait_for_route(&self, topic: &str) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self
                .ask(
                    self.asked_name_server(),
                    RequestCode::GET_ROUTEINFO_BY_TOPIC,
                    |fields| fields.put("topic", topic),
                )
                .await;
            if answer.response_code() == ResponseCode::SUCCESS {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "no route of {topic}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn skipped(reason: &str) {
    println!("skipped: {reason}");
}

fn topic_fields(topic: &str, queues: i32) -> impl FnOnce(&mut FieldWriter<'_>) {
    move |fields| {
        fields.put("topic", topic);
        fields.put("defaultTopic", "TBW102");
        fields.put_number("readQueueNums", queues.into());
        fields.put_number("writeQueueNums", queues.into());
        fields.put_number("perm", 6);
        fields.put("topicFilterType", "SINGLE_TAG");
        fields.put_number("topicSysFlag", 0);
        fields.put("order", "false");
    }
}

fn check(answer: Command) {
    let code = answer.response_code();
    assert_eq!(code, ResponseCode::SUCCESS, "{:?}", answer.remark);
}

/// One request on a connection of its own, over TCP and without the client.
pub async fn ask(
    addr: &str,
    code: RequestCode,
    fields: impl FnOnce(&mut FieldWriter<'_>),
) -> Command {
    ask_over(&TcpEnvironment, addr, code, fields, b"").await
}

async fn ask_over(
    environment: &dyn Environment,
    addr: &str,
    code: RequestCode,
    fields: impl FnOnce(&mut FieldWriter<'_>),
    body: &[u8],
) -> Command {
    let mut stream = environment.connect(addr).await.expect("connect");
    let mut buffer = BytesMut::new();
    let head = Head::request(code, 1);
    frame::encode_with(
        &mut buffer,
        Serialization::Json,
        &head,
        None,
        body.len(),
        fields,
    )
    .expect("a small frame");
    buffer.extend_from_slice(body);
    stream.write_all(&buffer).await.expect("write");
    buffer.clear();
    loop {
        while let Some(frame) = frame::decode(&mut buffer).expect("a frame") {
            // A broker may ask something meanwhile.
            if frame.head.is_response() {
                return frame;
            }
        }
        assert_ne!(
            stream.read_buf(&mut buffer).await.expect("read"),
            0,
            "{addr} closed the connection"
        );
    }
}

/// Waits until a topic's queues hold exactly this many messages: a broker shows a message in its queue shortly after it has
/// acknowledged it.
pub async fn wait_until_stored(target: &Target, topic: &str, queues: i32, count: i64) {
    let stored = stored_at_least(target, topic, queues, count).await;
    assert_eq!(stored, count, "messages in {topic}");
}

/// Waits until a topic's queues hold that many messages, and says how many there are then.
pub async fn stored_at_least(target: &Target, topic: &str, queues: i32, least: i64) -> i64 {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stored = stored(target, topic, queues).await;
        if stored >= least {
            return stored;
        }
        assert!(
            tokio::time::Instant::now() < until,
            "{topic} holds {stored} messages, not {least}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many messages each broker's queues of a topic hold, from the broker's own offsets.
pub async fn stored(target: &Target, topic: &str, queues: i32) -> i64 {
    let mut sum = 0;
    for addr in target.brokers().await {
        for queue in 0..queues {
            let asking = target.ask(&addr, RequestCode::GET_MAX_OFFSET, |fields| {
                fields.put("topic", topic);
                fields.put_number("queueId", queue.into());
            });
            let answer = asking.await;
            let fields: HashMap<_, _> = answer
                .fields
                .iter()
                .map(|field| field.expect("a field"))
                .collect();
            sum += fields["offset"].parse::<i64>().expect("an offset");
        }
    }
    sum
}
