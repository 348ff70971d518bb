//! A client among peers that the test plays: each address is a function from request to answer.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::*;
use crate::environment::ByteStream;
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::{Command, Head};
use crate::protocol::fields::NoFields;
use crate::protocol::frame;
use crate::protocol::request::Request;
use crate::protocol::request::heartbeat::{HeartbeatBody, ProducerData};
use crate::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;
use crate::protocol::request::queue_offset::GetMaxOffset;
use crate::protocol::request::route::{BrokerData, GetRoute, QueueData, RouteBody};

const NAME_SERVER: &str = "ns:9876";
const BROKER: &str = "broker:10911";

/// Stands for no answer at all.
const SILENCE: ResponseCode = ResponseCode(-77);

type Answer = (ResponseCode, Vec<u8>);
type Host = dyn Fn(&Command) -> Answer + Send + Sync;

/// The world of one test: what every address answers, and what it was asked.
#[derive(Default)]
struct World {
    /// Answers by address; an address without one refuses connections.
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    asked: Mutex<Vec<(String, RequestCode, Bytes)>>,
    /// Lets the test write on the newest connection of an address.
    open: Mutex<HashMap<String, mpsc::UnboundedSender<BytesMut>>>,
    answers_to_us: Mutex<Vec<Command>>,
    connects: AtomicUsize,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[derive(Debug, Clone)]
struct Door(Arc<World>);

#[async_trait]
impl Environment for Door {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        let host = self
            .0
            .hosts
            .lock()
            .get(addr)
            .cloned()
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = duplex(64 * 1024);
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.open.lock().insert(addr.to_owned(), sender);
        tokio::spawn(serve(
            Arc::clone(&self.0),
            addr.to_owned(),
            host,
            theirs,
            receiver,
        ));
        Ok(Box::new(ours))
    }

    fn seed(&self) -> u64 {
        7
    }
}

async fn serve(
    world: Arc<World>,
    addr: String,
    host: Arc<Host>,
    mut stream: DuplexStream,
    mut to_write: mpsc::UnboundedReceiver<BytesMut>,
) {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(command) = frame::decode(&mut buffer).unwrap() {
            if command.head.is_response() {
                world.answers_to_us.lock().push(command);
                continue;
            }
            world
                .asked
                .lock()
                .push((addr.clone(), command.request_code(), command.body.clone()));
            if command.head.is_oneway() {
                continue;
            }
            let (code, body) = host(&command);
            if code == SILENCE {
                continue;
            }
            let mut out = BytesMut::new();
            let head = Head::response(code, command.head.opaque);
            frame::encode_head(
                &mut out,
                command.serialization(),
                &head,
                None,
                &NoFields,
                body.len(),
            )
            .unwrap();
            out.extend_from_slice(&body);
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            Some(out) = to_write.recv() => stream.write_all(&out).await.unwrap(),
        }
    }
}

impl World {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn host(&self, addr: &str, answer: impl Fn(&Command) -> Answer + Send + Sync + 'static) {
        self.hosts.lock().insert(addr.to_owned(), Arc::new(answer));
    }

    fn asked(&self, code: RequestCode) -> usize {
        self.asked
            .lock()
            .iter()
            .filter(|(_, asked, _)| *asked == code)
            .count()
    }

    async fn client(self: &Arc<Self>, name_servers: &str) -> Client {
        let builder = Client::builder().config(ClientConfig::default().name_server(name_servers));
        builder
            .environment(Arc::new(Door(Arc::clone(self))))
            .start()
            .await
            .unwrap()
    }
}

fn route() -> Answer {
    let queue = QueueData {
        broker_name: "b".into(),
        read_queue_nums: 2,
        write_queue_nums: 2,
        perm: 6,
        topic_sys_flag: 0,
    };
    let addrs = [(0, BROKER.to_owned())].into();
    let broker = BrokerData {
        cluster: "c".into(),
        broker_name: "b".into(),
        broker_addrs: addrs,
    };
    let body = RouteBody {
        order_topic_conf: None,
        queue_datas: vec![queue],
        broker_datas: vec![broker],
    };
    (ResponseCode::SUCCESS, serde_json::to_vec(&body).unwrap())
}

fn ok(_: &Command) -> Answer {
    (ResponseCode::SUCCESS, Vec::new())
}

struct Group {
    kind: MemberKind,
    changes: AtomicUsize,
}

impl Group {
    fn new(kind: MemberKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            changes: AtomicUsize::new(0),
        })
    }
}

