//! Whether the members of a group agree on what they subscribe to. A broker chooses messages by what it was told last, by whichever
//! member, so those who differ lose messages to one another; nobody but the members can see it.
//!
//! Does not know: what can be done about it, which is to start them alike.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use crate::client::Member;
use crate::config::Namespace;
use crate::consumer::group::Group;
use crate::protocol::request::connections::{ConsumerConnectionsBody, GetConsumerConnections};
use crate::protocol::request::heartbeat::{ConsumerData, HeartbeatBody, SubscriptionData};

/// How often a broker is asked. Heartbeats of all members have come in between.
const PERIOD: Duration = Duration::from_secs(61);

impl Group {
    /// Compares what a broker knows of the group with what this member says, from time to time.
    pub(super) async fn compare_members(&self) -> Infallible {
        let mut known = None;
        loop {
            sleep(PERIOD).await;
            if let Some(difference) = self.compare().await
                && difference != known
            {
                if let Some(difference) = &difference {
                    warn!(group = self.name(), %difference, "the members of the group differ; messages get lost by that");
                }
                known = difference;
            }
        }
    }

    /// What differs, if something does; `None` when that could not be told.
    async fn compare(&self) -> Option<Option<String>> {
        let ours = self.said();
        let routes = self.profile().topics().into_iter();
        let mut routes = routes.filter_map(|topic| self.client().cached_route(&topic));
        let route = routes.next()?;
        let addr = route.addrs(true).next()?;
        let header = GetConsumerConnections {
            consumer_group: self.name().into(),
            broker_name: None,
        };
        let deadline = self.client().request_deadline();
        let theirs = self.client().rpc().members(addr, &header, deadline).await;
        let theirs = theirs
            .inspect_err(
                |error| debug!(%addr, %error, "it is not known what the others subscribe to"),
            )
            .ok()?;
        // What was changed meanwhile the broker may not have heard.
        let is_current = ours == self.said() && !self.profile().is_untold();
        let difference = || difference(&ours?, &theirs, self.client().namespace());
        is_current.then(difference)
    }

    fn said(&self) -> Option<ConsumerData> {
        let mut body = HeartbeatBody::default();
        self.profile().describe(&mut body);
        body.consumer_data_set.pop()
    }
}

/// The first thing in which a broker's picture of the group is not what a member says.
fn difference(
    ours: &ConsumerData,
    theirs: &ConsumerConnectionsBody,
    namespace: &Namespace,
) -> Option<String> {
    if ours.message_model != theirs.message_model {
        let (one, two) = (&ours.message_model, &theirs.message_model);
        return Some(format!("one is {one}, another {two}"));
    }
    let subscribed = ours.subscription_data_set.iter();
    for own in subscribed.filter(|own| !is_retry(&own.topic)) {
        let topic = &own.topic;
        match theirs.subscription_table.get(&*namespace.wrap(topic)) {
            None => return Some(format!("one does not subscribe to {topic}, another does")),
            Some(other) if !selects_alike(own, other) => {
                let (one, two) = (&own.sub_string, &other.sub_string);
                return Some(format!(
                    "of {topic} one subscribes to {one:?}, another to {two:?}"
                ));
            }
            Some(_) => {}
        }
    }
    let others = theirs.subscription_table.keys();
    let others = others.map(|topic| namespace.unwrap(topic));
    let mut unknown = others.filter(|topic| {
        let mut subscribed = ours.subscription_data_set.iter();
        !is_retry(topic) && !subscribed.any(|own| own.topic == **topic)
    });
    let topic = unknown.next()?;
    Some(format!("one does not subscribe to {topic}, another does"))
}

/// Lite-pull consumers have no retry topic.
fn is_retry(topic: &str) -> bool {
    topic.starts_with("%RETRY%")
}

fn selects_alike(one: &SubscriptionData, two: &SubscriptionData) -> bool {
    let tags = |of: &SubscriptionData| of.tags_set.iter().cloned().collect::<BTreeSet<_>>();
    one.expression_type == two.expression_type
        && (one.sub_string == two.sub_string || !one.tags_set.is_empty() && tags(one) == tags(two))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::subscription::Subscription;

    fn data(topic: &str, expression: &str) -> SubscriptionData {
        Subscription::new("start", topic, expression, 1)
            .unwrap()
            .data()
    }

    fn told(all: &[(&str, &str)]) -> ConsumerData {
        ConsumerData {
            group_name: "g".to_owned(),
            consume_type: "CONSUME_PASSIVELY".to_owned(),
            message_model: "CLUSTERING".to_owned(),
            consume_from_where: "CONSUME_FROM_LAST_OFFSET".to_owned(),
            subscription_data_set: all.iter().map(|(topic, tags)| data(topic, tags)).collect(),
            unit_mode: false,
        }
    }

    fn known(all: &[(&str, &str)]) -> ConsumerConnectionsBody {
        let table = all.iter().map(|(topic, tags)| {
            let topic = Namespace::new(Some("ns")).wrap(topic).into_owned();
            (topic.clone(), data(&topic, tags))
        });
        ConsumerConnectionsBody {
            subscription_table: table.collect(),
            message_model: "CLUSTERING".to_owned(),
            ..ConsumerConnectionsBody::default()
        }
    }

    #[test]
    fn members_differ_by_topic_by_tags_and_by_model() {
        let ours = told(&[("t", "a || b"), ("u", "*"), ("%RETRY%g", "*")]);
        let differs = |all| difference(&ours, &known(all), &Namespace::new(Some("ns")));
        assert_eq!(differs(&[("t", "b||a"), ("u", "*")]), None);
        let same = [("t", "a || b"), ("u", "*"), ("%RETRY%g", "*")];
        assert_eq!(differs(&same), None);
        let text = differs(&[("t", "a"), ("u", "*")]).unwrap();
        assert_eq!(text, r#"of t one subscribes to "a || b", another to "a""#);
        assert!(differs(&[("t", "*"), ("u", "*")]).is_some());
        let text = "one does not subscribe to u, another does";
        assert_eq!(differs(&[("t", "a || b")]).as_deref(), Some(text));
        let more = [("t", "a || b"), ("u", "*"), ("v", "*")];
        let text = "one does not subscribe to v, another does";
        assert_eq!(differs(&more).as_deref(), Some(text));
        let mut broadcasting = known(&same);
        broadcasting.message_model = "BROADCASTING".to_owned();
        let namespace = Namespace::new(Some("ns"));
        let text = difference(&ours, &broadcasting, &namespace).unwrap();
        assert_eq!(text, "one is CLUSTERING, another BROADCASTING");
    }
}
