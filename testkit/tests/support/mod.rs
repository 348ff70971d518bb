//! A client made of single frames: what a handler's test needs, and nothing that a client library adds.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::future_not_send,
    reason = "each test uses a part of it"
)]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::environment::ByteStream;
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Head, Serialization};
use rocketmq_sdk::protocol::fields::{Header, NoFields};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::{StoredMessage, StoredMessages};
use rocketmq_sdk::protocol::request::Request;
use rocketmq_sdk::protocol::request::heartbeat::{
    ConsumerData, Heartbeat, HeartbeatBody, ProducerData, SubscriptionData,
};
use rocketmq_sdk::protocol::request::pull_message::{
    PullMessage, PullMessageResponse, PullSysFlag,
};
use rocketmq_sdk::protocol::request::route::{GetRoute, RouteBody};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_testkit::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough for whatever does happen, short enough to see that something does not.
pub const SOON: Duration = Duration::from_secs(10);

pub struct Client {
    stream: Box<dyn ByteStream>,
    input: BytesMut,
    next_opaque: i32,
    /// What came while something else was waited for.
    early: VecDeque<Command>,
    pub serialization: Serialization,
}

impl Client {
    pub async fn connect(cluster: &Cluster, addr: &str) -> Self {
        Self {
            stream: cluster.environment().connect(addr).await.unwrap(),
            input: BytesMut::new(),
            next_opaque: 0,
            early: VecDeque::new(),
            serialization: Serialization::Binary,
        }
    }

    pub async fn broker(cluster: &Cluster) -> Self {
        Self::connect(cluster, cluster.broker("broker-a").addr()).await
    }

    /// Sends a request; its opaque.
    pub async fn send<'a, R: Request<'a>>(&mut self, header: &R, body: &[u8]) -> i32 {
        self.send_code(R::CODE, header, body).await
    }

    pub async fn send_code<'a>(
        &mut self,
        code: RequestCode,
        header: &impl Header<'a>,
        body: &[u8],
    ) -> i32 {
        self.next_opaque += 1;
        let head = Head::request(code, self.next_opaque);
        self.send_head(&head, header, body).await;
        head.opaque
    }

    pub async fn send_head<'a>(&mut self, head: &Head, header: &impl Header<'a>, body: &[u8]) {
        let mut out = BytesMut::new();
        frame::encode_head(&mut out, self.serialization, head, None, header, body.len()).unwrap();
        out.extend_from_slice(body);
        self.stream.write_all(&out).await.unwrap();
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a request and waits for its answer.
    pub async fn call<'a, R: Request<'a>>(&mut self, header: &R, body: &[u8]) -> Command {
        let opaque = self.send(header, body).await;
        self.answer(opaque).await
    }

    /// As [`call`](Self::call), for what must succeed.
    pub async fn ok<'a, R: Request<'a>>(&mut self, header: &R, body: &[u8]) -> Command {
        let answer = self.call(header, body).await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{:?}",
            answer.remark
        );
        answer
    }

    /// As [`call`](Self::call), for what must be refused: the code.
    pub async fn refused<'a, R: Request<'a>>(&mut self, header: &R, body: &[u8]) -> ResponseCode {
        self.call(header, body).await.response_code()
    }

    /// Waits for the answer to a request.
    pub async fn answer(&mut self, opaque: i32) -> Command {
        self.answer_within(opaque, SOON).await
    }

    /// As [`answer`](Self::answer), as long as is said.
    pub async fn answer_within(&mut self, opaque: i32, patience: Duration) -> Command {
        self.expect_within(patience, |command| {
            command.head.is_response() && command.head.opaque == opaque
        })
        .await
    }

    /// Waits until there are so many answers, whatever they answer: their opaques, in the order in which they came.
    pub async fn opaques(&mut self, count: usize) -> Vec<i32> {
        let mut opaques = Vec::new();
        while opaques.len() < count {
            opaques.push(self.expect(|it| it.head.is_response()).await.head.opaque);
        }
        opaques
    }

    /// Whether the connection ends, or can no longer be read, before a whole frame comes.
    pub async fn breaks(&mut self) -> bool {
        let reading = async {
            loop {
                match frame::decode(&mut self.input) {
                    Ok(Some(_)) => return false,
                    Err(_) => return true,
                    Ok(None) => {}
                }
                if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                    return true;
                }
            }
        };
        tokio::time::timeout(SOON, reading)
            .await
            .expect("nothing came")
    }

    /// Waits for a request from the broker.
    pub async fn request(&mut self, code: RequestCode) -> Command {
        self.expect(|command| !command.head.is_response() && command.request_code() == code)
            .await
    }

    /// Answers a request of the broker.
    pub async fn respond(&mut self, request: &Command, code: ResponseCode) {
        self.respond_with(request, code, b"").await;
    }

    /// Answers a request of the broker, with a body.
    pub async fn respond_with(&mut self, request: &Command, code: ResponseCode, body: &[u8]) {
        let head = Head::response(code, request.head.opaque);
        self.send_head(&head, &NoFields, body).await;
    }

    /// Whether nothing has come that was not waited for, as far as the broker has written it: it answers in order.
    pub async fn is_quiet(&mut self) -> bool {
        self.call(&Heartbeat, &heartbeat("is-quiet", &[])).await;
        self.early.is_empty()
    }

    /// What has come of an unfinished frame when the broker has closed the connection.
    pub async fn rest(&mut self) -> BytesMut {
        self.closed().await;
        self.input.clone()
    }

    /// Waits until the broker has closed the connection.
    pub async fn closed(&mut self) {
        let ended = async {
            while self
                .stream
                .read_buf(&mut self.input)
                .await
                .is_ok_and(|read| read > 0)
            {}
        };
        tokio::time::timeout(SOON, ended).await.expect("still open");
    }

    async fn expect(&mut self, wanted: impl Fn(&Command) -> bool) -> Command {
        self.expect_within(SOON, wanted).await
    }

    async fn expect_within(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Command) -> bool,
    ) -> Command {
        if let Some(at) = self.early.iter().position(&wanted) {
            return self.early.remove(at).unwrap();
        }
        let waiting = async {
            loop {
                while let Some(command) = frame::decode(&mut self.input).unwrap() {
                    if wanted(&command) {
                        return command;
                    }
                    self.early.push_back(command);
                }
                let read = self.stream.read_buf(&mut self.input).await.unwrap();
                assert_ne!(read, 0, "the connection was closed");
            }
        };
        tokio::time::timeout(patience, waiting)
            .await
            .expect("nothing came")
    }

    pub async fn route(&mut self, topic: &str) -> RouteBody {
        let answer = self.ok(&route(topic), b"").await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Sends a message; where it was stored.
    pub async fn produce(&mut self, header: &SendMessage<'_>, body: &[u8]) -> (i32, i64) {
        let answer = self.ok(header, body).await;
        let stored: SendMessageResponse<'_> = answer.header().unwrap();
        (stored.queue_id, stored.queue_offset)
    }

    /// Pulls; the answer with its header and messages.
    pub async fn pull(&mut self, header: &PullMessage<'_>) -> Pulled {
        Pulled::from(self.call(header, b"").await)
    }

    pub async fn heartbeat(&mut self, client_id: &str, consumers: &[ConsumerData]) {
        self.ok(&Heartbeat, &heartbeat(client_id, consumers)).await;
    }
}

