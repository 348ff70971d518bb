//! What a failed attempt to send says about the next one: the table of every response code, and of every failure without an answer.
//! Pure.
//!
//! The codes that are tried again are those of Java's client, and some of brokers that it leaves to the application: flow control, and
//! those by which a broker says that it does not have the queue (any more).

use crate::protocol::code::ResponseCode;
use crate::transport::{CallError, Cause};

/// What a failed attempt says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another broker may take the message at once; where there is none, the same one may after a pause.
    Elsewhere,
    /// The same, but the route may be out of date: it is looked up in the pause, once in a send.
    ElsewhereOrRefreshed,
    /// Only another broker may take it.
    OnlyElsewhere,
    /// The route is out of date. It is looked up again, once in a send; then the message may be taken anywhere.
    AfterRefresh,
    /// No attempt would end otherwise.
    GiveUp,
}

/// What the answer of a broker that did not store the message says. A code that is not here is given up, as in Java.
const ANSWERS: [(ResponseCode, Verdict); 39] = {
    use Verdict::{AfterRefresh, Elsewhere, ElsewhereOrRefreshed, GiveUp, OnlyElsewhere};
    [
        // The broker is in trouble. By the first, 4.9 also says that the topic has fewer queues by now.
        (ResponseCode::SYSTEM_ERROR, ElsewhereOrRefreshed),
        (ResponseCode::SYSTEM_BUSY, Elsewhere),
        (ResponseCode::SERVICE_NOT_AVAILABLE, Elsewhere),
        (ResponseCode::FLOW_CONTROL, Elsewhere),
        (ResponseCode::GO_AWAY, Elsewhere),
        // The broker will not, another one may.
        (ResponseCode::NO_PERMISSION, OnlyElsewhere),
        (ResponseCode::NO_BUYER_ID, OnlyElsewhere),
        (ResponseCode::NOT_IN_CURRENT_UNIT, OnlyElsewhere),
        // The broker has no such topic or queue. By the last, 5.x says that the topic has fewer queues by now.
        (ResponseCode::TOPIC_NOT_EXIST, AfterRefresh),
        (ResponseCode::BROKER_NOT_EXIST, AfterRefresh),
        (ResponseCode::NOT_LEADER_FOR_QUEUE, AfterRefresh),
        (ResponseCode::INVALID_PARAMETER, AfterRefresh),
        // The request itself is refused.
        (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, GiveUp),
        (ResponseCode::MESSAGE_ILLEGAL, GiveUp),
        (ResponseCode::VERSION_NOT_SUPPORTED, GiveUp),
        (ResponseCode::ILLEGAL_OPERATION, GiveUp),
        // Answers to other requests.
        (ResponseCode::TRANSACTION_FAILED, GiveUp),
        (ResponseCode::TOPIC_EXIST_ALREADY, GiveUp),
        (ResponseCode::PULL_NOT_FOUND, GiveUp),
        (ResponseCode::PULL_RETRY_IMMEDIATELY, GiveUp),
        (ResponseCode::PULL_OFFSET_MOVED, GiveUp),
        (ResponseCode::QUERY_NOT_FOUND, GiveUp),
        (ResponseCode::SUBSCRIPTION_PARSE_FAILED, GiveUp),
        (ResponseCode::SUBSCRIPTION_NOT_EXIST, GiveUp),
        (ResponseCode::SUBSCRIPTION_NOT_LATEST, GiveUp),
        (ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, GiveUp),
        (ResponseCode::FILTER_DATA_NOT_EXIST, GiveUp),
        (ResponseCode::FILTER_DATA_NOT_LATEST, GiveUp),
        (ResponseCode::TRANSACTION_SHOULD_COMMIT, GiveUp),
        (ResponseCode::TRANSACTION_SHOULD_ROLLBACK, GiveUp),
        (ResponseCode::TRANSACTION_STATE_UNKNOW, GiveUp),
        (ResponseCode::TRANSACTION_STATE_GROUP_WRONG, GiveUp),
        (ResponseCode::CONSUMER_NOT_ONLINE, GiveUp),
        (ResponseCode::CONSUME_MSG_TIMEOUT, GiveUp),
        (ResponseCode::NO_MESSAGE, GiveUp),
        (ResponseCode::POLLING_FULL, GiveUp),
        (ResponseCode::POLLING_TIMEOUT, GiveUp),
        (ResponseCode::BROKER_DISPATCH_NOT_COMPLETE, GiveUp),
        (ResponseCode::BROADCAST_CONSUMPTION, GiveUp),
    ]
};

impl Verdict {
    /// What the answer of a broker that did not store the message says.
    pub(super) fn on_answer(code: ResponseCode) -> Self {
        let row = ANSWERS.iter().find(|(known, _)| *known == code);
        row.map_or(Self::GiveUp, |(_, verdict)| *verdict)
    }

    /// What a call without an answer says.
    pub(super) const fn on_failure(error: &CallError) -> Self {
        match error {
            CallError::Lost(Cause::Shutdown, _) | CallError::TooLarge(_) => Self::GiveUp,
            // A broker that is gone may have left others behind that the route did not name when they were away.
            CallError::Lost(..) => Self::ElsewhereOrRefreshed,
            CallError::TimedOut(_) | CallError::Full => Self::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Delivery;
    use crate::producer::SendStatus;
    use crate::protocol::frame::FrameTooLarge;

    #[test]
    fn f13_every_code_is_in_the_table_once() {
        let (elsewhere, refreshed) = ([2, 14, 215, 1500], [1]);
        let (only_elsewhere, after_refresh) = ([16, 204, 205], [17, 29, 211, 501]);
        for code in -2000..4000 {
            let rows = ANSWERS.iter().filter(|(known, _)| known.0 == code).count();
            let is_named = ResponseCode(code).name().is_some();
            let is_stored = SendStatus::from_code(ResponseCode(code)).is_some();
            assert_eq!(rows, usize::from(is_named && !is_stored), "{code}");
            let expected = match code {
                _ if elsewhere.contains(&code) => Verdict::Elsewhere,
                _ if refreshed.contains(&code) => Verdict::ElsewhereOrRefreshed,
                _ if only_elsewhere.contains(&code) => Verdict::OnlyElsewhere,
                _ if after_refresh.contains(&code) => Verdict::AfterRefresh,
                _ => Verdict::GiveUp,
            };
            assert_eq!(Verdict::on_answer(ResponseCode(code)), expected, "{code}");
        }
    }

    #[test]
    fn every_failure_is_in_the_table() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for cause in [
            Cause::Connect(Arc::new(refused)),
            Cause::ClosedByPeer,
            Cause::Silent,
            Cause::Idle,
        ] {
            let lost = CallError::Lost(cause, Delivery::Unknown);
            let verdict = Verdict::on_failure(&lost);
            assert_eq!(verdict, Verdict::ElsewhereOrRefreshed, "{lost}");
        }
        assert_eq!(
            Verdict::on_failure(&CallError::TimedOut(Delivery::No)),
            Verdict::Elsewhere
        );
        assert_eq!(Verdict::on_failure(&CallError::Full), Verdict::Elsewhere);
        let shutdown = CallError::Lost(Cause::Shutdown, Delivery::No);
        assert_eq!(Verdict::on_failure(&shutdown), Verdict::GiveUp);
        let large = CallError::TooLarge(FrameTooLarge { size: 2, limit: 1 });
        assert_eq!(Verdict::on_failure(&large), Verdict::GiveUp);
    }
}
