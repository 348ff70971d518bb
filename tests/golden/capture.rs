//! Makes the golden files again, from Apache's own clients and servers.
//!
//! A proxy stands before each server. The Java client and the admin tool go through the whole protocol, and of what passed one frame
//! of each kind is written down.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Serialization};
use rocketmq_sdk::protocol::message::StoredMessages;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::golden_folder;
use crate::java::Java;
use crate::proxy::{Passed, Recorder};
use crate::target::{PATIENCE, run, script};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, needs Java, and writes into this folder"]
async fn capture() {
    for version in ["5.4.0", "4.9.7"] {
        let apache = Apache::start(version).await;
        Tour::start(&apache, "json", &[]).await.go().await;
        let first = apache.recorder.passed().len();
        let binary = ["-Drocketmq.serialize.type=ROCKETMQ"];
        Tour::start(&apache, "binary", &binary).await.go().await;
        let second = apache.recorder.passed().len();
        apache.stop().await;

        let mut passed = apache.recorder.passed();
        // What the servers said at their start and their end belongs to the first tour.
        let at_the_end = passed.split_off(second);
        let of_the_second = passed.split_off(first);
        passed.extend(at_the_end);
        write(&format!("{version}-json.txt"), &passed);
        write(&format!("{version}-binary.txt"), &of_the_second);
    }
}

/// An Apache RocketMQ whose servers are met through proxies only.
struct Apache {
    version: &'static str,
    dir: TempDir,
    recorder: Recorder,
    name_server: String,
}

impl Apache {
    async fn start(version: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("make a folder");
        let recorder = Recorder::default();
        let mut up = script("up", dir.path());
        up.args(["--version", version, "--free-ports", "namesrv"]);
        let printed = run(up).await;
        let (_, real) = printed.trim().rsplit_once('=').expect("an address");
        let name_server = recorder.proxy(real, real).await;

        let mut up = script("up", dir.path());
        up.args(["--set", &format!("namesrvAddr={name_server}")]);
        // 5.x asks its clients no more, unless it is told to.
        up.args(["--set", "useServerSideResetOffset=false", "broker-a"]);
        run(up).await;
        let config =
            fs::read_to_string(dir.path().join("broker-a.conf")).expect("the configuration");
        let port = config
            .lines()
            .find_map(|line| line.strip_prefix("listenPort="));
        let broker = format!("127.0.0.1:{}", port.expect("a port"));
        recorder.proxy(&broker, &broker).await;
        Self {
            version,
            dir,
            recorder,
            name_server,
        }
    }

    async fn stop(&self) {
        let mut down = script("down", self.dir.path());
        down.arg("broker-a");
        run(down).await;
    }

    async fn admin(&self, args: &[&str]) {
        let mut command = script("mqadmin", self.dir.path());
        command.args(args).args(["-n", &self.name_server]);
        run(command).await;
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let mut down = std::process::Command::new("tests/apache/down");
        let ended = down
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--kill")
            .status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// The Java client on its way through the protocol.
struct Tour<'a> {
    apache: &'a Apache,
    /// Of the tour; its topics and groups have it in their names.
    name: &'static str,
    java: Java,
    /// Where broadcasting consumers keep their offsets.
    offsets: TempDir,
}

impl<'a> Tour<'a> {
    async fn start(apache: &'a Apache, name: &'static str, options: &[&str]) -> Self {
        let offsets = tempfile::tempdir().expect("make a folder");
        let folder = offsets.path().display();
        let folder = format!("-Drocketmq.client.localOffsetStoreDir={folder}");
        let mut options = options.to_vec();
        options.push(&folder);
        let java = Java::launch(apache.version, &apache.name_server, &options).await;
        Self {
            apache,
            name,
            java,
            offsets,
        }
    }

    async fn go(mut self) {
        self.send().await;
        self.consume().await;
        self.consume_in_order().await;
        self.request().await;
        self.check_a_transaction().await;
        self.administer().await;
        if self.name == "json" {
            self.ask_as_an_old_client().await;
        }
        self.java.shutdown().await;
    }

    fn named(&self, base: &str) -> String {
        format!("{base}_{}", self.name)
    }

