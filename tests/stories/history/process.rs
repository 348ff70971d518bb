//! A member in a process of its own, which signals can end. It tells its trial of every message on its standard output, and goes on
//! when it is answered: so the trial knows what it did also when it is killed in the middle of it.

use std::collections::HashMap;
use std::env;
use std::io::stdin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, MessageExt, MessageQueue, PushConsumer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::listening::id;
use super::record::{Event, Recorder};
use crate::target::PATIENCE;

/// The variable that tells a process its name server, its topic and its group.
const TOLD: &str = "ROCKETMQ_STORY_MEMBER";

/// The test that is the process.
const MEMBER: &str = "faults::processes::a_member_of_its_own_process";

/// The trial's end of the process. Dropping it kills the process.
pub struct Process {
    child: Child,
    hearing: JoinHandle<()>,
}

impl Process {
    /// Starts a process, and waits until it is a member. Gives its identity at brokers, too.
    pub async fn start(told: &[&str], member: usize, recorder: Recorder) -> (Self, String) {
        let mut child = Command::new(env::current_exe().expect("a program"))
            .args(["--exact", MEMBER, "--ignored", "--nocapture"])
            .env(TOLD, told.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start a process");
        let answers = child.stdin.take().expect("its standard input");
        let mut said = BufReader::new(child.stdout.take().expect("its standard output"));
        let mut line = String::new();
        let joining = async {
            loop {
                line.clear();
                let count = said.read_line(&mut line).await.expect("a line");
                assert!(count > 0, "the process ended before it was a member");
                if let Some(client_id) = line.strip_prefix("client ") {
                    break client_id.trim().to_owned();
                }
            }
        };
        let client_id = timeout(PATIENCE, joining).await.expect("a member");
        let hearing = tokio::spawn(hear(said, answers, member, recorder));
        (Self { child, hearing }, client_id)
    }

    /// Sends it a signal, and waits until it has ended and everything that it said is heard.
    pub async fn end(mut self, signal: &str) -> ExitStatus {
        let process = self.child.id().expect("a process that lives");
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &process.to_string()]);
        assert!(kill.status().await.expect("run kill").success());
        let ended = timeout(PATIENCE, self.child.wait());
        let status = ended.await.expect("an end in time").expect("its end");
        self.hearing.await.expect("what it said");
        status
    }
}

/// Notes what a process says, and answers when it has finished a message.
async fn hear(
    said: BufReader<ChildStdout>,
    mut answers: ChildStdin,
    member: usize,
    recorder: Recorder,
) {
    let mut lines = said.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<_> = line.split(' ').collect();
        let [what, topic, broker, queue, offset, id] = words[..] else {
            continue;
        };
        let queue = MessageQueue::new(topic, broker, queue.parse().expect("a queue"));
        let (offset, id) = (
            offset.parse().expect("an offset"),
            id.parse().expect("an id"),
        );
        let delivered = Event::Delivered {
            member,
            queue: queue.clone(),
            offset,
            id,
        };
        let consumed = Event::Consumed {
            member,
            queue,
            offset,
            id,
            success: true,
        };
        match what {
            "delivered" => recorder.add(delivered),
            "consumed" => {
                recorder.add(consumed);
                // Nobody may be there any more.
                let _ = answers.write_all(format!("{id}\n").as_bytes()).await;
            }
            _ => {}
        }
    }
}

/// What waits for the trial's answers, by the numbers of messages.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

/// The process: a member until it is asked to end, if it was told of which group.
pub async fn live() {
    let Ok(told) = env::var(TOLD) else {
        return;
    };
    let told: Vec<_> = told.split(' ').collect();
    let [name_server, topic, group] = told[..] else {
        panic!("{told:?}");
    };
    let mut terminate = signal(SignalKind::terminate()).expect("a signal");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal");
    let waiting = Waiting::default();
    let answered = Arc::clone(&waiting);
    // A thread that nothing waits for: what blocks on the standard input cannot be ended.
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let id = line.parse().expect("a number");
            if let Some(waits) = answered.lock().remove(&id) {
                let _ = waits.send(());
            }
        }
    });
    let consumer = PushConsumer::builder(group)
        .name_server(name_server)
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(waiting, listen);
    let consumer = consumer.start().await.expect("start a consumer");
    println!("\nclient {}", consumer.client_id());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    consumer.shutdown().await.expect("shut a consumer down");
}

async fn listen(waiting: Waiting, messages: Vec<MessageExt>) -> ConsumeStatus {
    for message in &messages {
        let (queue, offset, id) = (message.queue(), message.queue_offset(), id(message.body()));
        let about = format!(
            "{} {} {} {offset} {id}",
            queue.topic, queue.broker_name, queue.queue_id
        );
        println!("delivered {about}");
        let (answer, answered) = oneshot::channel();
        waiting.lock().insert(id, answer);
        println!("consumed {about}");
        let _ = answered.await;
    }
    ConsumeStatus::CONSUME_SUCCESS
}
