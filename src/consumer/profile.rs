//! What a consumer is to its client: a group with subscriptions, and someone to be told of changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::client::{Member, MemberKind};
use crate::consumer::group::Group;
use crate::consumer::start_offset::ConsumeFromWhere;
use crate::consumer::subscription::{Subscription, Subscriptions};
use crate::error::Result;
use crate::protocol::command::Command;
use crate::protocol::request::heartbeat::{ConsumerData, HeartbeatBody};
use crate::transport::Connection;

/// Whether the members of a group share the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MessageModel {
    /// Every message goes to one member; the brokers keep the group's offsets. The default.
    #[default]
    Clustering,
    /// Every member gets every message, once: one that fails is logged and counted, and does not come again. Each member keeps its
    /// own offsets, in a file.
    Broadcasting,
}

impl MessageModel {
    pub(crate) const fn wire_name(self) -> &'static str {
        match self {
            Self::Clustering => "CLUSTERING",
            Self::Broadcasting => "BROADCASTING",
        }
    }
}

/// How a consumer gets its messages, as brokers hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumeType {
    /// A listener is given them.
    Passively,
    /// The application asks for them.
    Actively,
}

impl ConsumeType {
    const fn wire_name(self) -> &'static str {
        match self {
            Self::Passively => "CONSUME_PASSIVELY",
            Self::Actively => "CONSUME_ACTIVELY",
        }
    }
}

/// The client holds this and not the consumer, so that a consumer that nobody holds is dropped.
#[derive(Debug)]
pub(crate) struct Profile {
    group: Arc<str>,
    consume_type: ConsumeType,
    model: MessageModel,
    from: ConsumeFromWhere,
    subscriptions: RwLock<Subscriptions>,
    /// Brokers have to hear of the subscriptions before queues are shared again.
    untold: AtomicBool,
    changed: Notify,
    /// Whom brokers' requests are given to.
    member: OnceLock<Weak<Group>>,
}

impl Profile {
    pub(crate) fn new(
        group: Arc<str>,
        consume_type: ConsumeType,
        model: MessageModel,
        from: ConsumeFromWhere,
        subscriptions: Subscriptions,
    ) -> Self {
        Self {
            group,
            consume_type,
            model,
            from,
            subscriptions: RwLock::new(subscriptions),
            untold: AtomicBool::new(true),
            changed: Notify::new(),
            member: OnceLock::new(),
        }
    }

    /// Says whom brokers' requests are given to.
    pub(crate) fn set_member(&self, member: &Arc<Group>) {
        // There is one member of a profile.
        let _ = self.member.set(Arc::downgrade(member));
    }

    pub(crate) const fn model(&self) -> MessageModel {
        self.model
    }

    /// What is subscribed of a topic now.
    pub(crate) fn subscription(&self, topic: &str) -> Option<Arc<Subscription>> {
        self.subscriptions.read().get(topic).cloned()
    }

    pub(crate) fn subscribe(&self, topic: &str, expression: &str, now_millis: i64) -> Result<bool> {
        let changed = self
            .subscriptions
            .write()
            .set("subscribe", topic, expression, now_millis)?;
        if changed {
            self.tell_brokers();
        }
        Ok(changed)
    }

    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        let changed = self.subscriptions.write().remove(topic);
        if changed {
            self.tell_brokers();
        }
        changed
    }

    /// Asks for a heartbeat, and for queues to be shared again behind it.
    pub(crate) fn tell_brokers(&self) {
        self.untold.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Whether brokers have to hear of the group; the one who asks tells them.
    pub(crate) fn take_untold(&self) -> bool {
        self.untold.swap(false, Ordering::AcqRel)
    }

    /// Whether brokers have yet to hear of the group, or of a change.
    pub(crate) fn is_untold(&self) -> bool {
        self.untold.load(Ordering::Acquire)
    }

    /// Asks for queues to be shared again.
    pub(crate) fn change(&self) {
        self.changed.notify_one();
    }

    /// Waits until queues have to be shared again.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Member for Profile {
    fn kind(&self) -> MemberKind {
        MemberKind::Consumer
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn topics(&self) -> Vec<Arc<str>> {
        let subscriptions = self.subscriptions.read();
        subscriptions
            .iter()
            .map(|subscription| Arc::clone(subscription.topic()))
            .collect()
    }

    fn describe(&self, body: &mut HeartbeatBody) {
        let subscriptions = self.subscriptions.read();
        let from = match self.consume_type {
            ConsumeType::Passively => self.from,
            // Java's pull consumers never say anything else.
            ConsumeType::Actively => ConsumeFromWhere::LastOffset,
        };
        body.consumer_data_set.push(ConsumerData {
            group_name: self.group.to_string(),
            consume_type: self.consume_type.wire_name().to_owned(),
            message_model: self.model.wire_name().to_owned(),
            consume_from_where: from.wire_name().to_owned(),
            subscription_data_set: subscriptions.iter().map(|one| one.data()).collect(),
            unit_mode: false,
        });
    }

    fn request(&self, from: &Connection, command: &Command) -> bool {
        let member = self.member.get().and_then(Weak::upgrade);
        member.is_some_and(|member| member.serve(from, command))
    }

    fn group_changed(&self) {
        self.change();
    }

    fn route_changed(&self, _topic: &str) {
        self.change();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn profile(consume_type: ConsumeType) -> Profile {
        let mut subscriptions = Subscriptions::default();
        subscriptions.set("start", "t", "a || b", 5).unwrap();
        let (model, from) = (MessageModel::Clustering, ConsumeFromWhere::FirstOffset);
        Profile::new("g".into(), consume_type, model, from, subscriptions)
    }

    fn told(consume_type: ConsumeType) -> String {
        let mut body = HeartbeatBody::default();
        profile(consume_type).describe(&mut body);
        serde_json::to_string(&body.consumer_data_set).unwrap()
    }

    #[test]
    fn brokers_hear_of_the_group_as_java_tells_them() {
        let passively = told(ConsumeType::Passively);
        assert_eq!(
            passively,
            concat!(
                r#"[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","#,
                r#""consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{"#,
                r#""classFilterMode":false,"topic":"t","subString":"a || b","tagsSet":["a","b"],"#,
                r#""codeSet":[97,98],"subVersion":5,"expressionType":"TAG"}],"unitMode":false}]"#
            )
        );
        let actively = passively
            .replace("CONSUME_PASSIVELY", "CONSUME_ACTIVELY")
            .replace("FROM_FIRST_OFFSET", "FROM_LAST_OFFSET");
        assert_eq!(told(ConsumeType::Actively), actively);
    }

    #[test]
    fn every_change_is_told_and_none_is_lost() {
        let profile = profile(ConsumeType::Passively);
        assert!(profile.take_untold() && !profile.take_untold());
        assert!(profile.subscribe("u", "*", 6).unwrap());
        assert!(!profile.subscribe("u", "*", 7).unwrap());
        assert!(profile.take_untold());
        assert!(profile.changed().now_or_never().is_some());
        assert!(profile.changed().now_or_never().is_none());
        profile.group_changed();
        assert!(profile.changed().now_or_never().is_some() && !profile.take_untold());
        assert!(profile.unsubscribe("u") && !profile.unsubscribe("u"));
        assert!(profile.take_untold());
        assert_eq!(profile.topics(), ["t".into()]);
    }
}