    async fn send(&mut self) {
        let topic = self.named("golden");
        let large = "compressed ".repeat(400);
        let messages = [
            json!({"body": hex("plain")}),
            json!({"body": hex("tagged"), "tag": "标签", "keys": "键1 k2", "flag": -7, "properties": {"名": "值 🚀"}}),
            json!({"body": hex(&large), "tag": "TagA", "flag": 4096}),
            json!({"body": hex("order"), "shardingKey": "order-7"}),
            json!({"body": hex("later"), "delayLevel": 1}),
        ];
        for mut message in messages {
            message["topic"] = topic.clone().into();
            message["queue"] = 1.into();
            if message.get("shardingKey").is_some() {
                message.as_object_mut().expect("an object").remove("queue");
            }
            self.java.ask("send", message).await;
        }
        let batch = |body: &str, key: &str| json!({"topic": topic, "body": hex(body), "keys": key, "tag": "TagB"});
        let messages = [batch("first", "one"), batch("second", "two")];
        self.java.ask("batch", json!({"messages": messages})).await;
        let half = json!({"topic": topic, "body": hex("half"), "state": "COMMIT_MESSAGE"});
        self.java.ask("transaction", half).await;
    }

    async fn consume(&mut self) {
        let (topic, group) = (self.named("golden"), self.named("push"));
        let lite = json!({"group": self.named("lite"), "topic": topic, "tags": "*"});
        self.java.ask("poll", lite).await;
        let consume = |name: &str, group: &str| json!({"as": name, "group": group, "topic": topic, "tags": "*"});
        let mut tagged = consume("push", &group);
        tagged["tags"] = "TagA || 标签 || 🚀".into();
        self.java.ask("consume", tagged.clone()).await;
        self.wait_for("push", 2).await;
        tagged["as"] = "second".into();
        self.java.ask("consume", tagged).await;
        self.wait_until("a notice of a new member", |passed| {
            is(passed, RequestCode::NOTIFY_CONSUMER_IDS_CHANGED)
        })
        .await;
        self.java.ask("stop", json!({"as": "second"})).await;

        let mut sql = consume("sql", &self.named("sql"));
        sql["sql"] = "flag IS NOT NULL AND a BETWEEN 1 AND 3".into();
        self.java.ask("consume", sql).await;

        let mut failing = consume("failing", &self.named("failing"));
        (failing["tags"], failing["failures"]) = ("TagA".into(), 1.into());
        self.java.ask("consume", failing).await;
        self.wait_until("a message was sent back", |passed| {
            is(passed, RequestCode::CONSUMER_SEND_MSG_BACK)
        })
        .await;

        let group = self.named("broadcast");
        let mut broadcast = consume("broadcast", &group);
        broadcast["broadcast"] = true.into();
        self.java.ask("consume", broadcast).await;
        self.wait_for("broadcast", 7).await;
        self.java.ask("stop", json!({"as": "broadcast"})).await;
        let offsets = find_file(self.offsets.path(), "offsets.json").expect("an offset file");
        let kept = format!("{}-{}-offsets.json", self.apache.version, self.name);
        fs::copy(offsets, golden_folder().join(kept)).expect("copy the offset file");
    }

    async fn consume_in_order(&mut self) {
        let topic = self.named("golden");
        let orderly = json!({"as": "orderly", "group": self.named("orderly"), "topic": topic, "tags": "*", "orderly": true});
        self.java.ask("consume", orderly).await;
        self.wait_for("orderly", 7).await;
        self.java.ask("stop", json!({"as": "orderly"})).await;
    }

    async fn request(&mut self) {
        let topic = self.named("question");
        let question = json!({"topic": topic, "tag": "ask", "body": hex("question")});
        // The consumer finds the topic only if it is there.
        let nothing = json!({"topic": topic, "body": hex("nothing")});
        self.java.ask("send", nothing).await;
        let consume = json!({
            "as": "answering", "group": self.named("answering"), "topic": topic, "tags": "ask", "reply": hex("answer"),
        });
        self.java.ask("consume", consume).await;
        let answer = self.java.ask("request", question).await;
        assert_eq!(answer["body"], hex("answer"));
    }

