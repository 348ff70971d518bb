//! The servers of a story's own, which it stops, kills and starts: nodes of the testkit, or processes of Apache RocketMQ.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Kind, Target};

/// An Apache RocketMQ that one story may break.
pub(super) struct OwnApache {
    pub(super) dir: tempfile::TempDir,
}

impl Target {
    /// Ends a broker as a crash does.
    pub async fn kill_broker(&self, name: &str) {
        match self.cluster() {
            Some(cluster) => cluster.broker(name).kill().await,
            None => self.servers().down(&["--kill", name]).await,
        }
    }

    /// Ends a broker in order.
    pub async fn stop_broker(&self, name: &str) {
        match self.cluster() {
            Some(cluster) => cluster.broker(name).stop().await,
            None => self.servers().down(&[name]).await,
        }
    }

    pub async fn start_broker(&self, name: &str) {
        match self.cluster() {
            Some(cluster) => cluster.broker(name).restart().await.expect("restart"),
            None => self.servers().up(&[name]).await,
        }
    }

    /// Lets a broker neither do nor answer anything, as a process that is stopped by a signal.
    pub async fn pause_broker(&self, name: &str) {
        match self.cluster() {
            Some(cluster) => drop(cluster.broker(name).faults().on_any().drop()),
            None => self.servers().signal("STOP", name).await,
        }
    }

    /// Lets a paused broker go on.
    pub async fn resume_broker(&self, name: &str) {
        match self.cluster() {
            Some(cluster) => cluster.broker(name).faults().clear(),
            None => self.servers().signal("CONT", name).await,
        }
    }

    pub async fn stop_name_server(&self) {
        match self.cluster() {
            Some(cluster) => cluster.name_server().stop().await,
            None => self.servers().down(&["namesrv"]).await,
        }
    }

    pub async fn start_name_server(&self) {
        match self.cluster() {
            Some(cluster) => cluster.name_server().start().expect("start"),
            None => self.servers().up(&["namesrv"]).await,
        }
    }

    /// The servers of a real target of this story's own.
    fn servers(&self) -> &OwnApache {
        match &self.kind {
            Kind::Apache { own: Some(own), .. } => own,
            _ => panic!("the target is not this story's own"),
        }
    }
}

impl OwnApache {
    async fn up(&self, args: &[&str]) {
        let mut command = script("up", self.dir.path());
        command.args(args);
        run(command).await;
    }

    async fn signal(&self, signal: &str, name: &str) {
        let file = self.dir.path().join(format!("{name}.pid"));
        let pid = std::fs::read_to_string(file).expect("a running server");
        let mut command = tokio::process::Command::new("kill");
        command.args([&format!("-{signal}"), pid.trim()]);
        run(command).await;
    }

    async fn down(&self, args: &[&str]) {
        let mut command = script("down", self.dir.path());
        command.args(args);
        run(command).await;
    }
}

impl Drop for OwnApache {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apache/down");
        let ended = std::process::Command::new(script)
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--kill")
            .status();
        assert!(
            ended.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "stop the servers"
        );
    }
}

/// One of the programs in `tests/apache`, on a folder.
pub fn script(name: &str, dir: &Path) -> tokio::process::Command {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/apache", name]
        .iter()
        .collect();
    let mut command = tokio::process::Command::new(path);
    command.arg("--dir").arg(dir);
    command
}

/// Runs a program to its end, and gives what it printed.
pub async fn run(mut command: tokio::process::Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("run a script");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
