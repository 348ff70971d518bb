//! The task of a connection: read, write and watch, in one place.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Connection, Inbound, Shared};
use crate::environment::ByteStream;
use crate::protocol::command::Command;
use crate::protocol::frame;
use crate::transport::error::Cause;
use crate::transport::outbox::Outbox;

/// The least and the most that one read asks for. An idle connection holds the least.
const READ_LEAST: usize = 4 * 1024;
const READ_MOST: usize = 64 * 1024;

/// Chunks that one write hands to the kernel.
const WRITE_CHUNKS: usize = 16;

/// After so many steps in a row the reader, or the writer, lets the others have theirs: with a peer that never stops it would use
/// up what tokio lets a task do at once, and no deadline would come.
const TURN: u32 = 32;

/// The peer is given up after this many calls in a row that waited in vain, if nothing at all was heard from it for this long after
/// the first of them had: calls that wait for less than a broker's pause must not end those that can wait.
const SILENT_CALLS: u32 = 3;
const SILENT_FOR: Duration = Duration::from_secs(1);

/// It is given up, too, if bytes came but no frame ended for this long: the length of a frame was wrong, and what comes is taken for its
/// rest. Longer, because a large answer over a slow network looks the same.
const STUCK_FOR: Duration = Duration::from_secs(30);

/// A peer that takes no byte for this long while some wait for it is given up.
const STALLED_FOR: Duration = Duration::from_secs(30);

/// How often a connection whose peer sends its clients away is looked at: whether it can end.
const AWAY: Duration = Duration::from_millis(100);

/// Deadlines that fall into the same span are looked at together.
const SPAN: Duration = Duration::from_millis(10);

/// Ends its connection with the task that holds it, also when that ends before its first step: nobody may wait for a task that
/// is gone.
pub(super) struct Alive(pub(super) Connection);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.shared.end(&Cause::Abandoned);
    }
}

pub(super) async fn run(
    stream: Box<dyn ByteStream>,
    alive: Alive,
    inbound: Arc<dyn Inbound>,
    shutdown: CancellationToken,
) {
    let (reader, writer) = tokio::io::split(stream);
    let connection = &alive.0;
    let shared = &*connection.shared;
    // Reading comes first, so that an answer that is there is seen before its deadline is.
    let cause = tokio::select! {
        biased;
        cause = read(reader, connection, &*inbound) => cause,
        cause = write(writer, shared) => cause,
        cause = watch(shared) => cause,
        () = shutdown.cancelled() => Cause::Shutdown,
    };
    let unclaimed = shared.state.lock().pending.unclaimed();
    let addr = &shared.addr;
    match &cause {
        Cause::Shutdown | Cause::Idle | Cause::SentAway => {
            debug!(%addr, %cause, unclaimed, "connection closed")
        }
        _ => warn!(%addr, %cause, unclaimed, "connection lost"),
    }
    shared.end(&cause);
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    connection: &Connection,
    inbound: &dyn Inbound,
) -> Cause {
    let shared = &*connection.shared;
    let mut buffer = BytesMut::new();
    let mut step = READ_LEAST;
    let (mut answers, mut requests, mut wakers) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = Turn::default();
    loop {
        if buffer.capacity() - buffer.len() < READ_LEAST / 4 {
            // What is reserved follows what was received: doubling for a long frame, a step between frames.
            buffer.reserve(step.max(buffer.len()));
        }
        let room = buffer.capacity() - buffer.len();
        let count = match reader.read_buf(&mut buffer).await {
            Ok(0) => return Cause::ClosedByPeer,
            Ok(count) => count,
            Err(error) => return error.into(),
        };
        step = match count {
            _ if count == room => (step * 2).min(READ_MOST),
            _ if count < step / 4 => (step / 2).max(READ_LEAST),
            _ => step,
        };
        let malformed = split_frames(&mut buffer, &mut answers, &mut requests).err();
        let frames = answers.len() + requests.len();
        shared.settle(frames, &mut answers, &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        requests
            .drain(..)
            .for_each(|request| inbound.request(connection, request));
        if let Some(error) = malformed {
            return Cause::Malformed(error);
        }
        turn.step().await;
    }
}

fn split_frames(
    buffer: &mut BytesMut,
    answers: &mut Vec<Command>,
    requests: &mut Vec<Command>,
) -> Result<(), crate::protocol::DecodeError> {
    while let Some(command) = frame::decode(buffer)? {
        if command.head.is_response() {
            answers.push(command)
        } else {
            requests.push(command)
        }
    }
    Ok(())
}

async fn write(mut writer: impl AsyncWrite + Unpin, shared: &Shared) -> Cause {
    let mut chunks = VecDeque::new();
    let mut turn = Turn::default();
    loop {
        {
            let mut state = shared.state.lock();
            state.outbox.take(&mut chunks);
            state.writer_waits = chunks.is_empty();
        }
        if chunks.is_empty() {
            shared.filled.notified().await;
            continue;
        }
        while !chunks.is_empty() {
            match timeout(STALLED_FOR, write_some(&mut writer, &chunks)).await {
                Ok(Ok(0)) => return io::Error::from(io::ErrorKind::WriteZero).into(),
                Ok(Ok(count)) => {
                    shared.wrote(count);
                    consume(&mut chunks, count);
                }
                Ok(Err(error)) => return error.into(),
                Err(_) => return Cause::Silent,
            }
            turn.step().await;
        }
        // A socket has nothing to flush; a stream that buffers would keep the end of what was written.
        match timeout(STALLED_FOR, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return Cause::Silent,
        }
    }
}

/// Counts the steps of the reader or the writer.
#[derive(Default)]
struct Turn(u32);

impl Turn {
    async fn step(&mut self) {
        self.0 += 1;
        if self.0 == TURN {
            self.0 = 0;
            yield_now().await;
        }
    }
}

async fn write_some(
    writer: &mut (impl AsyncWrite + Unpin),
    chunks: &VecDeque<Bytes>,
) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
        count += 1;
    }
    writer.write_vectored(&slices[..count]).await
}

