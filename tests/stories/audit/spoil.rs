//! What goes wrong with single requests and answers.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rocketmq_testkit::{Faults, OnRequest, RequestCode, ResponseCode, Rule};

/// One rule: to which requests what happens, and to how many of a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Spoil {
    what: Requests,
    how: How,
    of_thousand: u32,
}

#[derive(Debug, Clone, Copy)]
enum Requests {
    Sends,
    Pulls,
    Commits,
    Backs,
    Heartbeats,
    Members,
    Offsets,
    Routes,
    All,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Lost,
    Disconnected,
    Late(Duration),
    Refused(ResponseCode),
    AnswerLost,
    AnswerLate(Duration),
    AnswerCut(usize),
    AnswerTwice,
    AnswerAstray,
    AnswerAndEnd,
}

const REQUESTS: [Requests; 9] = [
    Requests::Sends,
    Requests::Pulls,
    Requests::Commits,
    Requests::Backs,
    Requests::Heartbeats,
    Requests::Members,
    Requests::Offsets,
    Requests::Routes,
    Requests::All,
];

const SHARES: [u32; 4] = [10, 100, 500, 1000];

impl Spoil {
    pub fn random(random: &mut StdRng) -> Self {
        let what = REQUESTS[random.random_range(0..REQUESTS.len())];
        let late = Duration::from_millis(random.random_range(1..4000));
        let how = match random.random_range(0..10) {
            0 => How::Lost,
            1 => How::Disconnected,
            2 => How::Late(late),
            3 => How::Refused(code(random)),
            4 => How::AnswerLost,
            5 => How::AnswerLate(late),
            6 => How::AnswerCut(random.random_range(0..200)),
            7 => How::AnswerTwice,
            8 => How::AnswerAstray,
            _ => How::AnswerAndEnd,
        };
        Self {
            what,
            how,
            of_thousand: SHARES[random.random_range(0..SHARES.len())],
        }
    }

    /// Whether pulls are not answered, and nothing else says so.
    pub const fn is_noticed_late(self) -> bool {
        matches!(self.what, Requests::Pulls | Requests::All)
            && matches!(
                self.how,
                How::Lost | How::AnswerLost | How::AnswerAstray | How::AnswerAndEnd
            )
    }

    /// Puts the rule in force.
    pub fn begin(self, faults: &Faults) -> Rule {
        let on = self.what.of(faults);
        let on = on.probability(f64::from(self.of_thousand) / 1000.0);
        match self.how {
            How::Lost => on.drop(),
            How::Disconnected => on.disconnect(),
            How::Late(by) => on.delay(by),
            How::Refused(code) => on.reply(code, "as the audit wants"),
            How::AnswerLost => on.answer().drop(),
            How::AnswerLate(by) => on.answer().delay(by),
            How::AnswerCut(after) => on.answer().cut(after),
            How::AnswerTwice => on.answer().duplicate(),
            How::AnswerAstray => on.answer().wrong_opaque(),
            How::AnswerAndEnd => on.answer().half_close(),
        }
    }
}

impl Requests {
    fn of(self, faults: &Faults) -> OnRequest {
        match self {
            Self::Sends => faults.on_sends(),
            Self::Pulls => faults.on_pulls(),
            Self::Commits => faults.on(RequestCode::UPDATE_CONSUMER_OFFSET),
            Self::Backs => faults.on(RequestCode::CONSUMER_SEND_MSG_BACK),
            Self::Heartbeats => faults.on(RequestCode::HEART_BEAT),
            Self::Members => faults.on(RequestCode::GET_CONSUMER_LIST_BY_GROUP),
            Self::Offsets => faults.on(RequestCode::QUERY_CONSUMER_OFFSET),
            Self::Routes => faults.on(RequestCode::GET_ROUTEINFO_BY_TOPIC),
            // But for the registrations of brokers, which are not the clients'.
            Self::All => faults
                .on_sends()
                .or(RequestCode::PULL_MESSAGE)
                .or(RequestCode::UPDATE_CONSUMER_OFFSET)
                .or(RequestCode::CONSUMER_SEND_MSG_BACK)
                .or(RequestCode::HEART_BEAT)
                .or(RequestCode::GET_CONSUMER_LIST_BY_GROUP)
                .or(RequestCode::QUERY_CONSUMER_OFFSET)
                .or(RequestCode::GET_ROUTEINFO_BY_TOPIC),
        }
    }
}

/// A code that says that something was not done. A group that is not found has no offset, and that is no error; and what is stored and
/// not on the disk yet is stored.
fn code(random: &mut StdRng) -> ResponseCode {
    loop {
        let code = ResponseCode(random.random_range(1..211));
        let is_done = [
            ResponseCode::QUERY_NOT_FOUND,
            ResponseCode::FLUSH_DISK_TIMEOUT,
            ResponseCode::FLUSH_SLAVE_TIMEOUT,
            ResponseCode::SLAVE_NOT_AVAILABLE,
        ];
        if !is_done.contains(&code) {
            return code;
        }
    }
}
