//! A connection over an in-memory stream, against a peer that the test plays.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::protocol::fields::NoFields;
use crate::protocol::frame;
use crate::protocol::request::heartbeat::Heartbeat;
use crate::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;
use crate::transport::error::Cause;

struct Seen(mpsc::UnboundedSender<Command>);

impl Inbound for Seen {
    fn connected(&self, _: &Connection) {}

    fn request(&self, from: &Connection, command: Command) {
        let unknown = ResponseCode::REQUEST_CODE_NOT_SUPPORTED;
        from.respond(&command, unknown, Some("no"), &Bytes::new())
            .unwrap();
        self.0.send(command).unwrap();
    }
}

struct Rig {
    connection: Connection,
    peer: Peer,
    inbound: mpsc::UnboundedReceiver<Command>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Peer {
    stream: DuplexStream,
    buffer: BytesMut,
}

impl Peer {
    async fn receive(&mut self) -> Command {
        loop {
            if let Some(command) = frame::decode(&mut self.buffer).unwrap() {
                return command;
            }
            assert_ne!(
                self.stream.read_buf(&mut self.buffer).await.unwrap(),
                0,
                "the client closed"
            );
        }
    }

    async fn answer(&mut self, opaque: i32) {
        self.stream.write_all(&answer(opaque)).await.unwrap();
    }

    async fn send_away(&mut self, opaque: i32) {
        let away = answer_with(ResponseCode::GO_AWAY, opaque);
        self.stream.write_all(&away).await.unwrap();
    }