fn consume(chunks: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = chunks.front_mut() {
        if count < first.len() {
            first.advance(count);
            return;
        }
        count -= first.len();
        chunks.pop_front();
    }
}

/// Ends calls at their deadlines, and the connection when its peer is silent or nothing happens on it.
async fn watch(shared: &Shared) -> Cause {
    let mut wakers = Vec::new();
    loop {
        let looked = shared.look(Instant::now(), &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        let next = match looked {
            Ok(next) => next,
            Err(cause) => return cause,
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = shared.rearm.notified() => {}
        }
    }
}

impl Shared {
    /// Hands answers to their calls. They are among so many frames that have come, which may be none.
    fn settle(&self, frames: usize, answers: &mut Vec<Command>, wakers: &mut Vec<Waker>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.active = now;
        state.pending.heard(frames);
        for answer in answers.drain(..) {
            state.pending.answer(answer, wakers);
        }
        if state.pending.is_away() {
            drop(state);
            self.rearm.notify_one();
            self.room.notify_waiters();
        }
    }

    fn wrote(&self, count: usize) {
        let mut state = self.state.lock();
        state.active = Instant::now();
        if state.outbox.wrote(count) {
            drop(state);
            self.room.notify_waiters();
        }
    }

    /// Looks at the clock; says when to look again.
    fn look(&self, now: Instant, wakers: &mut Vec<Waker>) -> Result<Instant, Cause> {
        let state = &mut *self.state.lock();
        let written = state.outbox.written();
        state.pending.expire(now, written, wakers);
        let is_away = state.pending.is_away();
        if is_away && (state.is_done() || now >= state.active + STUCK_FOR) {
            return Err(Cause::SentAway);
        }
        let silent = state.pending.silent_since(SILENT_CALLS);
        let stuck = state.pending.stuck_since(SILENT_CALLS);
        let give_up_at = [(silent, SILENT_FOR), (stuck, STUCK_FOR)];
        let give_up_at = give_up_at.map(|(since, limit)| since.map(|since| since + limit));
        let give_up_at = give_up_at.into_iter().flatten().min();
        if give_up_at.is_some_and(|at| at <= now) {
            return Err(Cause::Silent);
        }
        let idle_at = state.active + self.limits.idle;
        let next = match state.pending.due() {
            Some(due) => due.max(now + SPAN),
            None if now >= idle_at => return Err(Cause::Idle),
            None => idle_at,
        };
        let next = give_up_at.map_or(next, |at| next.min(at));
        let next = if is_away { next.min(now + AWAY) } else { next };
        state.armed = Some(next);
        Ok(next)
    }

    fn end(&self, cause: &Cause) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            let written = state.outbox.written();
            state.pending.poison(cause, written, &mut wakers);
            state.outbox = Outbox::new(self.limits.outbox);
        }
        wakers.into_iter().for_each(Waker::wake);
        self.room.notify_waiters();
    }
}
