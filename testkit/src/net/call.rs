//! One request being handled, and the ways to answer it.
//!
//! Knows: how answers are written. Does not know: what they say.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rocketmq_sdk::protocol::DecodeError;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::command::{Command, Head, Serialization};
use rocketmq_sdk::protocol::fields::{Header, NoFields};
use rocketmq_sdk::protocol::{frame, java_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::net::Incoming;
use crate::net::outgoing::Outgoing;
use crate::net::peer::{Peer, as_java};
use crate::tap::Trail;

/// How a node writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AnswerFormat {
    /// In the serialisation of the request, as Apache RocketMQ 4.9 does.
    #[default]
    AsRequested,
    /// In JSON, as Apache RocketMQ 5.4 does by default.
    Json,
}

impl AnswerFormat {
    fn serialization(self, request: &Command) -> Serialization {
        match self {
            Self::AsRequested => request.serialization(),
            Self::Json => Serialization::Json,
        }
    }
}

/// Why a request was not done: the code and the remark of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ResponseCode,
    pub(crate) remark: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(code: ResponseCode, remark: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            remark: remark.into(),
        }
    }

    /// For what went wrong in the broker.
    pub(crate) fn failed(remark: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ResponseCode::SYSTEM_ERROR, remark)
    }

    /// For a request code that the node has no handler for.
    pub(crate) fn not_supported(request: &Command) -> Self {
        let code = request.head.code;
        Self::new(
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            format!(" request type {code} not supported"),
        )
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(ResponseCode::SYSTEM_ERROR, error.to_string())
    }
}

/// A request on its way through a handler.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Command,
    pub(crate) peer: &'a Arc<Peer>,
    out: &'a mut Outgoing,
    address: ReturnAddress,
}

/// Which request an answer belongs to, and how it is written.
#[derive(Debug, Clone)]
struct ReturnAddress {
    opaque: i32,
    oneway: bool,
    serialization: Serialization,
    trail: Option<Arc<Trail>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        incoming: &'a Incoming,
        peer: &'a Arc<Peer>,
        out: &'a mut Outgoing,
        format: AnswerFormat,
    ) -> Self {
        let request = &incoming.command;
        Self {
            request,
            peer,
            out,
            address: ReturnAddress {
                opaque: request.head.opaque,
                oneway: request.head.is_oneway(),
                serialization: format.serialization(request),
                trail: incoming.trail.clone(),
            },
        }
    }

    /// A request that no handler sees.
    pub(crate) fn refuse_unserved(
        incoming: &'a Incoming,
        peer: &'a Arc<Peer>,
        out: &'a mut Outgoing,
        code: ResponseCode,
        remark: &str,
    ) {
        let mut call = Self::new(incoming, peer, out, AnswerFormat::AsRequested);
        call.answer_with(&Answer {
            code,
            remark: Some(remark).filter(|remark| !remark.is_empty()),
            header: &NoFields,
            body: &[],
        });
    }

    /// The typed header.
    pub(crate) fn header<H: Header<'a>>(&self) -> Result<H, Refusal> {
        Ok(self.request.header()?)
    }

    /// The body, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, Refusal> {
        Ok(java_json::from_slice(what, &self.request.body)?)
    }

    /// Answers that it was done.
    pub(crate) fn done(&mut self) {
        self.answer(&NoFields);
    }

    /// Answers that it was done, with a header.
    pub(crate) fn answer<'h>(&mut self, header: &impl Header<'h>) {
        let answer = Answer::success(header);
        self.address.write(self.out, &answer);
    }

    /// Answers that it was done, with a body in standard JSON.
    pub(crate) fn answer_json(&mut self, body: &impl Serialize) -> Result<(), Refusal> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error.to_string()))?;
        self.answer_body(&NoFields, &[body.into()]);
        Ok(())
    }

    /// Answers that it was done, with a body in the JSON of Java, whose keys may be objects.
    pub(crate) fn answer_java_json(&mut self, body: &impl Serialize) -> Result<(), Refusal> {
        let body = java_json::to_vec(body)?;
        self.answer_body(&NoFields, &[body.into()]);
        Ok(())
    }

    /// Answers that it was done, with a body.
    pub(crate) fn answer_body<'h>(&mut self, header: &impl Header<'h>, body: &[Bytes]) {
        let answer = Answer {
            body,
            ..Answer::success(header)
        };
        self.address.write(self.out, &answer);
    }

    /// Gives an answer that is no plain success.
    pub(crate) fn answer_with<'h>(&mut self, answer: &Answer<'_, impl Header<'h>>) {
        self.address.write(self.out, answer);
    }

    /// Answers that it was not done.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.answer_with(&Answer {
            code: refusal.code,
            remark: Some(&refusal.remark),
            header: &NoFields,
            body: &[],
        });
    }

    /// Takes the answer out of the handler's hands: it is given later.
    pub(crate) fn later(&self) -> Later {
        Later {
            peer: Arc::clone(self.peer),
            address: self.address.clone(),
        }
    }
}

/// All of an answer but to whom it goes.
#[derive(Debug)]
pub(crate) struct Answer<'a, H> {
    pub(crate) code: ResponseCode,
    pub(crate) remark: Option<&'a str>,
    pub(crate) header: &'a H,
    pub(crate) body: &'a [Bytes],
}

impl<'a, H> Answer<'a, H> {
    pub(crate) const fn success(header: &'a H) -> Self {
        Self {
            code: ResponseCode::SUCCESS,
            remark: None,
            header,
            body: &[],
        }
    }
}

/// An answer that is still to be given, by whatever task.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) peer: Arc<Peer>,
    address: ReturnAddress,
}

impl Later {
    pub(crate) fn answer_with<'h>(&self, answer: &Answer<'_, impl Header<'h>>) {
        self.peer.push(|out| self.address.write(out, answer));
    }
}

impl ReturnAddress {
    fn write<'h>(&self, out: &mut Outgoing, answer: &Answer<'_, impl Header<'h>>) {
        if self.oneway && self.trail.is_none() {
            return;
        }
        let start = out.tail().len();
        let head = as_java(Head::response(answer.code, self.opaque));
        let body_len = answer.body.iter().map(Bytes::len).sum();
        let encoded = frame::encode_head(
            out.tail(),
            self.serialization,
            &head,
            answer.remark,
            answer.header,
            body_len,
        );
        match encoded {
            Ok(()) => {
                if let Some(trail) = &self.trail {
                    trail.answered(head, &out.tail()[start..], answer.body);
                    if self.oneway {
                        return out.tail().truncate(start);
                    }
                    if let Some(rule) = trail.rule() {
                        let mut frame = out.tail().split_off(start);
                        for part in answer.body {
                            frame.extend_from_slice(part);
                        }
                        return rule.send(trail.peer(), frame, out);
                    }
                }
                answer.body.iter().for_each(|part| out.put(part));
            }
            Err(error) => {
                let remark = error.to_string();
                self.write(
                    out,
                    &Answer {
                        code: ResponseCode::SYSTEM_ERROR,
                        remark: Some(&remark),
                        header: &NoFields,
                        body: &[],
                    },
                );
            }
        }
    }
}
