//! How long an audit is.

use std::env;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// How many faults a round has, about.
const FAULTS: usize = 10;

#[derive(Debug, Clone)]
pub struct Plan {
    /// Whether somebody asked for it, and not for the stories.
    pub is_long: bool,
    /// How many messages are to be acknowledged, at least, in all rounds together.
    pub messages: usize,
    pub faults: usize,
    pub rounds: usize,
    /// What makes the faults and their times. The same ones come again with it, as far as the machine does.
    pub seed: u64,
    /// After how long no other round is begun.
    pub minutes: Option<Duration>,
    /// How many sends there may be at a time.
    pub senders: usize,
    /// How many rounds there are at a time: most of them wait for something that takes its time. On a real broker it is one.
    pub lanes: usize,
    /// The only round to run: one in which something was found.
    pub only: Option<usize>,
    /// Where a round in which something is found leaves what happened in it.
    pub folder: Option<PathBuf>,
    /// To which file the result goes.
    pub file: Option<PathBuf>,
}

impl Plan {
    /// From `ROCKETMQ_TEST_AUDIT`: `name=value`, separated by commas.
    pub fn from_env() -> Self {
        let mut plan = Self {
            is_long: false,
            messages: 2000,
            faults: 10,
            rounds: 0,
            seed: 1,
            minutes: None,
            senders: 4,
            lanes: 1,
            only: None,
            folder: None,
            file: None,
        };
        if let Ok(told) = env::var("ROCKETMQ_TEST_AUDIT") {
            plan.is_long = true;
            plan.senders = 32;
            plan.lanes = 4;
            for pair in told.split(',') {
                let (name, value) = pair.split_once('=').expect("name=value");
                plan.set(name.trim(), value.trim());
            }
        }
        if plan.rounds == 0 {
            plan.rounds = plan.faults.div_ceil(FAULTS).max(1);
        }
        plan
    }

    /// The numbers of its rounds.
    pub fn numbers(&self) -> Range<usize> {
        self.only.map_or(0..self.rounds, |only| only..only + 1)
    }

    fn set(&mut self, name: &str, value: &str) {
        let number = || value.parse::<u64>().expect("a number");
        match name {
            "messages" => self.messages = number() as usize,
            "faults" => self.faults = number() as usize,
            "rounds" => self.rounds = number() as usize,
            "seed" => self.seed = number(),
            "minutes" => self.minutes = Some(Duration::from_secs(60 * number())),
            "senders" => self.senders = number() as usize,
            "lanes" => self.lanes = number() as usize,
            "only" => self.only = Some(number() as usize),
            "folder" => self.folder = Some(value.into()),
            "file" => self.file = Some(value.into()),
            _ => panic!("an audit has no {name}"),
        }
    }
}

/// What the audit runs on, in words.
pub fn target(is_testkit: bool) -> String {
    if is_testkit {
        return "testkit".to_owned();
    }
    let version = env::var("ROCKETMQ_TEST_VERSION");
    format!("Apache {}", version.as_deref().unwrap_or("5.4.0"))
}
