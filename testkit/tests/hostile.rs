//! Peers that do what they should not.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use bytes::BytesMut;
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Head, Serialization};
use rocketmq_sdk::protocol::fields::NoFields;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::TransactionType;
use rocketmq_sdk::protocol::request::heartbeat::Heartbeat;
use rocketmq_sdk::protocol::request::send_back::SendBack;
use rocketmq_sdk::protocol::request::send_message::SendMessage;
use rocketmq_testkit::Cluster;
use support::{Client, SOON, consumer, heartbeat, message, pull};
use tokio::io::AsyncWriteExt;

/// What each node answers; everything else it must not.
const NAME_SERVER: [i32; 9] = [100, 101, 102, 103, 104, 105, 106, 206, 216];
const BROKER: [i32; 39] = [
    10, 11, 14, 15, 17, 21, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 200, 201, 202, 203, 204,
    207, 208, 215, 222, 223, 300, 307, 309, 310, 320, 324, 325, 351, 352, 370, 400, 401,
];

#[tokio::test]
async fn every_code_is_answered_and_no_other_is_supported() {
    let cluster = Cluster::start().await.unwrap();
    let nodes = [
        (cluster.name_server_addr(), &NAME_SERVER[..]),
        (cluster.broker("broker-a").addr(), &BROKER[..]),
    ];
    for (addr, supported) in nodes {
        let mut client = Client::connect(&cluster, addr).await;
        for code in (-2..1_000).chain([1500, 2001, 3001, 200_050, i32::MAX]) {
            let mut answers = Vec::new();
            for body in [&b""[..], b"{", b"{\"a\":"] {
                let opaque = client.send_code(RequestCode(code), &NoFields, body).await;
                answers.push(client.answer(opaque).await.response_code());
            }
            let unsupported = answers[0] == ResponseCode::REQUEST_CODE_NOT_SUPPORTED;
            let supported = supported.contains(&code) || code == 361 && supported == BROKER;
            assert_eq!(unsupported, !supported, "{code}: {answers:?}");
        }
    }
}

#[tokio::test]
async fn a_oneway_request_is_not_answered_whatever_it_is() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    for (opaque, code) in [(1_000, 9_999), (1_001, 310), (1_002, 34)] {
        let head = Head::request(RequestCode(code), opaque).oneway();
        client.send_head(&head, &message("t", 0, ""), b"m").await;
    }
    assert!(client.is_quiet().await);
    let pulled = client.pull(&pull("t", 0, 0, "*")).await;
    assert_eq!(pulled.bodies(), [b"m"]);
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_and_no_other() {
    let cluster = Cluster::start().await.unwrap();
    let mut other = Client::broker(&cluster).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xFF; 64],
        &[0; 64],
        // 16 MiB and one byte; a header that is longer than its frame; an unknown serialisation.
        &[0x00, 0xFF, 0xFF, 0xFD, 0, 0, 0, 0],
        &[0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0],
        &[0, 0, 0, 8, 7, 0, 0, 4, 0, 0, 0, 0],
        // A JSON header that is none.
        &[0, 0, 0, 6, 0, 0, 0, 2, b'[', b']'],
    ] {
        let mut client = Client::broker(&cluster).await;
        client.write(garbage).await;
        client.closed().await;
    }
    other.heartbeat("c", &[]).await;
}

#[tokio::test]
async fn a_request_in_pieces_is_a_request() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut frames = BytesMut::new();
    let body = heartbeat("c", &[]);
    for (opaque, serialization) in [(100, Serialization::Binary), (101, Serialization::Json)] {
        let head = Head::request(RequestCode::HEART_BEAT, opaque);
        frame::encode_head(
            &mut frames,
            serialization,
            &head,
            None,
            &Heartbeat,
            body.len(),
        )
        .unwrap();
        frames.extend_from_slice(&body);
    }
    for byte in frames {
        client.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    for opaque in [100, 101] {
        let answer = client.answer(opaque).await;
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .in_memory()
        .start()
        .await
        .unwrap();
    let broker = cluster.broker("broker-a").addr();
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), &[0; 1 << 20]).await;
    let mut deaf = cluster.environment().connect(broker).await.unwrap();
    let mut request = BytesMut::new();
    let header = pull("t", 0, 0, "*");
    let head = Head::request(RequestCode::PULL_MESSAGE, 1);
    frame::encode_head(&mut request, Serialization::Json, &head, None, &header, 0).unwrap();
    let mut asked = 0_usize;
    let refused = async {
        while deaf.write_all(&request).await.is_ok() {
            asked += 1;
        }
    };
    // The broker stops reading, and then waits for a minute.
    tokio::time::timeout(Duration::from_secs(120), refused)
        .await
        .unwrap();
    let most = (8 << 20) / (1 << 20) + (256 << 10) / request.len() + 64 * 1024 / request.len();
    assert!(asked <= most + 10, "it took {asked} requests");
    assert_eq!(client.pull(&header).await.messages.len(), 1);
}

