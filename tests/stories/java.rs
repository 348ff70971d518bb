//! Apache's Java client in a process of its own, for stories that two clients act in.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::target::{PATIENCE, Target, script};

/// A process with Java clients. Dropping it ends it at once.
pub struct Java {
    child: Child,
    commands: ChildStdin,
    outcomes: mpsc::UnboundedReceiver<Value>,
    heard: Arc<Mutex<Heard>>,
    reading: JoinHandle<()>,
    home: TempDir,
}

/// What its consumers have received, and who hears of that at once, by the consumers' names.
#[derive(Default)]
struct Heard {
    messages: Vec<Value>,
    hears: HashMap<String, Hears>,
}

type Hears = Box<dyn Fn(&Value) + Send>;

impl Java {
    /// Clients of the target's name server, with options for their JVM; `None` after saying why there are none.
    pub async fn start(target: &Target, options: &[&str]) -> Option<Self> {
        let Some(version) = target.java_version() else {
            target.skip("ROCKETMQ_TEST_JAVA names no release whose Java client is to be taken");
            return None;
        };
        Some(Self::launch(&version, target.name_server(), options).await)
    }

    /// Clients of one release, whatever the target.
    pub async fn launch(version: &str, name_server: &str, options: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("make a folder");
        let errors = std::fs::File::create(home.path().join("errors")).expect("create a file");
        let mut command = script("peer", home.path());
        command.args(["--version", version]);
        for option in options {
            command.args(["--jvm", option]);
        }
        let mut child = command
            .arg(name_server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("start Java");
        let (sender, outcomes) = mpsc::unbounded_channel();
        let heard = Arc::default();
        let printed = child.stdout.take().expect("the standard output");
        let reading = tokio::spawn(read(printed, sender, Arc::clone(&heard)));
        Self {
            commands: child.stdin.take().expect("the standard input"),
            child,
            outcomes,
            heard,
            reading,
            home,
        }
    }

    /// Runs a command of `tests/apache/java/Peer.java`, and gives its result.
    pub async fn ask(&mut self, name: &str, mut command: Value) -> Value {
        command["do"] = name.into();
        let line = format!("{command}\n");
        let asked = async {
            self.commands.write_all(line.as_bytes()).await.ok()?;
            self.outcomes.recv().await
        };
        let outcome = tokio::time::timeout(PATIENCE, asked).await;
        match outcome {
            Ok(Some(mut outcome)) if outcome.get("ok").is_some() => outcome["ok"].take(),
            other => panic!("{command}: {other:?}; Java said {}", self.errors()),
        }
    }

    /// Starts a consumer that begins at the first offset and fails no message.
    pub async fn consume(&mut self, name: &str, group: &str, topic: &str) {
        let command = json!({"as": name, "group": group, "topic": topic, "tags": "*"});
        self.ask("consume", command).await;
    }

    /// The same, one message at a time, of which somebody hears at once.
    pub async fn consume_heard(
        &mut self,
        name: &str,
        group: &str,
        topic: &str,
        hears: impl Fn(&Value) + Send + 'static,
    ) {
        let hears: Hears = Box::new(hears);
        self.heard.lock().hears.insert(name.to_owned(), hears);
        let command =
            json!({"as": name, "group": group, "topic": topic, "tags": "*", "threads": 1});
        self.ask("consume", command).await;
    }

    /// What all consumers have received, as JSON of `Peer.java`.
    pub fn messages(&self) -> Vec<Value> {
        self.heard.lock().messages.clone()
    }

    /// Kills the process, and has heard everything that it said.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("kill Java");
        self.reading.await.expect("what it said");
    }

    /// Ends the clients in order.
    pub async fn shutdown(mut self) {
        drop(self.commands);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(matches!(ended, Ok(Ok(status)) if status.success()));
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.home.path().join("errors")).unwrap_or_default()
    }
}

/// Sorts what Java prints into outcomes and messages.
async fn read(
    printed: ChildStdout,
    outcomes: mpsc::UnboundedSender<Value>,
    heard: Arc<Mutex<Heard>>,
) {
    let mut lines = BufReader::new(printed).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut value: Value = serde_json::from_str(&line).expect("JSON");
        if value.get("message").is_some() {
            let message = value["message"].take();
            let mut heard = heard.lock();
            let client = message["client"].as_str();
            if let Some(hears) = client.and_then(|client| heard.hears.get(client)) {
                hears(&message);
            }
            heard.messages.push(message);
        } else if outcomes.send(value).is_err() {
            return;
        }
    }
}
