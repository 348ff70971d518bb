//! A rule that is in force, in the hands of a test.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fault::plan::{ActiveRule, Plan};

/// How long a rule is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A rule in force. It stays so until it is [removed](Self::remove), also when this handle is dropped.
///
/// Clones are handles of one rule.
#[derive(Clone)]
pub struct Rule {
    plan: Arc<Plan>,
    active: Arc<ActiveRule>,
}

/// A rule that holds requests or answers back until it is told to let them go.
///
/// It is a [`Rule`], too. Removing it lets everything go in the order in which it came.
#[derive(Clone)]
pub struct Holding {
    rule: Rule,
}

/// A rule did not hit in time as often as was waited for. Prints what the rule is, also by `unwrap`.
#[derive(Clone)]
pub struct NotHit {
    rule: String,
    what: &'static str,
    wanted: u64,
    came: u64,
    matched: u64,
}

impl Rule {
    pub(crate) const fn new(plan: Arc<Plan>, active: Arc<ActiveRule>) -> Self {
        Self { plan, active }
    }

    /// How many requests it has hit.
    pub fn hits(&self) -> u64 {
        *self.active.hits.borrow()
    }

    /// How many requests it was for, hit or spared.
    pub fn matched(&self) -> u64 {
        self.active.matched()
    }

    /// Waits until it has hit so many requests in all.
    ///
    /// # Errors
    /// [`NotHit`] when it has hit fewer after 10 s of tokio's time.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_hits(&self, hits: u64) -> Result<(), NotHit> {
        self.wait(&self.active.hits, "hit", hits).await
    }

    /// Takes the rule out of force. What it delays or trickles goes on so.
    pub fn remove(&self) {
        self.plan.remove(&self.active);
    }

    async fn wait(
        &self,
        counter: &watch::Sender<u64>,
        what: &'static str,
        wanted: u64,
    ) -> Result<(), NotHit> {
        let mut counter = counter.subscribe();
        let enough = counter.wait_for(|seen| *seen >= wanted);
        let reached = tokio::time::timeout(PATIENCE, enough).await.is_ok();
        if reached {
            return Ok(());
        }
        Err(NotHit {
            rule: self.active.to_string(),
            what,
            wanted,
            came: *counter.borrow(),
            matched: self.matched(),
        })
    }
}

impl Holding {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self { rule }
    }

    /// How many it holds now.
    pub fn held(&self) -> u64 {
        *self.active.held_count.borrow()
    }

    /// Waits until it holds so many at once.
    ///
    /// # Errors
    /// [`NotHit`] when it holds fewer after 10 s of tokio's time.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_held(&self, held: u64) -> Result<(), NotHit> {
        self.wait(&self.active.held_count, "held", held).await
    }

    /// Lets some go, in the order of these places: 0 is the one that is held longest. The others stay.
    pub fn release(&self, places: impl IntoIterator<Item = usize>) {
        self.active.release(places);
    }

    /// Lets all go, in the order in which they came. The rule goes on holding what comes then.
    pub fn release_all(&self) {
        self.active.release_all();
    }
}

impl Deref for Holding {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        &self.rule
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hits, matched) = (self.hits(), self.matched());
        write!(f, "{} (hit {hits} of {matched})", self.active)
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} held", self.rule, self.held())
    }
}

impl fmt::Display for NotHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            what,
            wanted,
            came,
            matched,
        } = self;
        write!(
            f,
            "the rule \"{rule}\" {what} {came} of {wanted} in {PATIENCE:?}; it was for {matched}"
        )
    }
}

impl fmt::Debug for NotHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NotHit {}
