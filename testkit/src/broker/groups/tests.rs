use std::net::SocketAddr;

use super::*;
use crate::clock::Clock;
use crate::fault::plan::Plan;
use crate::tap::Tap;

fn member(connection: u64) -> Member {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let tap = Tap::new("broker".into(), Clock::new(), None, Arc::new(Plan::new(0)));
    Member {
        client_id: format!("client-{connection}"),
        peer: Arc::new(Peer::new(connection, addr, tap)),
        language: Language::RUST,
        version: 0,
    }
}

fn data(subscriptions: &[(&str, &str, i64)]) -> ConsumerData {
    ConsumerData {
        group_name: "g".to_owned(),
        consume_type: "CONSUME_PASSIVELY".to_owned(),
        message_model: "CLUSTERING".to_owned(),
        consume_from_where: "CONSUME_FROM_LAST_OFFSET".to_owned(),
        subscription_data_set: subscriptions
            .iter()
            .map(|(topic, expression, version)| SubscriptionData {
                class_filter_mode: false,
                topic: (*topic).to_owned(),
                sub_string: (*expression).to_owned(),
                tags_set: Vec::new(),
                code_set: Vec::new(),
                sub_version: *version,
                expression_type: "TAG".to_owned(),
            })
            .collect(),
        unit_mode: false,
    }
}

#[test]
fn a_group_changes_with_its_members_and_its_topics() {
    let mut groups = Groups::default();
    let t = [("t", "*", 1)];
    assert!(groups.register_consumer(member(1), data(&t), true));
    assert!(!groups.register_consumer(member(1), data(&t), true));
    assert!(groups.register_consumer(member(2), data(&t), true));
    assert!(groups.register_consumer(member(2), data(&[("t", "*", 1), ("u", "*", 1)]), true));
    assert!(groups.register_consumer(member(2), data(&t), true));
    assert!(!groups.register_consumer(member(2), data(&[]), false));
    let group = groups.consumer("g").unwrap();
    assert_eq!(group.members.len(), 2);
    assert_eq!(group.subscriptions.len(), 1);
}

#[test]
fn only_a_newer_subscription_counts() {
    let mut groups = Groups::default();
    groups.register_consumer(member(1), data(&[("t", "a", 5)]), true);
    groups.register_consumer(member(2), data(&[("t", "b", 4)]), true);
    let expression = |groups: &Groups| {
        let subscriptions = &groups.consumer("g").unwrap().subscriptions;
        subscriptions["t"].data.sub_string.clone()
    };
    assert_eq!(expression(&groups), "a");
    assert!(!groups.register_consumer(member(2), data(&[("t", "b", 6)]), true));
    assert_eq!(expression(&groups), "b");
}

#[test]
fn a_connection_that_ends_leaves_its_groups() {
    let mut groups = Groups::default();
    groups.register_consumer(member(1), data(&[]), true);
    groups.register_consumer(member(2), data(&[]), true);
    groups.register_producer(member(1), "p");
    assert_eq!(groups.remove(1), [Box::from("g")]);
    assert!(groups.producers("p").is_none());
    assert!(groups.remove(2).is_empty());
    assert!(groups.consumer("g").is_none());

    groups.register_consumer(member(3), data(&[]), true);
    assert!(!groups.unregister_consumer("g", 4));
    assert!(groups.unregister_consumer("g", 3));
    assert!(groups.consumer("g").is_none());
}

#[test]
fn groups_are_made_on_demand_if_their_name_is_legal() {
    let mut groups = Groups::default();
    assert_eq!(groups.config("g").unwrap().retry_max_times, 16);
    assert!(groups.is_configured("g"));
    assert_eq!(groups.config("../g"), None);
    groups.register_producer(member(1), "../p");
    assert!(groups.producers("../p").is_none());
}