    async fn notify(&mut self) {
        let mut out = BytesMut::new();
        let head = Head::request(NotifyConsumerIdsChanged::CODE, 5);
        let header = NotifyConsumerIdsChanged {
            consumer_group: "g".into(),
        };
        frame::encode_head(&mut out, Serialization::Json, &head, None, &header, 0).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }
}

fn answer(opaque: i32) -> BytesMut {
    answer_with(ResponseCode::SUCCESS, opaque)
}

fn answer_with(code: ResponseCode, opaque: i32) -> BytesMut {
    let mut out = BytesMut::new();
    let head = Head::response(code, opaque);
    frame::encode_head(&mut out, Serialization::Json, &head, None, &NoFields, 0).unwrap();
    out
}

fn rig() -> Rig {
    rig_with(Limits {
        serialization: Serialization::Binary,
        idle: Duration::from_secs(120),
        outbox: 4096,
        namespace: None,
    })
}

fn rig_with(limits: Limits) -> Rig {
    let (ours, theirs) = duplex(64 * 1024);
    let (sender, inbound) = mpsc::unbounded_channel();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let connection = Connection::spawn(
        Box::new(ours),
        "peer:1".into(),
        limits,
        Arc::new(Seen(sender)),
        &tasks,
        shutdown.clone(),
    );
    let peer = Peer {
        stream: theirs,
        buffer: BytesMut::new(),
    };
    Rig {
        connection,
        peer,
        inbound,
        tasks,
        shutdown,
    }
}

fn begin(connection: &Connection, timeout: Duration) -> Result<Call, CallError> {
    let body = Bytes::from_static(b"{}");
    connection.call(&Heartbeat, &body, Instant::now() + timeout)
}

fn call(connection: &Connection, timeout: Duration) -> Call {
    begin(connection, timeout).unwrap()
}

/// A connection over `stream`, in a task that ends with the test.
fn spawn(stream: impl ByteStream + 'static) -> Connection {
    let limits = Limits {
        serialization: Serialization::Binary,
        idle: 120 * SECOND,
        outbox: 4096,
        namespace: None,
    };
    let (sender, _) = mpsc::unbounded_channel();
    Connection::spawn(
        Box::new(stream),
        "peer:1".into(),
        limits,
        Arc::new(Seen(sender)),
        &TaskTracker::new(),
        CancellationToken::new(),
    )
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn answers_find_their_calls_out_of_order() {
    let mut rig = rig();
    let (first, second) = (call(&rig.connection, SECOND), call(&rig.connection, SECOND));
    let (a, b) = (
        rig.peer.receive().await.head.opaque,
        rig.peer.receive().await.head.opaque,
    );
    rig.peer.answer(b).await;
    rig.peer.answer(77).await;
    assert_eq!(second.await.unwrap().head.opaque, b);
    rig.peer.answer(a).await;
    assert_eq!(first.await.unwrap().head.opaque, a);
}

#[tokio::test(start_paused = true)]
async fn f05_l15_one_call_without_an_answer_harms_no_other() {
    let mut rig = rig();
    let lost = call(&rig.connection, SECOND);
    rig.peer.receive().await;
    let began = Instant::now();
    let other = call(&rig.connection, 5 * SECOND);
    assert!(matches!(
        lost.await,
        Err(CallError::TimedOut(Delivery::Unknown))
    ));
    assert!(began.elapsed() < SECOND + Duration::from_millis(100));
    let opaque = rig.peer.receive().await.head.opaque;
    rig.peer.answer(opaque).await;
    assert!(other.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn f01_l16_a_closed_connection_fails_its_waiters_at_once_and_for_good() {
    let mut rig = rig();
    let began = Instant::now();
    let waiting = call(&rig.connection, 30 * SECOND);
    rig.peer.receive().await;
    drop(rig.peer);
    assert!(matches!(
        waiting.await,
        Err(CallError::Lost(Cause::ClosedByPeer, Delivery::Unknown))
    ));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(rig.connection.is_closed());
    assert!(matches!(
        begin(&rig.connection, SECOND),
        Err(CallError::Lost(Cause::ClosedByPeer, Delivery::No))
    ));
    rig.tasks.close();
    rig.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_its_clients_away_gets_no_more_calls_and_gives_the_answers_that_it_owes()
{
    for is_dropped in [false, true] {
        let mut rig = rig();
        let (first, second) = (
            call(&rig.connection, SECOND),
            call(&rig.connection, 9 * SECOND),
        );
        let a = rig.peer.receive().await.head.opaque;
        let b = rig.peer.receive().await.head.opaque;
        rig.peer.send_away(a).await;
        let code = first.await.unwrap().response_code();
        assert_eq!(code, ResponseCode::GO_AWAY);
        assert!(rig.connection.is_closed());
        rig.connection.room().await;
        assert!(matches!(
            begin(&rig.connection, SECOND),
            Err(CallError::Lost(Cause::SentAway, Delivery::No))
        ));
        // What it asks is answered all the same.
        rig.peer.notify().await;
        assert!(rig.peer.receive().await.head.is_response());
        rig.tasks.close();
        if is_dropped {
            drop(second);
        } else {
            assert!(!rig.tasks.is_empty());
            rig.peer.answer(b).await;
            assert_eq!(second.await.unwrap().head.opaque, b);
        }
        let began = Instant::now();
        rig.tasks.wait().await;
        assert!(began.elapsed() < SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_its_clients_away_and_is_gone_is_not_waited_for_without_end() {
    let mut rig = rig();
    let (first, second) = (
        call(&rig.connection, SECOND),
        call(&rig.connection, 999 * SECOND),
    );
    let a = rig.peer.receive().await.head.opaque;
    rig.peer.send_away(a).await;
    first.await.unwrap();
    let began = Instant::now();
    assert!(matches!(
        second.await,
        Err(CallError::Lost(Cause::SentAway, Delivery::Unknown))
    ));
    assert!(began.elapsed() < 31 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_reset_at_any_byte_of_the_answers_loses_only_what_did_not_arrive() {
    let whole: Vec<u8> = (0..3).flat_map(answer).collect();
    let length = whole.len() / 3;
    for cut in 0..=whole.len() {
        let mut rig = rig();
        let calls = [(); 3].map(|()| call(&rig.connection, SECOND));
        for _ in 0..3 {
            rig.peer.receive().await;
        }
        rig.peer.stream.write_all(&whole[..cut]).await.unwrap();
        drop(rig.peer);
        for (at, call) in calls.into_iter().enumerate() {
            let outcome = call.await;
            assert_eq!(
                outcome.is_ok(),
                (at + 1) * length <= cut,
                "cut at {cut}, call {at}: {outcome:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_end_the_connection() {
    let mut rig = rig();
    let waiting = call(&rig.connection, SECOND);
    rig.peer.receive().await;
    rig.peer.stream.write_all(&[0xFF; 8]).await.unwrap();
    assert!(matches!(
        waiting.await,
        Err(CallError::Lost(Cause::Malformed(_), _))
    ));
}

#[tokio::test(start_paused = true)]
async fn f03_l13_a_silent_peer_is_given_up_after_three_calls() {
    let mut rig = rig();
    let calls = [(); 3].map(|()| call(&rig.connection, 3 * SECOND));
    let patient = call(&rig.connection, 60 * SECOND);
    for call in calls {
        rig.peer.receive().await;
        assert!(matches!(call.await, Err(CallError::TimedOut(_))));
    }
    let began = Instant::now();
    assert!(matches!(
        patient.await,
        Err(CallError::Lost(Cause::Silent, _))
    ));
    assert!(began.elapsed() < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn f17_a_peer_whose_frame_never_ends_is_given_up() {
    let mut rig = rig();
    let patient = call(&rig.connection, 120 * SECOND);
    rig.peer.receive().await;
    rig.peer.stream.write_all(&[0, 0x80, 0, 0]).await.unwrap();
    let began = Instant::now();
    // It answers every other call, and all answers are taken for the rest of the frame.
    while !rig.connection.is_closed() {
        let hasty = call(&rig.connection, 3 * SECOND);
        let opaque = rig.peer.receive().await.head.opaque;
        rig.peer.answer(opaque).await;
        assert!(hasty.await.is_err());
    }
    assert!((30 * SECOND..40 * SECOND).contains(&began.elapsed()));
    let lost = patient.await;
    assert!(matches!(lost, Err(CallError::Lost(Cause::Silent, _))));
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_that_comes_slowly_is_waited_for() {
    let mut rig = rig();
    let patient = call(&rig.connection, 60 * SECOND);
    let opaque = rig.peer.receive().await.head.opaque;
    let mut frame = BytesMut::new();
    let head = Head::response(ResponseCode::SUCCESS, opaque);
    frame::encode_head(&mut frame, Serialization::Json, &head, None, &NoFields, 28).unwrap();
    frame.extend_from_slice(&[0; 28]);
    let (now, rest) = frame.split_at(frame.len() - 28);
    rig.peer.stream.write_all(now).await.unwrap();
    for byte in rest {
        let hasty = call(&rig.connection, SECOND);
        assert!(matches!(hasty.await, Err(CallError::TimedOut(_))));
        rig.peer.stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(patient.await.unwrap().body.len(), 28);
}

#[tokio::test(start_paused = true)]
async fn f03_l13_a_silent_peer_is_given_up_although_its_callers_turn_to_others_in_time() {
    let rig = rig();
    let patient = call(&rig.connection, 60 * SECOND);
    let began = Instant::now();
    for _ in 0..3 {
        let hasty = call(&rig.connection, 3 * SECOND);
        hasty.wake_at(Instant::now() + SECOND);
        tokio::time::sleep(SECOND + SECOND / 10).await;
        drop(hasty);
    }
    assert!(matches!(
        patient.await,
        Err(CallError::Lost(Cause::Silent, _))
    ));
    assert!(began.elapsed() < 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_of_a_peer_that_was_asked_nothing_for_long_is_no_silence() {
    let mut rig = rig();
    tokio::time::sleep(60 * SECOND).await;
    let patient = call(&rig.connection, 3 * SECOND);
    let opaque = rig.peer.receive().await.head.opaque;
    for hasty in [(); 5].map(|()| call(&rig.connection, SECOND / 10)) {
        assert!(matches!(hasty.await, Err(CallError::TimedOut(_))));
    }
    tokio::time::sleep(SECOND / 2).await;
    rig.peer.answer(opaque).await;
    assert!(patient.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn f37_a_dropped_call_leaves_nothing_and_its_frame_is_whole() {
    let mut rig = rig();
    for _ in 0..100 {
        drop(call(&rig.connection, SECOND));
    }
    assert!(rig.connection.shared.state.lock().pending.is_empty());
    for _ in 0..100 {
        let opaque = rig.peer.receive().await.head.opaque;
        rig.peer.answer(opaque).await;
    }
    let alive = call(&rig.connection, SECOND);
    let opaque = rig.peer.receive().await.head.opaque;
    rig.peer.answer(opaque).await;
    assert!(alive.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn requests_of_the_peer_are_handed_on_and_answered() {
    let mut rig = rig();
    rig.peer.notify().await;
    let request = rig.inbound.recv().await.unwrap();
    let header: NotifyConsumerIdsChanged<'_> = request.header().unwrap();
    assert_eq!(header.consumer_group, "g");
    let answer = rig.peer.receive().await;
    assert_eq!(
        (
            answer.head.opaque,
            answer.head.is_response(),
            answer.serialization()
        ),
        (5, true, Serialization::Json)
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_refuses_until_the_peer_reads() {
    let mut rig = rig();
    let body = Bytes::from(vec![0; 32 * 1024]);
    let refused = loop {
        tokio::task::yield_now().await;
        if let Err(refused) = rig.connection.oneway(&Heartbeat, None, &body) {
            break refused;
        }
    };
    assert!(matches!(refused, CallError::Full));
    let room = tokio::spawn({
        let connection = rig.connection.clone();
        async move { connection.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!room.is_finished());
    rig.peer.receive().await;
    rig.peer.receive().await;
    room.await.unwrap();
    rig.connection.oneway(&Heartbeat, None, &body).unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_request_names_the_namespace_if_there_is_one() {
    for serialization in [Serialization::Json, Serialization::Binary] {
        let mut rig = rig_with(Limits {
            serialization,
            idle: 120 * SECOND,
            outbox: 4096,
            namespace: Some("ns1".into()),
        });
        let _call = call(&rig.connection, SECOND);
        rig.connection
            .oneway(&Heartbeat, None, &Bytes::new())
            .unwrap();
        for _ in 0..2 {
            let request = rig.peer.receive().await;
            let field = |name| request.fields.find(name).map(std::borrow::Cow::into_owned);
            assert_eq!(
                (field("nsd"), field("ns")),
                (Some("true".into()), Some("ns1".into()))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_and_a_waiting_one_does_not() {
    let limits = Limits {
        serialization: Serialization::Json,
        idle: 2 * SECOND,
        outbox: 4096,
        namespace: None,
    };
    let mut rig = rig_with(limits);
    let long_poll = call(&rig.connection, 30 * SECOND);
    let opaque = rig.peer.receive().await.head.opaque;
    tokio::time::sleep(10 * SECOND).await;
    assert!(!rig.connection.is_closed());
    rig.peer.answer(opaque).await;
    assert!(long_poll.await.is_ok());
    // The clock is next looked at when the long poll would have been due.
    tokio::time::sleep(30 * SECOND).await;
    assert!(rig.connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_client_s_end_ends_the_task() {
    let rig = rig();
    let waiting = call(&rig.connection, SECOND);
    rig.shutdown.cancel();
    assert!(matches!(
        waiting.await,
        Err(CallError::Lost(Cause::Shutdown, _))
    ));
    rig.tasks.close();
    rig.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_before_it_was_written_may_still_be_written() {
    let mut rig = rig_with(Limits {
        serialization: Serialization::Binary,
        idle: 120 * SECOND,
        outbox: 1024 * 1024,
        namespace: None,
    });
    let body = Bytes::from(vec![0; 200 * 1024]);
    rig.connection.oneway(&Heartbeat, None, &body).unwrap();
    let late = call(&rig.connection, SECOND);
    let opaque = late.opaque;
    assert!(matches!(
        late.await,
        Err(CallError::TimedOut(Delivery::Unknown))
    ));
    rig.peer.receive().await;
    assert_eq!(rig.peer.receive().await.head.opaque, opaque);
}

#[test]
fn a_runtime_that_ends_takes_no_call_with_it() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    for task_runs in [false, true] {
        let first = runtime();
        let (rig, waiting) = first.block_on(async {
            let mut rig = rig();
            let waiting = call(&rig.connection, SECOND);
            if task_runs {
                rig.peer.receive().await;
            }
            (rig, waiting)
        });
        drop(first);
        let outcome =
            runtime().block_on(async { tokio::time::timeout(5 * SECOND, waiting).await.unwrap() });
        assert!(matches!(outcome, Err(CallError::Lost(..))), "{outcome:?}");
        assert!(rig.connection.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_buffers_is_flushed() {
    let (ours, theirs) = duplex(1024);
    let connection = spawn(tokio::io::BufStream::new(ours));
    let mut peer = Peer {
        stream: theirs,
        buffer: BytesMut::new(),
    };
    let waiting = call(&connection, SECOND);
    let request = tokio::time::timeout(SECOND / 2, peer.receive()).await;
    peer.answer(request.unwrap().head.opaque).await;
    assert!(waiting.await.is_ok());
}

/// A peer that never stops: there is always an answer to read, or always room to write with something to write.
struct Flood {
    reads: bool,
    connection: Arc<std::sync::OnceLock<Connection>>,
}

impl tokio::io::AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.reads {
            return Poll::Pending;
        }
        std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        buffer.put_slice(&answer(-1));
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        if let (false, Some(connection)) = (self.reads, self.connection.get()) {
            let _ = connection.oneway(&Heartbeat, None, &Bytes::new());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// In real time: a paused clock stands still while a task always has something to do.
#[tokio::test]
async fn deadlines_come_also_while_the_peer_never_stops() {
    for reads in [false, true] {
        let itself = Arc::new(std::sync::OnceLock::new());
        let connection = spawn(Flood {
            reads,
            connection: Arc::clone(&itself),
        });
        assert!(itself.set(connection.clone()).is_ok());
        let waiting = call(&connection, SECOND / 20);
        let outcome = tokio::time::timeout(20 * SECOND, waiting).await;
        assert!(
            matches!(outcome, Ok(Err(CallError::TimedOut(Delivery::Unknown)))),
            "reads: {reads}, {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_nobody_takes_keeps_no_connection_open() {
    let limits = Limits {
        serialization: Serialization::Json,
        idle: 2 * SECOND,
        outbox: 4096,
        namespace: None,
    };
    let mut rig = rig_with(limits);
    let untaken = call(&rig.connection, SECOND);
    let opaque = rig.peer.receive().await.head.opaque;
    rig.peer.answer(opaque).await;
    tokio::time::sleep(10 * SECOND).await;
    assert!(rig.connection.is_closed());
    assert!(untaken.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_ended_connection_keeps_no_bytes_and_takes_none() {
    let mut rig = rig();
    rig.peer.notify().await;
    let request = rig.inbound.recv().await.unwrap();
    let body = Bytes::from(vec![0; 200 * 1024]);
    rig.connection.oneway(&Heartbeat, None, &body).unwrap();
    drop(rig.peer);
    rig.tasks.close();
    rig.tasks.wait().await;
    assert!(body.is_unique());
    let code = ResponseCode::SUCCESS;
    let refused = rig.connection.respond(&request, code, None, &body);
    assert!(matches!(refused, Err(CallError::Lost(_, Delivery::No))));
}
