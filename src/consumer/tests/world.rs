//! The peers of a consumer: a name server that knows topic `t`, and a broker with its queues. A script can answer in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use crate::config::ClientConfig;
use crate::consumer::sample;
use crate::environment::{ByteStream, Environment};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::{Command, Head};
use crate::protocol::fields::{Header, NoFields};
use crate::protocol::frame;
use crate::protocol::java_json;
use crate::protocol::message::StoredMessage;
use crate::protocol::request::Request;
use crate::protocol::request::connections::ConsumerConnectionsBody;
use crate::protocol::request::consumer_list::ConsumerListBody;
use crate::protocol::request::consumer_offset::{
    QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset,
};
use crate::protocol::request::heartbeat::HeartbeatBody;
use crate::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;
use crate::protocol::request::pull_message::{PullMessage, PullMessageResponse, PullSysFlag};
use crate::protocol::request::queue_offset::{GetMaxOffset, QueueOffsetResponse};
use crate::protocol::request::route::{BrokerData, GetRoute, QueueData, RouteBody};

pub(super) const NAME_SERVER: &str = "ns:9876";
pub(super) const BROKER: &str = "b:1";
pub(super) const SLAVE: &str = "b:2";

/// What a script says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// What the broker says by itself.
    Usual,
    /// The same, asked for and given after a while.
    UsualAfter(Duration),
    /// An error.
    Code(ResponseCode),
    /// Nothing.
    Silence,
    /// To a pull: found, and no message.
    FoundNothing,
    /// To a question for an offset.
    Offset(i64),
    /// To a pull, after a while: somebody has reset the group to this offset.
    ResetAfter(i64, Duration),
}

type Script = Box<dyn FnMut(&Command) -> Reply + Send>;

/// The peers of one test.
#[derive(Default)]
pub(super) struct World {
    state: Mutex<State>,
    script: Mutex<Option<Script>>,
    /// A queue is not what it was.
    changed: Notify,
}

#[derive(Default)]
struct State {
    queues: Vec<Vec<StoredMessage>>,
    /// The group's offsets, by queue.
    offsets: BTreeMap<i32, i64>,
    /// The clients that are known by heartbeats.
    members: BTreeSet<String>,
    heartbeats: Vec<HeartbeatBody>,
    asked: Vec<(RequestCode, i32)>,
    commits: Vec<(i32, i64)>,
    pulls: Vec<(i32, i64)>,
    /// Where each of them went.
    pulled_from: Vec<String>,
    /// The broker has a slave, and wants to be asked there.
    has_slave: bool,
    /// The name server does not know the broker's master.
    lacks_master: bool,
    open: Vec<mpsc::UnboundedSender<BytesMut>>,
}

impl World {
    /// A world in which topic `t` has this many queues.
    pub(super) fn with_queues(count: usize) -> Arc<Self> {
        let world = Arc::<Self>::default();
        world.state.lock().queues = vec![Vec::new(); count];
        world
    }

    pub(super) fn config(&self) -> ClientConfig {
        ClientConfig::default().name_server(NAME_SERVER)
    }

    pub(super) fn environment(self: &Arc<Self>) -> Arc<dyn Environment> {
        Arc::new(Door(Arc::clone(self)))
    }

    /// Answers in the broker's place from now on.
    pub(super) fn script(&self, reply: impl FnMut(&Command) -> Reply + Send + 'static) {
        *self.script.lock() = Some(Box::new(reply));
    }

    /// Stores that many more messages in a queue.
    pub(super) fn store(&self, queue: i32, count: usize) {
        let next = self.state.lock().queues[queue as usize].len() as i64;
        for offset in next..next + count as i64 {
            self.store_one(queue, sample::stored("t", offset, &[]));
        }
    }

    pub(super) fn store_one(&self, queue: i32, mut message: StoredMessage) {
        message.queue_id = queue;
        self.state.lock().queues[queue as usize].push(message);
        self.changed.notify_waiters();
    }

    /// Forgets the last messages of a queue, as a broker may that did not flush them.
    pub(super) fn cut(&self, queue: i32, len: usize) {
        self.state.lock().queues[queue as usize].truncate(len);
        self.changed.notify_waiters();
    }

