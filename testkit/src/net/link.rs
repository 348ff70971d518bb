//! A connection from a broker to a name server: one request at a time.

use std::io;

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::environment::ByteStream;
use rocketmq_sdk::protocol::command::{Command, Head, Serialization};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::request::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::network::Network;
use crate::net::peer::as_java;

pub(crate) struct Link {
    stream: Box<dyn ByteStream>,
    input: BytesMut,
    next_opaque: i32,
}

impl Link {
    pub(crate) async fn connect(network: &Network, addr: &str) -> io::Result<Self> {
        Ok(Self {
            stream: network.connect(addr).await?,
            input: BytesMut::new(),
            next_opaque: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<'a, R: Request<'a> + Sync>(
        &mut self,
        header: &R,
        body: &Bytes,
    ) -> io::Result<Command> {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        let head = as_java(Head::request(R::CODE, self.next_opaque));
        let mut out = BytesMut::new();
        frame::encode_head(
            &mut out,
            Serialization::Json,
            &head,
            None,
            header,
            body.len(),
        )
        .map_err(io::Error::other)?;
        out.extend_from_slice(body);
        self.stream.write_all(&out).await?;
        loop {
            let answer = self.read().await?;
            if answer.head.is_response() && answer.head.opaque == head.opaque {
                return Ok(answer);
            }
        }
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&mut self) {
        while self.read().await.is_ok() {}
    }

    async fn read(&mut self) -> io::Result<Command> {
        loop {
            if let Some(command) = frame::decode(&mut self.input).map_err(io::Error::other)? {
                return Ok(command);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
