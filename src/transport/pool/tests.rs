//! A pool whose environment counts the attempts and answers them as the test says.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use tokio::io::duplex;

use super::*;
use crate::environment::ByteStream;
use crate::protocol::command::{Command, Serialization};

#[derive(Debug, Default)]
struct Host {
    attempts: AtomicU32,
    /// Attempts up to this number are refused.
    refused: u32,
    /// The peer hangs up as soon as it has accepted.
    hangs_up: bool,
    stalls: bool,
    /// Attempts up to this number panic.
    panics: u32,
}

#[async_trait]
impl Environment for Host {
    async fn connect(&self, _: &str) -> io::Result<Box<dyn ByteStream>> {
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(attempt > self.panics, "the test wants a panic here");
        if self.stalls {
            std::future::pending::<()>().await;
        }
        if attempt <= self.refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(64);
        if !self.hangs_up {
            // Open until the test's runtime ends.
            tokio::spawn(async move {
                let _theirs = theirs;
                std::future::pending::<()>().await;
            });
        }
        Ok(Box::new(ours))
    }
}

struct Deaf;

impl Inbound for Deaf {
    fn connected(&self, _: &Connection) {}

    fn request(&self, _: &Connection, _: Command) {}
}

fn pool(host: Host) -> (Arc<Host>, Arc<Pool>) {
    let host = Arc::new(host);
    let limits = Limits {
        serialization: Serialization::Json,
        idle: Duration::from_secs(120),
        outbox: 1024,
        namespace: None,
    };
    let environment = Arc::clone(&host) as Arc<dyn Environment>;
    let (timeout, tasks, token) = (
        Duration::from_secs(3),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    (
        host,
        Pool::new(environment, limits, timeout, Arc::new(Deaf), tasks, token),
    )
}

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_share_one_attempt() {
    let (host, pool) = pool(Host::default());
    let addr: Arc<str> = "a:1".into();
    let all = join_all((0..1000).map(|_| pool.connect(&addr, within(1)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(host.attempts.load(Ordering::SeqCst), 1);
    assert!(pool.ready("a:1").is_some() && pool.ready("b:1").is_none());
    assert_eq!(pool.live().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_is_left_alone_for_its_pause() {
    let (host, pool) = pool(Host {
        refused: u32::MAX,
        ..Host::default()
    });
    let addr: Arc<str> = "a:1".into();
    let until = within(60);
    while Instant::now() < until {
        assert!(pool.connect(&addr, until).await.is_err());
    }
    let attempts = host.attempts.load(Ordering::SeqCst);
    assert!(
        (45..=70).contains(&attempts),
        "{attempts} attempts in a minute"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_at_once_is_no_reason_to_storm() {
    let (host, pool) = pool(Host {
        hangs_up: true,
        ..Host::default()
    });
    let addr: Arc<str> = "a:1".into();
    let until = within(60);
    while Instant::now() < until {
        if pool.connect(&addr, until).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let attempts = host.attempts.load(Ordering::SeqCst);
    assert!(attempts <= 80, "{attempts} attempts in a minute");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deadline_and_connecting_with_its_own() {
    let (host, pool) = pool(Host {
        stalls: true,
        ..Host::default()
    });
    let addr: Arc<str> = "a:1".into();
    let began = Instant::now();
    assert!(matches!(
        pool.connect(&addr, within(1)).await,
        Err(CallError::TimedOut(Delivery::No))
    ));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert!(matches!(
        pool.connect(&addr, within(60)).await,
        Err(CallError::Lost(Cause::Connect(_), _))
    ));
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(host.attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_caller_leaves_the_attempt_to_the_others() {
    let (host, pool) = pool(Host::default());
    let addr: Arc<str> = "a:1".into();
    assert!(pool.connect(&addr, within(1)).now_or_never().is_none());
    assert!(pool.connect(&addr, within(1)).await.is_ok());
    assert_eq!(host.attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_has_failed_like_any_other() {
    let (host, pool) = pool(Host {
        panics: 1,
        ..Host::default()
    });
    let addr: Arc<str> = "a:1".into();
    assert!(matches!(
        pool.connect(&addr, within(1)).await,
        Err(CallError::Lost(Cause::Connect(_), Delivery::No))
    ));
    assert!(pool.connect(&addr, within(1)).await.is_ok());
    assert_eq!(host.attempts.load(Ordering::SeqCst), 2);
}