    pub(super) fn committed(&self, queue: i32) -> Option<i64> {
        self.state.lock().offsets.get(&queue).copied()
    }

    pub(super) fn set_committed(&self, queue: i32, offset: i64) {
        self.state.lock().offsets.insert(queue, offset);
    }

    /// Forgets the group's offset, as a broker may that did not write it.
    pub(super) fn forget(&self, queue: i32) {
        self.state.lock().offsets.remove(&queue);
    }

    /// Every commit that arrived: queue and offset.
    pub(super) fn commits(&self) -> Vec<(i32, i64)> {
        self.state.lock().commits.clone()
    }

    /// Every pull that arrived: queue and offset.
    pub(super) fn pulls(&self) -> Vec<(i32, i64)> {
        self.state.lock().pulls.clone()
    }

    /// Where every pull went.
    pub(super) fn pulled_from(&self) -> Vec<String> {
        self.state.lock().pulled_from.clone()
    }

    /// Gives the broker a slave, to which it sends those who pull.
    pub(super) fn give_slave(&self) {
        self.state.lock().has_slave = true;
    }

    /// Has the name server know the broker's slave only, or its master too.
    pub(super) fn set_master(&self, is_known: bool) {
        self.state.lock().lacks_master = !is_known;
    }

    /// How many requests of a kind arrived.
    pub(super) fn asked(&self, code: RequestCode) -> usize {
        let state = self.state.lock();
        state
            .asked
            .iter()
            .filter(|(asked, _)| *asked == code)
            .count()
    }

    pub(super) fn heartbeats(&self) -> Vec<HeartbeatBody> {
        self.state.lock().heartbeats.clone()
    }

    /// Hears the heartbeat of another client.
    pub(super) fn hear(&self, body: HeartbeatBody) {
        self.state.lock().heartbeats.push(body);
    }

    /// Lets another member join the group, or leave it, and tells everyone.
    pub(super) fn set_member(&self, id: &str, is_there: bool) {
        {
            let mut state = self.state.lock();
            if is_there {
                state.members.insert(id.to_owned());
            } else {
                state.members.remove(id);
            }
        }
        let mut notice = BytesMut::new();
        let header = NotifyConsumerIdsChanged {
            consumer_group: "g".into(),
        };
        let head = Head {
            flag: 2,
            ..Head::request(NotifyConsumerIdsChanged::CODE, 1)
        };
        let form = crate::protocol::command::Serialization::Json;
        frame::encode_head(&mut notice, form, &head, None, &header, 0).unwrap();
        for open in &self.state.lock().open {
            let _ = open.send(notice.clone());
        }
    }