#[tokio::test]
async fn a_connection_can_ask_for_much_at_once() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut opaques = Vec::new();
    for _ in 0..2_000 {
        opaques.push(client.send(&message("t", 0, ""), &[7; 100]).await);
    }
    for (at, opaque) in opaques.into_iter().enumerate() {
        let answer = client.answer(opaque).await;
        let offset = answer
            .fields
            .find("queueOffset")
            .map(|offset| offset.parse());
        assert_eq!(offset, Some(Ok(at)));
    }
    let waiting = client.send(&pull("t", 0, 0, "*"), b"").await;
    tokio::time::timeout(SOON, client.answer(waiting))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_peer_that_reads_gets_whatever_it_asked_for_at_once() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), &[7; 4 << 20]).await;
    let mut requests = BytesMut::new();
    for opaque in 1_000..1_100 {
        let head = Head::request(RequestCode::PULL_MESSAGE, opaque);
        let header = pull("t", 0, 0, "*");
        frame::encode_head(
            &mut requests,
            Serialization::Binary,
            &head,
            None,
            &header,
            0,
        )
        .unwrap();
    }
    client.write(&requests).await;
    for opaque in 1_000..1_100 {
        let answer = client.answer(opaque).await;
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_do_gives_a_deaf_peer_no_more_time() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .in_memory()
        .start()
        .await
        .unwrap();
    let broker = cluster.broker("broker-a");
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), &[0; 4 << 20]).await;
    let mut deaf = Client::broker(&cluster).await;
    let member = consumer("g", &[("t", "*", 1)]);
    deaf.heartbeat("deaf", std::slice::from_ref(&member)).await;
    for _ in 0..8 {
        deaf.send(&pull("t", 0, 0, "*"), b"").await;
    }
    let began = tokio::time::Instant::now();
    while broker.connections() > 1 {
        // Others come and go, and every time it is to be told.
        let mut other = Client::broker(&cluster).await;
        other
            .heartbeat("other", std::slice::from_ref(&member))
            .await;
        drop(other);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(began.elapsed() < Duration::from_secs(90));
    }
}

#[tokio::test]
async fn requests_before_one_that_ends_the_connection_are_served() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let rule = cluster.faults().on(RequestCode::HEART_BEAT).disconnect();
    let mut client = Client::broker(&cluster).await;
    let mut requests = BytesMut::new();
    let head = Head::request(RequestCode::SEND_MESSAGE_V2, 500);
    let header = message("t", 0, "");
    frame::encode_head(
        &mut requests,
        Serialization::Binary,
        &head,
        None,
        &header,
        1,
    )
    .unwrap();
    requests.extend_from_slice(b"m");
    let body = heartbeat("c", &[]);
    let head = Head::request(RequestCode::HEART_BEAT, 501);
    let len = body.len();
    frame::encode_head(
        &mut requests,
        Serialization::Binary,
        &head,
        None,
        &Heartbeat,
        len,
    )
    .unwrap();
    requests.extend_from_slice(&body);
    client.write(&requests).await;
    let answer = client.answer(500).await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    client.closed().await;
    assert_eq!(rule.hits(), 1);
}

#[tokio::test]
async fn numbers_at_the_ends_of_their_ranges_are_survived() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    // As many retry queues as there are numbers.
    let group = br#"{"groupName":"g","retryQueueNums":2147483647,"retryMaxTimes":2147483647}"#;
    let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    let opaque = client.send_code(code, &NoFields, group).await;
    let answer = client.answer(opaque).await;
    assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER);
    // A message that was sent back as often as it can be.
    let often = SendMessage {
        reconsume_times: Some(i32::MAX - 1),
        max_reconsume_times: Some(i32::MAX),
        ..message("t", 0, "")
    };
    client.produce(&often, b"m").await;
    // Half messages from the beginning of time, with an id that no reader takes.
    for born_timestamp in [i64::MIN, i64::MAX] {
        let half = SendMessage {
            born_timestamp,
            sys_flag: TransactionType::Prepared.bits(),
            ..message(
                "t",
                0,
                "TRAN_MSG\x01true\x02PGROUP\x01p\x02UNIQ_KEY\x01a\x01b\x02",
            )
        };
        client.call(&half, b"m").await;
    }
    let back = SendBack {
        offset: 0,
        group: "g".into(),
        delay_level: 0,
        max_reconsume_times: Some(i32::MAX),
        ..SendBack::default()
    };
    client.call(&back, b"").await;
    cluster.clock().advance(Duration::from_secs(60));
    client.heartbeat("c", &[]).await;
}