    async fn check_a_transaction(&mut self) {
        let half = json!({
            "topic": self.named("golden"), "body": hex("unknown"), "state": "UNKNOW", "properties": {"checked": "ROLLBACK_MESSAGE"},
        });
        self.java.ask("transaction", half).await;
        self.wait_for("check", 1).await;
    }

    /// What only the admin tool asks for, and what it makes a broker ask of a client.
    async fn administer(&mut self) {
        let (topic, group) = (self.named("golden"), self.named("push"));
        let client = self.client_of(&group);
        let extra = self.named("extra");
        for args in [
            &[
                "updateTopic",
                "-c",
                "DefaultCluster",
                "-t",
                &extra,
                "-r",
                "2",
                "-w",
                "2",
            ][..],
            &["updateSubGroup", "-c", "DefaultCluster", "-g", &extra],
            &["clusterList"],
            &["topicList"],
            &["topicStatus", "-t", &topic],
            &[
                "printMsg",
                "-t",
                &topic,
                "-d",
                "false",
                "-b",
                "2020-01-01#00:00:00:000",
            ],
            &["producerConnection", "-g", "java_producers", "-t", &topic],
            &["consumerConnection", "-g", &group],
            &["consumerProgress", "-g", &group],
            &["queryMsgByKey", "-t", &topic, "-k", "k2"],
            &["consumerStatus", "-g", &group, "-i", &client],
        ] {
            self.apache.admin(args).await;
        }
        let id = self
            .java
            .messages()
            .iter()
            .find(|message| message["client"] == "push")
            .expect("a message")["offsetMsgId"]
            .clone();
        let id = id.as_str().expect("an id");
        let mut directly = vec!["queryMsgById", "-i", id, "-g", &group, "-d", &client];
        if self.apache.version != "4.9.7" {
            directly.extend(["-t", &topic]);
        }
        self.apache.admin(&directly).await;
        self.apache
            .admin(&["resetOffsetByTime", "-g", &group, "-t", &topic, "-s", "now"])
            .await;

        self.apache
            .admin(&["deleteTopic", "-c", "DefaultCluster", "-t", &extra])
            .await;
        self.apache
            .admin(&["deleteSubGroup", "-c", "DefaultCluster", "-g", &extra])
            .await;
    }