    async fn answer(self: &Arc<Self>, command: &Command) -> Option<BytesMut> {
        let reply = match &mut *self.script.lock() {
            Some(script) => script(command),
            None => Reply::Usual,
        };
        let (code, form) = (command.request_code(), command.serialization());
        let answer = Answer {
            form,
            opaque: command.head.opaque,
            suggests: i64::from(self.state.lock().has_slave),
        };
        match reply {
            Reply::Usual => {}
            Reply::UsualAfter(delay) => sleep(delay).await,
            Reply::Code(code) => return Some(answer.code(code)),
            Reply::Silence => return None,
            Reply::FoundNothing => {
                let next = command.header::<PullMessage<'_>>().unwrap().queue_offset;
                return Some(answer.pull(ResponseCode::SUCCESS, next, &[]));
            }
            Reply::Offset(offset) => {
                return Some(answer.with(&QueryConsumerOffsetResponse { offset }, &[]));
            }
            Reply::ResetAfter(offset, delay) => {
                sleep(delay).await;
                let asked = command.header::<PullMessage<'_>>().unwrap().queue_offset;
                return Some(answer.reset(offset, asked));
            }
        }
        Some(match code {
            GetRoute::CODE => self.route(&command.header::<GetRoute<'_>>().unwrap().topic, answer),
            RequestCode::HEART_BEAT => self.heartbeat(command, answer),
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => {
                let members = self.state.lock().members.iter().cloned().collect();
                let body = ConsumerListBody {
                    consumer_id_list: members,
                };
                answer.with(&NoFields, &serde_json::to_vec(&body).unwrap())
            }
            RequestCode::GET_CONSUMER_CONNECTION_LIST => {
                // A broker goes by the last heartbeat.
                let mut last = self.state.lock().heartbeats.last().cloned().unwrap();
                let told = last.consumer_data_set.remove(0);
                let table = told.subscription_data_set.into_iter();
                let body = ConsumerConnectionsBody {
                    subscription_table: table.map(|one| (one.topic.clone(), one)).collect(),
                    message_model: told.message_model,
                    ..ConsumerConnectionsBody::default()
                };
                answer.with(&NoFields, &serde_json::to_vec(&body).unwrap())
            }
            QueryConsumerOffset::CODE => {
                let header: QueryConsumerOffset<'_> = command.header().unwrap();
                match self.committed(header.queue_id) {
                    Some(offset) => answer.with(&QueryConsumerOffsetResponse { offset }, &[]),
                    None => answer.code(ResponseCode::QUERY_NOT_FOUND),
                }
            }
            UpdateConsumerOffset::CODE => {
                let header: UpdateConsumerOffset<'_> = command.header().unwrap();
                self.set_committed(header.queue_id, header.commit_offset);
                answer.code(ResponseCode::SUCCESS)
            }
            GetMaxOffset::CODE => {
                let header: GetMaxOffset<'_> = command.header().unwrap();
                let offset = self.state.lock().queues[header.queue_id as usize].len() as i64;
                answer.with(&QueueOffsetResponse { offset }, &[])
            }
            PullMessage::CODE => self.pull(&command.header().unwrap(), answer).await,
            _ => answer.code(ResponseCode::SUCCESS),
        })
    }

    fn note(&self, addr: &str, command: &Command) {
        let mut state = self.state.lock();
        state
            .asked
            .push((command.request_code(), command.head.flag));
        match command.request_code() {
            UpdateConsumerOffset::CODE => {
                let header: UpdateConsumerOffset<'_> = command.header().unwrap();
                state.commits.push((header.queue_id, header.commit_offset));
            }
            PullMessage::CODE => {
                let header: PullMessage<'_> = command.header().unwrap();
                state.pulls.push((header.queue_id, header.queue_offset));
                state.pulled_from.push(addr.to_owned());
            }
            _ => {}
        }
    }

    fn route(&self, topic: &str, answer: Answer) -> BytesMut {
        if topic != "t" {
            return answer.code(ResponseCode::TOPIC_NOT_EXIST);
        }
        let (count, has_slave, lacks_master) = {
            let state = self.state.lock();
            let count = state.queues.len() as i32;
            (count, state.has_slave, state.lacks_master)
        };
        let mut broker_addrs = BTreeMap::new();
        if !lacks_master {
            broker_addrs.insert(0, BROKER.to_owned());
        }
        if has_slave {
            broker_addrs.insert(1, SLAVE.to_owned());
        }
        let body = RouteBody {
            order_topic_conf: None,
            queue_datas: vec![QueueData {
                broker_name: "b".to_owned(),
                read_queue_nums: count,
                write_queue_nums: count,
                perm: 6,
                topic_sys_flag: 0,
            }],
            broker_datas: vec![BrokerData {
                cluster: "c".to_owned(),
                broker_name: "b".to_owned(),
                broker_addrs,
            }],
        };
        answer.with(&NoFields, &serde_json::to_vec(&body).unwrap())
    }

    fn heartbeat(&self, command: &Command, answer: Answer) -> BytesMut {
        let body: HeartbeatBody = java_json::from_slice("heartbeat", &command.body).unwrap();
        let mut state = self.state.lock();
        state.members.insert(body.client_id.clone());
        state.heartbeats.push(body);
        answer.code(ResponseCode::SUCCESS)
    }

    /// Answers when there is something, or after the time that the pull may be held; at once when the offset is behind the end.
    async fn pull(self: &Arc<Self>, header: &PullMessage<'_>, answer: Answer) -> BytesMut {
        let held = match header.sys_flag & PullSysFlag::SUSPEND != 0 {
            true => Duration::from_millis(header.suspend_timeout_millis as u64),
            false => Duration::ZERO,
        };
        let found = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = self.find(header, answer) {
                    return found;
                }
                changed.await;
            }
        };
        let nothing = |_| answer.pull(ResponseCode::PULL_NOT_FOUND, header.queue_offset, &[]);
        timeout(held, found).await.unwrap_or_else(nothing)
    }

    fn find(&self, header: &PullMessage<'_>, answer: Answer) -> Option<BytesMut> {
        let state = self.state.lock();
        let queue = &state.queues[header.queue_id as usize];
        let first = usize::try_from(header.queue_offset).unwrap();
        let mut left = header.max_msg_bytes.map_or(usize::MAX, |max| max as usize);
        let fits = |message: &&StoredMessage| {
            let len = message.encoded_len();
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        };
        let behind = queue.get(first..).unwrap_or_default().iter();
        let fitting = behind.take(header.max_msg_nums as usize);
        // One comes however large it is.
        let end = queue
            .len()
            .min(first + fitting.take_while(fits).count().max(1));
        match queue.get(first..end) {
            Some([]) => None,
            Some(found) => Some(answer.pull(ResponseCode::SUCCESS, end as i64, found)),
            None => Some(answer.pull(ResponseCode::PULL_OFFSET_MOVED, queue.len() as i64, &[])),
        }
    }
}

