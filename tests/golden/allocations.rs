//! How queues are shared: our strategies against Java's.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU16;

use rocketmq_sdk::{
    AllocateStrategy, Average, AverageByCircle, Configured, ConsistentHash, MachineRoom,
    MachineRoomNearby, MessageQueue,
};
use serde_json::Value;

use crate::golden_folder;

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn queues(list: &Value) -> Vec<MessageQueue> {
    queues_of("t", list)
}

fn queues_of(topic: &str, list: &Value) -> Vec<MessageQueue> {
    let queue = |text: &String| {
        let (broker, id) = text.rsplit_once(':').unwrap();
        MessageQueue::new(topic, broker, id.parse().unwrap())
    };
    texts(list).iter().map(queue).collect()
}

fn strategy(name: &str, given: &Value) -> Box<dyn AllocateStrategy> {
    let room = |name: &str| name.split('-').next().unwrap().to_owned();
    match name {
        "AVG" => Box::new(Average),
        "AVG_BY_CIRCLE" => Box::new(AverageByCircle),
        "CONFIG" => Box::new(Configured::new(queues(given))),
        "MACHINE_ROOM" => Box::new(MachineRoom::new(texts(given))),
        "MACHINE_ROOM_NEARBY-AVG" => Box::new(MachineRoomNearby::new(Average, room, room)),
        "MACHINE_ROOM_NEARBY-AVG_BY_CIRCLE" => {
            Box::new(MachineRoomNearby::new(AverageByCircle, room, room))
        }
        "CONSISTENT_HASH" if given == 10 => Box::new(ConsistentHash::default()),
        "CONSISTENT_HASH" => {
            let nodes = NonZeroU16::new(given.as_u64().unwrap() as u16).unwrap();
            Box::new(ConsistentHash::new(nodes))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_rb_10_every_strategy_shares_queues_as_java_s() {
    let table = fs::read_to_string(golden_folder().join("allocations.jsonl")).unwrap();
    let mut names = BTreeSet::new();
    for line in table.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let name = row["strategy"].as_str().unwrap();
        let strategy = strategy(name, &row["given"]);
        assert_eq!(strategy.name(), name);
        names.insert(name.to_owned());
        let topic = row["topic"].as_str().unwrap_or("t");
        let (members, queues) = (texts(&row["members"]), queues_of(topic, &row["queues"]));
        assert!(queues.is_sorted(), "Java's order of queues is ours: {line}");
        for (at, member) in members.iter().enumerate() {
            let shared = strategy.allocate(member, &members, &queues);
            // Which queues, not in which order.
            let ours: BTreeSet<_> = shared
                .iter()
                .map(|mine| queues.iter().position(|queue| queue == mine).unwrap())
                .collect();
            assert_eq!(ours.len(), shared.len(), "a queue was given twice: {line}");
            let theirs = row["shares"][at].as_array().unwrap().iter();
            let theirs = theirs
                .map(|place| place.as_u64().unwrap() as usize)
                .collect();
            assert_eq!(ours, theirs, "the share of {member}: {line}");
        }
    }
    assert_eq!(names.len(), 7);
}