    /// The id of a client in a group, from its heartbeat.
    fn client_of(&self, group: &str) -> String {
        let passed = self.apache.recorder.passed();
        let mut bodies = passed
            .iter()
            .filter(|passed| is(passed, RequestCode::HEART_BEAT));
        let body = bodies.find_map(|passed| {
            let body: Value = serde_json::from_slice(&passed.command.body).ok()?;
            body["consumerDataSet"]
                .to_string()
                .contains(group)
                .then_some(body)
        });
        body.expect("a heartbeat")["clientID"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// The name server answers a client of before 4.9.4, which this request says it is, in another dialect of JSON.
    async fn ask_as_an_old_client(&self) {
        let topic = self.named("golden");
        let header = json!({
            "code": 105, "language": "JAVA", "version": 0, "opaque": 1, "flag": 0, "extFields": {"topic": topic},
        });
        let header = header.to_string();
        let mut stream = TcpStream::connect(&self.apache.name_server)
            .await
            .expect("connect");
        let mut bytes = (header.len() as u32 + 4).to_be_bytes().to_vec();
        bytes.extend((header.len() as u32).to_be_bytes());
        bytes.extend(header.as_bytes());
        stream.write_all(&bytes).await.expect("write");
        self.wait_until("the old client was answered", |passed| {
            is(passed, RequestCode::GET_ROUTEINFO_BY_TOPIC) && passed.command.head.version == 0
        })
        .await;
    }

    async fn wait_for(&self, client: &str, count: usize) {
        let received = || {
            let messages = self.java.messages();
            messages
                .iter()
                .filter(|message| message["client"] == client)
                .count()
        };
        wait_until(&format!("{client} had {count} messages"), || {
            received() >= count
        })
        .await;
    }

    async fn wait_until(&self, what: &str, which: impl Fn(&Passed) -> bool) {
        let has_passed = || {
            let passed = self.apache.recorder.passed();
            passed
                .iter()
                .any(|one| which(one) && answer_to(one, &passed).is_some())
        };
        wait_until(what, has_passed).await;
    }
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(
            tokio::time::Instant::now() < until,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is(passed: &Passed, code: RequestCode) -> bool {
    !passed.command.head.is_response() && passed.command.request_code() == code
}

/// The answer to a request; the request itself if it wants none.
fn answer_to<'p>(request: &'p Passed, passed: &'p [Passed]) -> Option<&'p Passed> {
    if request.command.head.is_oneway() {
        return Some(request);
    }
    passed.iter().find(|one| {
        let head = one.command.head;
        one.connection == request.connection
            && one.to_server != request.to_server
            && head.is_response()
            && head.opaque == request.command.head.opaque
    })
}

/// Writes down the first exchange of each kind.
fn write(file: &str, passed: &[Passed]) {
    let mut seen = Vec::new();
    let mut text = String::new();
    for request in passed {
        let Some(answer) = answer_to(request, passed) else {
            continue;
        };
        let Some(kind) = kind(request, &answer.command) else {
            continue;
        };
        let code = request.command.head.code;
        if request.command.head.is_response() || seen.contains(&(code, request.to_server, kind)) {
            continue;
        }
        seen.push((code, request.to_server, kind));
        put(&mut text, code, kind, request);
        if !request.command.head.is_oneway() {
            put(&mut text, code, kind, answer);
        }
    }
    fs::write(golden_folder().join(file), text).expect("write");
}

fn put(text: &mut String, code: i32, kind: &str, passed: &Passed) {
    let what = if passed.command.head.is_response() {
        "response"
    } else {
        "request"
    };
    let from = if passed.to_server { "client" } else { "server" };
    let serialization = match passed.command.serialization() {
        Serialization::Json => "JSON",
        Serialization::Binary => "ROCKETMQ",
    };
    let bytes = hex(&passed.bytes);
    writeln!(text, "{code} {kind} {what} {from} {serialization} {bytes}").expect("text grows");
}

/// Tells exchanges of one code apart; `None` for one that nobody needs.
fn kind(request: &Passed, answer: &Command) -> Option<&'static str> {
    let command = &request.command;
    let body = |text: &str| {
        command
            .body
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let field = |name: &str| command.fields.find(name).unwrap_or_default().into_owned();
    let is_answered = command.head.is_oneway() || answer.response_code() == ResponseCode::SUCCESS;
    command.request_code().name()?;
    Some(match command.request_code() {
        RequestCode::SEND_MESSAGE_V2 if field("h") == "4096" => "compressed",
        RequestCode::SEND_MESSAGE_V2 => *["plain", "tagged", "order", "later", "half", "question"]
            .iter()
            .find(|text| command.body == text.as_bytes())?,
        RequestCode::PULL_MESSAGE => match answer.response_code() {
            ResponseCode::SUCCESS if StoredMessages::new(answer.body.clone()).count() < 3 => {
                return None;
            }
            ResponseCode::SUCCESS => "found",
            ResponseCode::PULL_NOT_FOUND => "nothing-new",
            ResponseCode::PULL_RETRY_IMMEDIATELY => "no-match",
            ResponseCode::PULL_OFFSET_MOVED => "offset-moved",
            _ => "refused",
        },
        RequestCode::HEART_BEAT if body("标签") => "tags",
        RequestCode::HEART_BEAT if body("java_producers") => "producers",
        RequestCode::HEART_BEAT => return None,
        RequestCode::END_TRANSACTION if field("fromTransactionCheck") == "true" => "checked",
        RequestCode::END_TRANSACTION => "committed",
        RequestCode::GET_ROUTEINFO_BY_TOPIC if command.head.version == 0 => "old-client",
        RequestCode::GET_ROUTEINFO_BY_TOPIC
            if is_answered && field("topic").starts_with("golden") =>
        {
            "known"
        }
        RequestCode::GET_ROUTEINFO_BY_TOPIC if !is_answered => "unknown",
        RequestCode::GET_ROUTEINFO_BY_TOPIC => return None,
        _ if is_answered => "done",
        _ => "refused",
    })
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return find_file(&path, name);
        }
        (entry.file_name() == name).then_some(path)
    })
}