/// How one request is answered.
#[derive(Debug, Clone, Copy)]
struct Answer {
    form: crate::protocol::command::Serialization,
    opaque: i32,
    /// The broker that should be asked next.
    suggests: i64,
}

impl Answer {
    fn encode<'h>(self, code: ResponseCode, header: &impl Header<'h>, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        let head = Head::response(code, self.opaque);
        frame::encode_head(&mut out, self.form, &head, None, header, body.len()).unwrap();
        out.extend_from_slice(body);
        out
    }

    fn code(self, code: ResponseCode) -> BytesMut {
        self.encode(code, &NoFields, &[])
    }

    fn with<'h>(self, header: &impl Header<'h>, body: &[u8]) -> BytesMut {
        self.encode(ResponseCode::SUCCESS, header, body)
    }

    fn reset(self, offset: i64, asked: i64) -> BytesMut {
        let header = PullMessageResponse {
            suggest_which_broker_id: self.suggests,
            next_begin_offset: offset,
            min_offset: 0,
            max_offset: asked,
            offset_delta: None,
        };
        self.encode(ResponseCode::PULL_OFFSET_MOVED, &header, &[])
    }

    fn pull(self, code: ResponseCode, next: i64, messages: &[StoredMessage]) -> BytesMut {
        let mut body = BytesMut::new();
        messages
            .iter()
            .for_each(|message| message.encode(&mut body).unwrap());
        let header = PullMessageResponse {
            suggest_which_broker_id: self.suggests,
            next_begin_offset: next,
            min_offset: 0,
            max_offset: next,
            offset_delta: None,
        };
        self.encode(code, &header, &body)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[derive(Debug)]
struct Door(Arc<World>);

#[async_trait]
impl Environment for Door {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        if ![NAME_SERVER, BROKER, SLAVE].contains(&addr) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(64 * 1024);
        let (answers, to_write) = mpsc::unbounded_channel();
        self.0.state.lock().open.push(answers.clone());
        let addr = addr.to_owned();
        tokio::spawn(serve(Arc::clone(&self.0), addr, theirs, answers, to_write));
        Ok(Box::new(ours))
    }
}

async fn serve(
    world: Arc<World>,
    addr: String,
    mut stream: DuplexStream,
    answers: mpsc::UnboundedSender<BytesMut>,
    mut to_write: mpsc::UnboundedReceiver<BytesMut>,
) {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(command) = frame::decode(&mut buffer).unwrap() {
            world.note(&addr, &command);
            let (world, answers) = (Arc::clone(&world), answers.clone());
            tokio::spawn(async move {
                if let Some(answer) = world.answer(&command).await
                    && !command.head.is_oneway()
                {
                    // The connection may be gone by then.
                    let _ = answers.send(answer);
                }
            });
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            Some(out) = to_write.recv() => if stream.write_all(&out).await.is_err() { return },
        }
    }
}