impl Member for Group {
    fn kind(&self) -> MemberKind {
        self.kind
    }

    fn group(&self) -> &str {
        "g"
    }

    fn topics(&self) -> Vec<Arc<str>> {
        vec!["t".into()]
    }

    fn describe(&self, body: &mut HeartbeatBody) {
        body.producer_data_set.push(ProducerData {
            group_name: "g".into(),
        });
    }

    fn group_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn route_changed(&self, _: &str) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

#[tokio::test(start_paused = true)]
async fn f10_l20_a_thousand_look_ups_of_one_topic_are_one_question() {
    let world = World::new();
    world.host(NAME_SERVER, |command| {
        assert_eq!(command.header::<GetRoute<'_>>().unwrap().topic, "t");
        route()
    });
    let client = world.client(NAME_SERVER).await;
    let found = join_all((0..1000).map(|_| client.route("t", soon()))).await;
    assert!(
        found
            .iter()
            .all(|found| found.as_ref().unwrap().as_ref().unwrap().writable.len() == 2)
    );
    assert_eq!(world.asked(GetRoute::CODE), 1);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_cancelled_look_up_serves_the_next_caller() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    let client = world.client(NAME_SERVER).await;
    assert!(client.route("t", soon()).now_or_never().is_none());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(client.route("t", soon()).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn f08_l17_the_last_good_route_outlives_name_servers_that_forgot_it() {
    let world = World::new();
    let said = Arc::new(Mutex::new(route()));
    world.host(NAME_SERVER, {
        let said = Arc::clone(&said);
        move |_| said.lock().clone()
    });
    let client = world.client(NAME_SERVER).await;
    let first = client.route("t", soon()).await.unwrap().unwrap();
    let told: [(ResponseCode, Vec<u8>); 2] = [
        (ResponseCode::TOPIC_NOT_EXIST, Vec::new()),
        (ResponseCode::SUCCESS, b"{}".to_vec()),
    ];
    for answer in told {
        *said.lock() = answer;
        assert!(
            client
                .refresh_route("t", first.generation, soon())
                .await
                .is_ok()
        );
        assert_eq!(
            client.cached_route("t").unwrap().generation,
            first.generation
        );
    }
}

#[tokio::test(start_paused = true)]
async fn f07_a_name_server_that_is_down_is_passed_over_and_the_good_one_kept() {
    let world = World::new();
    world.host("good:1", |_| route());
    let client = world.client("bad:1;good:1;bad:2").await;
    for topic in ["a", "b", "c"] {
        assert!(client.route(topic, soon()).await.unwrap().is_some());
    }
    assert!(
        world.connects.load(Ordering::SeqCst) <= 3,
        "only the first look-up may try the bad ones"
    );
    let nobody = world.client("bad:1;bad:2").await;
    let error = nobody.route("t", soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServer);
    assert!(error.to_string().contains("bad:1;bad:2"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_answers_an_error_is_passed_over_too() {
    let world = World::new();
    world.host("starting:1", |_| (ResponseCode::SYSTEM_ERROR, Vec::new()));
    world.host("good:1", |_| route());
    // One of the two begins with the bad one.
    for name_servers in ["starting:1;good:1", "good:1;starting:1"] {
        let client = world.client(name_servers).await;
        assert!(client.route("t", soon()).await.unwrap().is_some());
    }
    let alone = world.client("starting:1").await;
    let error = alone.route("t", soon()).await.unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::SYSTEM_ERROR));
}

#[tokio::test(start_paused = true)]
async fn f09_l18_other_name_servers_are_asked_from_then_on_and_the_old_ones_never_again() {
    let world = World::new();
    world.host("old:1", |_| route());
    world.host("new:1", |_| route());
    world.host(BROKER, ok);
    let client = world.client("old:1;old:1").await;
    let _registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    assert!(client.route("t", soon()).await.unwrap().is_some());
    let asked = |addr: &str| {
        let asked = world.asked.lock();
        asked.iter().filter(|(host, ..)| host == addr).count()
    };
    let before = asked("old:1");
    for bad in ["", ";", "new:1;nowhere:port"] {
        let error = client.change_name_servers(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert!(client.route("u", soon()).await.unwrap().is_some());
    assert_eq!((asked("old:1"), asked("new:1")), (before + 1, 0));
    client.change_name_servers("new:1").unwrap();
    assert!(client.route("v", soon()).await.unwrap().is_some());
    assert_eq!(asked("new:1"), 1);
    // A round of everything: the old one is live still, and is no broker.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(asked("new:1") > 1);
    assert_eq!(asked("old:1"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn routes_that_nobody_wants_any_more_are_forgotten() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, ok);
    let client = world.client(NAME_SERVER).await;
    let _registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    client.route("once", soon()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(client.cached_route("once").is_none() && client.cached_route("t").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_round_of_heartbeats_has_its_time_from_its_own_beginning() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, |_| (SILENCE, Vec::new()));
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let _registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    let began = Instant::now();
    let later = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        // They share a round, as nobody has looked at the members for it.
        tokio::join!(client.heartbeat_now(), client.heartbeat_now());
    };
    tokio::join!(client.heartbeat_now(), later);
    let timeout = client.config().request_timeout;
    assert!((2 * timeout..3 * timeout).contains(&began.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn brokers_hear_of_a_group_first_and_last() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, ok);
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    let twice = client
        .register(Group::new(MemberKind::Producer))
        .map(drop)
        .unwrap_err();
    assert!(twice.to_string().contains("\"g\""), "{twice}");
    client.heartbeat_now().await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    registration.unregister(soon()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let asked = world.asked.lock();
    let broker: Vec<_> = asked
        .iter()
        .filter(|(addr, ..)| addr == BROKER)
        .map(|(_, code, _)| *code)
        .collect();
    // One on the new connection, one because it was asked for, two with the time; then the end.
    let (beat, leave) = (RequestCode::HEART_BEAT, RequestCode::UNREGISTER_CLIENT);
    assert_eq!(broker, [beat, beat, beat, beat, leave]);
    let body: HeartbeatBody =
        serde_json::from_slice(&asked.iter().find(|(_, code, _)| *code == beat).unwrap().2)
            .unwrap();
    assert_eq!(
        (body.client_id.as_str(), body.producer_data_set.len()),
        (client.client_id(), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_brokers_ask_is_handed_on_or_refused() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, ok);
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let group = Group::new(MemberKind::Consumer);
    let _registration = client
        .register(Arc::clone(&group) as Arc<dyn Member>)
        .unwrap();
    client.heartbeat_now().await;
    let mut out = BytesMut::new();
    let header = NotifyConsumerIdsChanged {
        consumer_group: "g".into(),
    };
    let head = Head::request(NotifyConsumerIdsChanged::CODE, 1).oneway();
    frame::encode_head(
        &mut out,
        crate::protocol::command::Serialization::Json,
        &head,
        None,
        &header,
        0,
    )
    .unwrap();
    let head = Head::request(RequestCode(318), 2);
    frame::encode_head(
        &mut out,
        crate::protocol::command::Serialization::Json,
        &head,
        None,
        &NoFields,
        0,
    )
    .unwrap();
    world.open.lock()[BROKER].send(out).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(group.changes.load(Ordering::SeqCst), 1);
    let answers = world.answers_to_us.lock();
    assert_eq!(
        (answers[0].head.opaque, answers[0].response_code()),
        (2, ResponseCode::REQUEST_CODE_NOT_SUPPORTED)
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_route_is_told_to_its_members() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, ok);
    let client = world.client(NAME_SERVER).await;
    let group = Group::new(MemberKind::Consumer);
    let _registration = client
        .register(Arc::clone(&group) as Arc<dyn Member>)
        .unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(
        group.changes.load(Ordering::SeqCst),
        1,
        "the first route of a topic is a change"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        group.changes.load(Ordering::SeqCst),
        1,
        "the same route is none"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_tasks_with_it() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let tasks = client.inner.tasks.clone();
    assert!(!tasks.is_empty());
    drop(client);
    tasks.close();
    tasks.wait().await;
}

#[test]
fn a_look_up_that_ended_with_its_runtime_is_not_the_last() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    let first = runtime();
    let client = first.block_on(async {
        let client = world.client(NAME_SERVER).await;
        assert!(client.route("t", soon()).now_or_never().is_none());
        client
    });
    drop(first);
    let found = runtime().block_on(async { client.route("t", soon()).await });
    assert!(found.unwrap().is_some());
}

#[test]
fn a_look_up_on_a_runtime_that_has_ended_is_an_error() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(world.client(NAME_SERVER));
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    // Its task is dropped while it is being spawned.
    let found = client.route("t", soon()).now_or_never().unwrap();
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_wait_for_brokers_is_gone_all_the_same() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, |_| (SILENCE, Vec::new()));
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    // A round of heartbeats is under way, and will be longer than there is time.
    assert!(client.heartbeat_now().now_or_never().is_none());
    let round = tokio::spawn({
        let client = client.clone();
        async move { client.heartbeat_now().await }
    });
    tokio::task::yield_now().await;
    registration
        .unregister(Instant::now() + Duration::from_secs(1))
        .await;
    assert!(!round.is_finished());
    assert!(client.register(Group::new(MemberKind::Producer)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn brokers_hear_of_an_end_behind_a_round_of_heartbeats_that_somebody_else_began_and_dropped()
{
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    world.host(BROKER, |command| match command.request_code() {
        RequestCode::HEART_BEAT => (SILENCE, Vec::new()),
        _ => ok(command),
    });
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let registration = client.register(Group::new(MemberKind::Producer)).unwrap();
    let round = timeout_at(
        Instant::now() + Duration::from_secs(2),
        client.heartbeat_now(),
    );
    round.await.unwrap_err();
    let second = Instant::now() + Duration::from_secs(1);
    registration
        .unregister(second - Duration::from_millis(1))
        .await;
    // Neither was answered yet, nor given up.
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT), 0);
    registration
        .unregister(second + Duration::from_secs(1))
        .await;
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_away_asks_again_on_another_connection_once() {
    let world = World::new();
    world.host(NAME_SERVER, |_| route());
    let away = Arc::new(AtomicUsize::new(0));
    world.host(BROKER, {
        let away = Arc::clone(&away);
        move |command| match command.request_code() {
            RequestCode::GET_MAX_OFFSET if away.load(Ordering::SeqCst) > 0 => {
                away.fetch_sub(1, Ordering::SeqCst);
                (ResponseCode::GO_AWAY, Vec::new())
            }
            _ => ok(command),
        }
    });
    let client = world.client(NAME_SERVER).await;
    client.route("t", soon()).await.unwrap();
    let _registration = client.register(Group::new(MemberKind::Consumer)).unwrap();
    client.heartbeat_now().await;
    let header = GetMaxOffset {
        topic: "t".into(),
        ..GetMaxOffset::default()
    };
    for (times, asked, code) in [(1, 2, None), (5, 4, Some(ResponseCode::GO_AWAY))] {
        away.store(times, Ordering::SeqCst);
        let addr: Arc<str> = BROKER.into();
        let asking = client.rpc().max_offset(&addr, &header, soon()).await;
        // The header of the answer has no offset.
        let error = asking.unwrap_err();
        assert_eq!(error.response_code(), code, "{error}");
        assert_eq!(world.asked(RequestCode::GET_MAX_OFFSET), asked);
        // Each new connection begins with a heartbeat; the first one had another.
        let connections = asked / 2 + 1;
        assert_eq!(world.asked(RequestCode::HEART_BEAT), connections + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_changed_is_told_whoever_found_out() {
    let world = World::new();
    let queues = Arc::new(AtomicUsize::new(2));
    world.host(NAME_SERVER, {
        let queues = Arc::clone(&queues);
        move |_| {
            let (code, body) = route();
            let mut body: RouteBody = serde_json::from_slice(&body).unwrap();
            body.queue_datas[0].read_queue_nums =
                i32::try_from(queues.load(Ordering::SeqCst)).unwrap();
            (code, serde_json::to_vec(&body).unwrap())
        }
    });
    let client = world.client(NAME_SERVER).await;
    let group = Group::new(MemberKind::Consumer);
    let _registration = client
        .register(Arc::clone(&group) as Arc<dyn Member>)
        .unwrap();
    let first = client.route("t", soon()).await.unwrap().unwrap();
    queues.store(3, Ordering::SeqCst);
    let told = group.changes.load(Ordering::SeqCst);
    client
        .refresh_route("t", first.generation, soon())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(group.changes.load(Ordering::SeqCst), told + 1);
}

#[derive(Debug)]
struct NoResolver;

#[async_trait]
impl Environment for NoResolver {
    async fn connect(&self, _: &str) -> io::Result<Box<dyn ByteStream>> {
        std::future::pending().await
    }

    async fn local_ip(&self, _: &str) -> std::net::IpAddr {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_does_not_keep_a_client_from_starting() {
    let builder = Client::builder().config(ClientConfig::default().name_server(NAME_SERVER));
    let starting = builder.environment(Arc::new(NoResolver)).start();
    let client = timeout_at(Instant::now() + Duration::from_secs(10), starting).await;
    assert!(
        client
            .unwrap()
            .unwrap()
            .client_id()
            .starts_with("127.0.0.1@")
    );
}
