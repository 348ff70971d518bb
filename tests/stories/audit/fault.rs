//! What goes wrong for a while.

use rand::RngExt;
use rand::rngs::StdRng;
use rocketmq_testkit::{Disk, RouteHandle, Rule, Storm};

use super::spoil::Spoil;
use super::world::World;

#[derive(Debug, Clone)]
pub enum Fault {
    Killed(String),
    Stopped(String),
    /// Suspended as by a signal.
    Paused(String),
    /// It takes what it is asked, and neither does nor answers it.
    Mute(String),
    Disk(String, Disk),
    NoNameServer,
    Route(Route),
    Spoilt(Spoil),
    MemberKilled,
    Joins,
    Leaves,
    Storm(u32),
    /// A broker lists members that do not consume.
    Idle(String, usize),
    /// All connections to a stand-in are reset.
    Cut(String),
    /// Nothing passes a stand-in.
    Silent(String),
}

#[derive(Debug, Clone, Copy)]
pub enum Route {
    Empty,
    Missing,
    Flapping,
    Stale,
}

/// What has to be put right again.
pub enum Ongoing {
    Nothing,
    Down(String),
    Paused(String),
    Disk(String),
    NoNameServer,
    Route,
    Rule(Rule),
    Storm(#[allow(dead_code, reason = "it ends when it is dropped")] Storm),
    Idle(String),
    Silent(String),
}

impl Fault {
    /// What can be done to the testkit.
    pub fn of_testkit(random: &mut StdRng, broker: String) -> Self {
        match random.random_range(0..24) {
            0..3 => Self::Killed(broker),
            3..5 => Self::Stopped(broker),
            5 => Self::Paused(broker),
            6 => Self::Mute(broker),
            7 => Self::Disk(broker, Disk::Full),
            8 => Self::Disk(broker, Disk::Failing),
            9 => Self::NoNameServer,
            10 => Self::Route(match random.random_range(0..4) {
                0 => Route::Empty,
                1 => Route::Missing,
                2 => Route::Flapping,
                _ => Route::Stale,
            }),
            11..13 => Self::MemberKilled,
            13 => Self::Joins,
            14 => Self::Leaves,
            15 => Self::Storm(random.random_range(5..100)),
            16 => Self::Idle(broker, random.random_range(1..4)),
            _ => Self::Spoilt(Spoil::random(random)),
        }
    }

    /// What can be done to a real broker, and to what comes and goes between it and its clients.
    pub fn of_apache(random: &mut StdRng, broker: String) -> Self {
        match random.random_range(0..16) {
            0..3 => Self::Killed(broker),
            3 => Self::Stopped(broker),
            4 => Self::Paused(broker),
            5 => Self::NoNameServer,
            6..8 => Self::MemberKilled,
            8 => Self::Joins,
            9 => Self::Leaves,
            10..12 => Self::Cut(broker),
            12 => Self::Silent(broker),
            _ => Self::Spoilt(Spoil::random(random)),
        }
    }

    /// Whether it is one of the group's own.
    pub const fn is_of_members(&self) -> bool {
        matches!(
            self,
            Self::MemberKilled | Self::Joins | Self::Leaves | Self::Idle(..)
        )
    }

    /// Whether a member notices it only by a pull that is not answered for half a minute.
    pub const fn is_noticed_late(&self) -> bool {
        match self {
            Self::Mute(_) => true,
            Self::Spoilt(spoil) => spoil.is_noticed_late(),
            _ => false,
        }
    }

    pub async fn begin(self, world: &mut World) -> Ongoing {
        let (trial, cluster) = (&world.trial, world.trial.target.cluster());
        match self {
            Self::Killed(broker) => {
                trial.target.kill_broker(&broker).await;
                Ongoing::Down(broker)
            }
            Self::Stopped(broker) => {
                trial.target.stop_broker(&broker).await;
                Ongoing::Down(broker)
            }
            Self::Paused(broker) => {
                match cluster {
                    Some(cluster) => cluster.broker(&broker).pause(),
                    None => trial.target.pause_broker(&broker).await,
                }
                Ongoing::Paused(broker)
            }
            Self::Mute(broker) => {
                trial.target.pause_broker(&broker).await;
                Ongoing::Paused(broker)
            }
            Self::Disk(broker, disk) => {
                trial.cluster().broker(&broker).disk(disk);
                Ongoing::Disk(broker)
            }
            Self::NoNameServer => {
                trial.target.stop_name_server().await;
                Ongoing::NoNameServer
            }
            Self::Route(route) => {
                route.show(&trial.cluster().route(&*trial.topic));
                Ongoing::Route
            }
            Self::Spoilt(spoil) => Ongoing::Rule(spoil.begin(&world.faults)),
            Self::Cut(broker) => {
                world.stand_in(&broker).cut().await.expect("cut");
                Ongoing::Nothing
            }
            Self::Silent(broker) => {
                world.stand_in(&broker).pause();
                Ongoing::Silent(broker)
            }
            Self::MemberKilled => {
                world.kill_member().await;
                Ongoing::Nothing
            }
            Self::Joins => {
                world.join().await;
                Ongoing::Nothing
            }
            Self::Leaves => {
                world.leave().await;
                Ongoing::Nothing
            }
            Self::Storm(per_second) => {
                let group = trial.cluster().broker("broker-a").group(&*trial.group);
                Ongoing::Storm(group.notify_storm(per_second))
            }
            Self::Idle(broker, count) => {
                let group = trial.cluster().broker(&broker).group(&*trial.group);
                group.fake_members(count);
                Ongoing::Idle(broker)
            }
        }
    }
}

impl Route {
    fn show(self, shown: &RouteHandle) {
        match self {
            Self::Empty => shown.empty(),
            Self::Missing => shown.missing(),
            Self::Flapping => shown.flap(),
            Self::Stale => shown.stale(),
        }
    }
}

impl Ongoing {
    /// Puts it right.
    pub async fn end(self, world: &mut World) {
        let (trial, cluster) = (&world.trial, world.trial.target.cluster());
        match self {
            Self::Nothing | Self::Storm(_) => {}
            Self::Down(broker) => trial.target.start_broker(&broker).await,
            Self::Paused(broker) => {
                trial.target.resume_broker(&broker).await;
                if let Some(cluster) = cluster {
                    cluster.broker(&broker).resume();
                }
            }
            Self::Disk(broker) => trial.cluster().broker(&broker).disk(Disk::Healthy),
            Self::NoNameServer => trial.target.start_name_server().await,
            Self::Route => trial.cluster().route(&*trial.topic).restore(),
            Self::Rule(rule) => rule.remove(),
            Self::Idle(broker) => {
                let broker = trial.cluster().broker(&broker);
                broker.group(&*trial.group).fake_members(0);
            }
            Self::Silent(broker) => world.stand_in(&broker).resume(),
        }
    }
}
