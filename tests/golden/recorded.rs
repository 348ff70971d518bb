//! The golden files: what is in them.

use std::fs;

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::{Command, Serialization};
use rocketmq_sdk::protocol::frame;

use crate::golden_folder;

pub const TOURS: [&str; 4] = ["5.4.0-json", "5.4.0-binary", "4.9.7-json", "4.9.7-binary"];

/// One frame.
pub struct Golden {
    /// Release and serialisation of the client: see [`TOURS`].
    pub tour: &'static str,
    /// The request's code, for an answer too.
    pub code: RequestCode,
    pub kind: String,
    pub is_response: bool,
    pub from_client: bool,
    pub serialization: Serialization,
    pub bytes: Bytes,
    pub command: Command,
}

impl Golden {
    fn read(tour: &'static str, line: &str) -> Self {
        let parts: Vec<_> = line.split(' ').collect();
        let [code, kind, what, from, serialization, hex] = parts[..] else {
            panic!("not a golden frame: {line:.80}");
        };
        let bytes = Bytes::from(unhex(hex));
        let mut stream = BytesMut::from(&*bytes);
        let command = frame::decode(&mut stream).unwrap().unwrap();
        assert!(stream.is_empty(), "{line:.80}");
        Self {
            tour,
            code: RequestCode(code.parse().unwrap()),
            kind: kind.to_owned(),
            is_response: what == "response",
            from_client: from == "client",
            serialization: if serialization == "JSON" {
                Serialization::Json
            } else {
                Serialization::Binary
            },
            bytes,
            command,
        }
    }

    /// What a failure calls it.
    pub fn name(&self) -> String {
        let what = if self.is_response {
            "answer"
        } else {
            "request"
        };
        format!("{} {} {what} of {}", self.code, self.kind, self.tour)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// All frames of a tour, in the order in which the requests were made.
pub fn frames_of(tour: &'static str) -> Vec<Golden> {
    let text = fs::read_to_string(golden_folder().join(format!("{tour}.txt"))).unwrap();
    text.lines().map(|line| Golden::read(tour, line)).collect()
}

/// All frames of all tours.
pub fn frames() -> Vec<Golden> {
    TOURS.into_iter().flat_map(frames_of).collect()
}

/// The frames of one kind, one of each tour that has it.
pub fn of_kind(code: RequestCode, kind: &str, is_response: bool) -> Vec<Golden> {
    let mut frames = frames();
    frames.retain(|golden| {
        golden.code == code && golden.kind == kind && golden.is_response == is_response
    });
    assert!(!frames.is_empty(), "no {kind} of {code}");
    frames
}

/// What a tour goes through: codes and the kinds of them.
const EXCHANGES: [(i32, &[&str]); 35] = [
    (11, &["found"]),
    (14, &["done"]),
    (15, &["done"]),
    (17, &["done"]),
    (28, &["done"]),
    (29, &["done"]),
    (30, &["done"]),
    (31, &["done"]),
    (34, &["producers", "tags"]),
    (35, &["done"]),
    (36, &["done"]),
    (37, &["committed", "checked"]),
    (38, &["done"]),
    (39, &["done"]),
    (40, &["done"]),
    (41, &["done"]),
    (42, &["done"]),
    (46, &["done"]),
    (105, &["known"]),
    (106, &["done"]),
    (200, &["done"]),
    (202, &["done"]),
    (203, &["done"]),
    (206, &["done"]),
    (207, &["done"]),
    (208, &["done"]),
    (215, &["done"]),
    (216, &["done"]),
    (220, &["done"]),
    (222, &["done"]),
    (307, &["done"]),
    (309, &["done"]),
    (
        310,
        &[
            "plain",
            "tagged",
            "compressed",
            "order",
            "later",
            "half",
            "question",
        ],
    ),
    (320, &["done"]),
    (325, &["done"]),
];

#[test]
fn every_tour_has_every_exchange() {
    for tour in TOURS {
        let frames = frames_of(tour);
        // 4.9 has no pull of its own for lite-pull consumers.
        let of_5 = tour.starts_with('5').then_some((361, &["done"][..]));
        for (code, kinds) in EXCHANGES.into_iter().chain(of_5) {
            for kind in kinds {
                let mut found = frames
                    .iter()
                    .filter(|golden| golden.code.0 == code && golden.kind == *kind);
                let request = found.find(|golden| !golden.is_response);
                let request = request.unwrap_or_else(|| panic!("{tour} has no {kind} of {code}"));
                let is_answered = found.any(|golden| golden.is_response);
                assert_eq!(
                    is_answered,
                    !request.command.head.is_oneway(),
                    "{}",
                    request.name()
                );
            }
        }
    }
}
