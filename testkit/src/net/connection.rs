//! One connection: its task reads requests, has them served, and writes what there is to write in as few writes as it can.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::call::Call;
use crate::net::deferred::Work;
use crate::net::gate::Gate;
use crate::net::outgoing::Outgoing;
use crate::net::peer::{MAX_WAITING, Peer};
use crate::net::{Incoming, Serve};
use crate::tap::Admitted;

/// How many bytes are read at once, at most.
const READ_SIZE: usize = 64 * 1024;

/// With less room than this a new buffer is taken.
const MIN_ROOM: usize = 4 * 1024;

/// How long a peer for which [enough](Outgoing::is_enough) waits may take none of it before its connection is closed.
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
    gate: Arc<Gate>,
    ending: Ending,
) {
    let (reader, writer) = tokio::io::split(stream);
    let mut connection = Connection {
        reader,
        writer,
        input: BytesMut::new(),
        requests: Vec::new(),
        last: None,
        out: Outgoing::default(),
        peer,
        service,
        gate,
    };
    let end = tokio::select! {
        biased;
        () = ending.killed.cancelled() => None,
        end = connection.serve(&ending.stopped) => Some(end),
    };
    connection.peer.deferred.close();
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
    /// How the connection ends once these are served.
    last: Option<io::Result<()>>,
    out: Outgoing,
    peer: Arc<Peer>,
    service: Arc<dyn Serve>,
    gate: Arc<Gate>,
}

impl<S: Stream> Connection<S> {
    async fn serve(&mut self, stopped: &CancellationToken) -> io::Result<()> {
        // When nothing had to wait, or some of it was taken.
        let mut progress = Instant::now();
        loop {
            if self.gate.is_closed() && self.wait_at_gate(stopped).await? == Goes::Ended {
                return Ok(());
            }
            self.take_requests();
            self.serve_requests();
            self.peer.take_pushed(&mut self.out);
            let waiting = self.out.len();
            if waiting > MAX_WAITING {
                return Err(io::Error::other("the peer does not read"));
            }
            if self.requests.is_empty()
                && let Some(end) = self.last.take()
            {
                return self.finish().await.and(end);
            }
            if !self.out.is_enough() {
                progress = Instant::now();
            }
            let reads = !self.out.is_enough() && self.last.is_none();
            self.make_room();
            tokio::select! {
                biased;
                () = self.peer.closing() => return Ok(()),
                () = stopped.cancelled() => return self.finish().await,
                written = self.out.write_some(&mut self.writer), if waiting > 0 => {
                    written?;
                    progress = Instant::now();
                }
                () = self.peer.pushed() => {}
                () = self.peer.deferred.due(), if self.peer.deferred.any() => {
                    if self.gate.is_closed() {
                        continue;
                    }
                    let peer = Arc::clone(&self.peer);
                    // It may take as long as a fault wants it to.
                    tokio::select! {
                        biased;
                        () = peer.closing() => return Ok(()),
                        () = stopped.cancelled() => return Ok(()),
                        goes = self.do_deferred() => if goes? == Goes::Ended {
                            return Ok(());
                        }
                    }
                }
                read = self.reader.read_buf(&mut self.input), if reads => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(progress + STALL), if self.out.is_enough() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }

    async fn wait_at_gate(&mut self, stopped: &CancellationToken) -> io::Result<Goes> {
        tokio::select! {
            biased;
            () = self.peer.closing() => Ok(Goes::Ended),
            () = stopped.cancelled() => self.finish().await.map(|()| Goes::Ended),
            () = self.gate.pass() => Ok(Goes::On),
        }
    }

    fn make_room(&mut self) {
        if self.input.capacity() - self.input.len() < MIN_ROOM {
            self.input.reserve(READ_SIZE);
        }
    }

    /// Takes every request that is there as a whole.
    fn take_requests(&mut self) {
        while self.last.is_none() {
            let before = self.input.len();
            match frame::decode(&mut self.input) {
                Ok(Some(command)) => {
                    let size = before - self.input.len();
                    if !self.take_command(command, size) {
                        self.last = Some(Ok(()));
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    self.last = Some(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
    }

    /// Serves what was taken, until enough waits to be written.
    fn serve_requests(&mut self) {
        if !self.requests.is_empty() {
            let served = self
                .service
                .serve(&self.peer, &self.requests, &mut self.out);
            self.requests.drain(..served);
        }
    }

    /// Takes a request or an answer of the peer. `false`: the connection is to end at once.
    fn take_command(&mut self, command: Command, size: usize) -> bool {
        let tap = &self.peer.tap;
        if command.head.is_response() {
            tap.callback_answer(&self.peer.origin, &command, size);
            self.service.answered(&self.peer, &command);
            return true;
        }
        match tap.admit(&self.peer, command, size) {
            Admitted::Now(incoming) => self.requests.push(incoming),
            Admitted::Refused(incoming, code, remark) => {
                Call::refuse_unserved(&incoming, &self.peer, &mut self.out, code, &remark);
            }
            Admitted::Gone => {}
            Admitted::Disconnect => return false,
        }
        true
    }

    /// Does what faults had put off and is due now.
    async fn do_deferred(&mut self) -> io::Result<Goes> {
        while let Some(work) = self.peer.deferred.take_due(Instant::now()) {
            match work {
                Work::Serve(incoming) => {
                    self.requests.push(incoming);
                    self.serve_requests();
                }
                Work::Write(frame) => self.out.put(&frame),
                Work::Trickle(frame, rate) => {
                    self.write_all_out().await?;
                    trickle(&frame, rate, &mut self.writer).await?;
                }
                Work::Cut(bytes) => {
                    self.write_all_out().await?;
                    self.writer.write_all(&bytes).await?;
                    self.writer.shutdown().await?;
                    return Ok(Goes::Ended);
                }
                Work::HalfClose => {
                    self.write_all_out().await?;
                    self.writer.shutdown().await?;
                    tokio::io::copy(&mut self.reader, &mut tokio::io::sink()).await?;
                    return Ok(Goes::Ended);
                }
            }
        }
        Ok(Goes::On)
    }

    async fn write_all_out(&mut self) -> io::Result<()> {
        self.peer.take_pushed(&mut self.out);
        while !self.out.is_empty() {
            self.out.write_some(&mut self.writer).await?;
        }
        Ok(())
    }

    /// Writes what waits, then ends the stream.
    async fn finish(&mut self) -> io::Result<()> {
        let rest = async {
            self.write_all_out().await?;
            self.writer.shutdown().await
        };
        tokio::time::timeout(LINGER, rest).await?
    }
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Ended,
}

/// Writes so many bytes a second.
async fn trickle(
    mut bytes: &[u8],
    rate: u32,
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    /// How often something is written, where there is a byte for it.
    const PER_SECOND: u32 = 20;
    let chunk = rate.div_ceil(PER_SECOND);
    let pause = Duration::from_secs(1) * chunk / rate;
    while let Some((now, rest)) = bytes.split_at_checked(chunk.min(bytes.len() as u32) as usize) {
        writer.write_all(now).await?;
        if rest.is_empty() {
            break;
        }
        tokio::time::sleep(pause).await;
        bytes = rest;
    }
    Ok(())
}
