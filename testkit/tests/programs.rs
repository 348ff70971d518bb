//! The programs: they start, say so, serve, and end on a signal.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rocketmq_testkit::Cluster;
use support::{Client, message, pull};

struct Program {
    child: Child,
    said: String,
}

impl Program {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env_remove("NAMESRV_ADDR")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        Self { child, said }
    }

    fn signal(mut self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn they_serve_until_a_signal() {
    let names = Program::start(env!("CARGO_BIN_EXE_mqnamesrv"), &["-p", "0"]);
    assert!(names.said.contains("boot success"), "{}", names.said);
    let addr = names.said.trim_end().rsplit(' ').next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.conf");
    std::fs::write(
        &config,
        "brokerName=broker-x\nlistenPort=0\ndefaultTopicQueueNums=2\n",
    )
    .unwrap();
    let broker = Program::start(
        env!("CARGO_BIN_EXE_mqbroker"),
        &["-n", addr, "-c", config.to_str().unwrap()],
    );
    assert!(broker.said.contains("broker-x"), "{}", broker.said);
    assert!(broker.said.contains("boot success"), "{}", broker.said);

    let any = Cluster::start().await.unwrap();
    let mut client = Client::connect(&any, addr).await;
    let route = client.route("TBW102").await;
    assert_eq!(route.queue_datas[0].write_queue_nums, 2);
    let broker_addr = &route.broker_datas[0].broker_addrs[&0];
    let mut client = Client::connect(&any, broker_addr).await;
    client.produce(&message("t", 0, ""), b"m").await;
    assert_eq!(client.pull(&pull("t", 0, 0, "*")).await.bodies(), [b"m"]);

    broker.signal("TERM");
    names.signal("INT");
}

#[test]
fn what_they_cannot_do_they_refuse() {
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).output().unwrap();
        assert!(!done.status.success(), "{args:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    run(env!("CARGO_BIN_EXE_mqnamesrv"), &["-p", &port]);
    run(env!("CARGO_BIN_EXE_mqbroker"), &["-p", &port]);
    let said = run(env!("CARGO_BIN_EXE_mqbroker"), &["-p", "x"]);
    assert!(said.contains("invalid value"), "{said}");
    run(env!("CARGO_BIN_EXE_mqnamesrv"), &["-c", "/does/not/exist"]);
}