#[derive(Debug)]
pub struct Pulled {
    pub code: ResponseCode,
    pub next: i64,
    pub min: i64,
    pub max: i64,
    pub messages: Vec<StoredMessage>,
}

impl Pulled {
    pub fn bodies(&self) -> Vec<&[u8]> {
        self.messages
            .iter()
            .map(|message| &message.body[..])
            .collect()
    }
}

impl From<Command> for Pulled {
    fn from(answer: Command) -> Self {
        let code = answer.response_code();
        let header: PullMessageResponse = answer.header().unwrap_or_else(|_| panic!("{answer:?}"));
        Self {
            code,
            next: header.next_begin_offset,
            min: header.min_offset,
            max: header.max_offset,
            messages: StoredMessages::new(answer.body)
                .map(|message| {
                    let message = message.unwrap();
                    assert!(message.verify_crc());
                    message
                })
                .collect(),
        }
    }
}

pub fn route(topic: &str) -> GetRoute<'_> {
    GetRoute {
        topic: topic.into(),
        accept_standard_json_only: Some(true),
    }
}

pub fn message<'a>(topic: &'a str, queue_id: i32, properties: &'a str) -> SendMessage<'a> {
    SendMessage {
        producer_group: "producers".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        properties: Some(properties.into()),
        ..SendMessage::default()
    }
}

/// A pull with the subscription in it, that does not wait.
pub fn pull<'a>(
    topic: &'a str,
    queue_id: i32,
    offset: i64,
    expression: &'a str,
) -> PullMessage<'a> {
    PullMessage {
        consumer_group: "consumers".into(),
        topic: topic.into(),
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: PullSysFlag::SUBSCRIPTION,
        subscription: Some(expression.into()),
        ..PullMessage::default()
    }
}

/// The same, held for so long when there is nothing.
pub fn held_pull<'a>(
    topic: &'a str,
    queue_id: i32,
    offset: i64,
    expression: &'a str,
    suspend_millis: i64,
) -> PullMessage<'a> {
    PullMessage {
        sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::SUSPEND,
        suspend_timeout_millis: suspend_millis,
        ..pull(topic, queue_id, offset, expression)
    }
}

pub fn consumer(group: &str, subscriptions: &[(&str, &str, i64)]) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        consume_type: "CONSUME_PASSIVELY".to_owned(),
        message_model: "CLUSTERING".to_owned(),
        consume_from_where: "CONSUME_FROM_FIRST_OFFSET".to_owned(),
        subscription_data_set: subscriptions
            .iter()
            .map(|(topic, expression, version)| SubscriptionData {
                class_filter_mode: false,
                topic: (*topic).to_owned(),
                sub_string: (*expression).to_owned(),
                tags_set: Vec::new(),
                code_set: Vec::new(),
                sub_version: *version,
                expression_type: "TAG".to_owned(),
            })
            .collect(),
        unit_mode: false,
    }
}

pub fn heartbeat(client_id: &str, consumers: &[ConsumerData]) -> Bytes {
    let body = HeartbeatBody {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData {
            group_name: "producers".to_owned(),
        }],
        consumer_data_set: consumers.to_vec(),
        ..HeartbeatBody::default()
    };
    serde_json::to_vec(&body).unwrap().into()
}
