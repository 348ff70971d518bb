//! One connection: its task reads requests, has them served, and writes what there is to write in as few writes as it can.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_sdk::protocol::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::net::outgoing::Outgoing;
use crate::net::peer::{MAX_WAITING, Peer};
use crate::net::{Incoming, Serve};

/// While more than this waits to be written, no further request is read.
const PAUSE_READING: usize = 8 * 1024 * 1024;

/// How many bytes are read at once, at most.
const READ_SIZE: usize = 64 * 1024;

/// With less room than this a new buffer is taken.
const MIN_ROOM: usize = 4 * 1024;

/// How long a peer may take none of what waits for it before its connection is closed.
const STALL: Duration = Duration::from_secs(60);

/// How long an orderly end waits for the peer to take what waits for it.
const LINGER: Duration = Duration::from_secs(1);

/// A stream that can be cut off.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ends the stream so that the peer sees an error where it can.
    fn reset(self);
}

impl Stream for TcpStream {
    fn reset(self) {
        // Where it fails the peer sees an end instead of a reset.
        let _ = self.set_zero_linger();
    }
}

impl Stream for tokio::io::DuplexStream {
    fn reset(self) {}
}

/// How a node's connections end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// In order: what waits is written first.
    pub(crate) stopped: CancellationToken,
    /// At once, with a reset.
    pub(crate) killed: CancellationToken,
}

/// Serves a connection until it ends.
pub(crate) async fn run<S: Stream>(
    stream: S,
    peer: Arc<Peer>,
    service: Arc<dyn Serve>,
    ending: Ending,
) {
    let (reader, writer) = tokio::io::split(stream);
    let mut connection = Connection {
        reader,
        writer,
        input: BytesMut::new(),
        requests: Vec::new(),
        out: Outgoing::default(),
        peer,
        service,
    };
    let end = tokio::select! {
        biased;
        () = ending.killed.cancelled() => None,
        end = connection.serve(&ending.stopped) => Some(end),
    };
    connection.service.closed(&connection.peer);
    connection.peer.tap.closed(&connection.peer.origin);
    match end {
        None => connection.reader.unsplit(connection.writer).reset(),
        Some(Ok(())) => tracing::debug!(peer = %connection.peer.addr, "connection ended"),
        Some(Err(error)) => {
            tracing::debug!(peer = %connection.peer.addr, %error, "connection failed");
        }
    }
}

struct Connection<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    requests: Vec<Incoming>,
    out: Outgoing,
    peer: Arc<Peer>,
    service: Arc<dyn Serve>,
}

impl<S: Stream> Connection<S> {
    async fn serve(&mut self, stopped: &CancellationToken) -> io::Result<()> {
        loop {
            self.peer.take_pushed(&mut self.out);
            let waiting = self.out.len();
            if waiting > MAX_WAITING {
                return Err(io::Error::other("the peer does not read"));
            }
            if self.input.capacity() - self.input.len() < MIN_ROOM {
                self.input.reserve(READ_SIZE);
            }
            tokio::select! {
                biased;
                () = self.peer.closing() => return Ok(()),
                () = stopped.cancelled() => return self.finish().await,
                written = write(&mut self.out, &mut self.writer), if waiting > 0 => written?,
                () = self.peer.pushed() => {}
                read = self.reader.read_buf(&mut self.input), if waiting < PAUSE_READING => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.take_requests()?;
                }
            }
        }
    }

    /// Serves every request that is there as a whole.
    fn take_requests(&mut self) -> io::Result<()> {
        let Peer { tap, origin, .. } = &*self.peer;
        let broken = loop {
            let before = self.input.len();
            match frame::decode(&mut self.input) {
                Ok(Some(command)) if command.head.is_response() => {
                    tap.callback_answer(origin, &command, before - self.input.len());
                }
                Ok(Some(command)) => {
                    let size = before - self.input.len();
                    let trail = (!tap.is_idle()).then(|| tap.request(origin, &command, size));
                    self.requests.push(Incoming { command, trail });
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if !self.requests.is_empty() {
            self.service
                .serve(&self.peer, &self.requests, &mut self.out);
            self.requests.clear();
        }
        match broken {
            None => Ok(()),
            Some(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// Writes what waits, then ends the stream.
    async fn finish(&mut self) -> io::Result<()> {
        self.peer.take_pushed(&mut self.out);
        let rest = async {
            while !self.out.is_empty() {
                self.out.write_some(&mut self.writer).await?;
            }
            self.writer.shutdown().await
        };
        tokio::time::timeout(LINGER, rest).await?
    }
}

/// Writes some of what waits. A peer for which reading has stopped must take some of it in time.
async fn write(out: &mut Outgoing, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    if out.len() < PAUSE_READING {
        out.write_some(writer).await
    } else {
        tokio::time::timeout(STALL, out.write_some(writer)).await?
    }
}
