//! I4: what a member commits never passes a message that is not finished, never goes back and is never negative; it begins where the
//! group is, and only when it knows that.

use std::collections::{BTreeSet, HashMap};

use rocketmq_sdk::MessageQueue;

use super::{Judge, Report};
use crate::history::record::{Event, Happened, Logged, Told};

pub struct Offsets {
    /// What is in each queue and not finished yet.
    unfinished: HashMap<MessageQueue, BTreeSet<i64>>,
    places: HashMap<(usize, MessageQueue), Place>,
}

/// Where a member is in a queue.
#[derive(Default)]
struct Place {
    /// No commit may be behind this.
    floor: Option<i64>,
    /// Where it has to pull first.
    start: Start,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It has asked, and was not told.
    #[default]
    Unknown,
    /// At this offset.
    At(i64),
    /// Where it chooses, when it has committed that.
    Chosen,
    /// It has begun, or nobody can tell where it has to.
    Free,
}

impl Offsets {
    pub fn new(log: &[Logged]) -> Self {
        let mut unfinished: HashMap<_, BTreeSet<_>> = HashMap::new();
        for logged in log {
            unfinished
                .entry(logged.queue.clone())
                .or_default()
                .insert(logged.offset);
        }
        Self {
            unfinished,
            places: HashMap::new(),
        }
    }

    fn place(&mut self, member: usize, queue: &MessageQueue) -> &mut Place {
        self.places.entry((member, queue.clone())).or_default()
    }

    fn finished(&mut self, queue: &MessageQueue, offset: i64) {
        if let Some(unfinished) = self.unfinished.get_mut(queue) {
            unfinished.remove(&offset);
        }
    }

    fn commits(&mut self, member: usize, queue: &MessageQueue, offset: i64, report: &mut Report) {
        report.commits += 1;
        let what = format!("I4: member {member} commits {queue}:{offset}");
        if offset < 0 {
            report.broken(what);
            return;
        }
        let missed = self
            .unfinished
            .get(queue)
            .and_then(BTreeSet::first)
            .copied();
        if let Some(missed) = missed.filter(|missed| *missed < offset) {
            report.broken(format!("{what} while {missed} is not finished"));
        }
        let place = self.place(member, queue);
        match place.start {
            Start::Unknown => {
                report.broken(format!("{what} without knowing where the group is"));
                place.start = Start::Free;
            }
            Start::Chosen => place.start = Start::At(offset),
            Start::At(_) | Start::Free => {}
        }
        if let Some(before) = place
            .floor
            .replace(offset)
            .filter(|before| offset < *before)
        {
            report.broken(format!("{what} behind {before}"));
        }
    }

    fn pulls(&mut self, member: usize, queue: &MessageQueue, offset: i64, report: &mut Report) {
        let place = self.place(member, queue);
        let what = format!("I4: member {member} begins {queue} at {offset}");
        match std::mem::replace(&mut place.start, Start::Free) {
            Start::Unknown => report.broken(format!("{what} without knowing where the group is")),
            Start::Chosen => report.broken(format!("{what} before it has committed that")),
            Start::At(start) if start != offset => {
                report.broken(format!("{what}, and the group is at {start}"));
            }
            Start::At(_) | Start::Free => {}
        }
    }
}

impl Judge for Offsets {
    fn see(&mut self, happened: &Happened, report: &mut Report) {
        match &happened.event {
            Event::Consumed {
                queue,
                offset,
                success: true,
                ..
            }
            | Event::SentBack { queue, offset, .. } => {
                self.finished(queue, *offset);
            }
            Event::AskedOffset { member, queue } => {
                self.place(*member, queue).start = Start::Unknown;
            }
            Event::ToldOffset {
                member,
                queue,
                told,
            } => {
                let place = self.place(*member, queue);
                // It may be late: the member has asked again since, and has begun.
                if place.start == Start::Free {
                    return;
                }
                (place.floor, place.start) = match *told {
                    Told::At(offset) => (Some(offset), Start::At(offset)),
                    Told::Nothing => (None, Start::Chosen),
                    Told::Something => (None, Start::Free),
                };
            }
            // It may go back now.
            Event::Misplaced { member, queue } => self.place(*member, queue).floor = None,
            Event::Commits {
                member,
                queue,
                offset,
            } => self.commits(*member, queue, *offset, report),
            Event::Pulls {
                member,
                queue,
                offset,
            } => self.pulls(*member, queue, *offset, report),
            _ => {}
        }
    }
}
