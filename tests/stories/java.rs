//! Apache's Java client in a process of its own, for stories that two clients act in.

use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;

use crate::target::{PATIENCE, Target, script};

/// A process with Java clients. Dropping it ends it at once.
pub struct Java {
    child: Child,
    commands: ChildStdin,
    outcomes: mpsc::UnboundedReceiver<Value>,
    messages: Arc<Mutex<Vec<Value>>>,
    home: TempDir,
}

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
        let messages = Arc::default();
        let printed = child.stdout.take().expect("the standard output");
        tokio::spawn(read(printed, sender, Arc::clone(&messages)));
        Self {
            commands: child.stdin.take().expect("the standard input"),
            child,
            outcomes,
            messages,
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

    /// What all consumers have received, as JSON of `Peer.java`.
    pub fn messages(&self) -> Vec<Value> {
        self.messages.lock().clone()
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
    messages: Arc<Mutex<Vec<Value>>>,
) {
    let mut lines = BufReader::new(printed).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut value: Value = serde_json::from_str(&line).expect("JSON");
        if value.get("message").is_some() {
            messages.lock().push(value["message"].take());
        } else if outcomes.send(value).is_err() {
            return;
        }
    }
}
