//! The lines of one stand-in: for every connection of a client one to the server behind it.
//!
//! Knows: which answer belongs to which request, and by which id a client calls itself. Does not know: what else either says, or where
//! other servers are.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rocketmq_sdk::environment::ByteStream;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::fault::frame::encode;
use crate::net::deferred::Work;
use crate::net::network::Network;
use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;
use crate::net::{Incoming, Serve};
use crate::relay::directory::Directory;
use crate::tap::Trail;

/// How many frames may wait for a server that does not read; with more the client's connection is closed.
const MAX_WAITING: usize = 10_000;

/// The service of a stand-in: passes on what it is asked.
#[derive(Debug)]
pub(super) struct Lines {
    /// The server behind it.
    server: String,
    directory: Arc<Directory>,
    runtime: Handle,
    /// By the client's connection.
    lines: Mutex<HashMap<u64, Line>>,
}

/// A connection to the server. It ends with its sender.
#[derive(Debug)]
struct Line {
    to_server: mpsc::Sender<Bytes>,
    waiting: Waiting,
}

/// The requests that are not answered yet, by their opaque.
type Waiting = Arc<Mutex<HashMap<i32, Arc<Trail>>>>;

impl Lines {
    pub(super) fn new(server: String, directory: Arc<Directory>) -> Self {
        Self {
            server,
            directory,
            runtime: Handle::current(),
            lines: Mutex::default(),
        }
    }

    fn send(&self, peer: &Arc<Peer>, command: &Command, trail: Option<&Arc<Trail>>) {
        let mut lines = self.lines.lock();
        let line = lines.entry(peer.id).or_insert_with(|| self.open(peer));
        if let (Some(trail), false) = (trail, command.head.is_oneway()) {
            line.waiting
                .lock()
                .insert(command.head.opaque, Arc::clone(trail));
        }
        if line.to_server.try_send(encode(command, None)).is_err() {
            tracing::warn!(peer = %peer.addr, server = self.server, "closing a connection whose server does not read");
            peer.close();
        }
    }

    fn open(&self, peer: &Arc<Peer>) -> Line {
        let (to_server, from_client) = mpsc::channel(MAX_WAITING);
        let waiting = Waiting::default();
        let passing = Passing {
            peer: Arc::clone(peer),
            directory: Arc::clone(&self.directory),
            waiting: Arc::clone(&waiting),
        };
        self.runtime
            .spawn(passing.run(self.server.clone(), from_client));
        Line { to_server, waiting }
    }
}

impl Serve for Lines {
    fn serve(&self, peer: &Arc<Peer>, requests: &[Incoming], _: &mut Outgoing) -> usize {
        for request in requests {
            note_client(peer, request);
            self.send(peer, &request.command, request.trail.as_ref());
        }
        requests.len()
    }

    fn answered(&self, peer: &Peer, answer: &Command) {
        let lines = self.lines.lock();
        if let Some(line) = lines.get(&peer.id) {
            // A server that takes no more finds the connection closed by its next request.
            let _ = line.to_server.try_send(encode(answer, None));
        }
    }

    fn closed(&self, peer: &Peer) {
        self.lines.lock().remove(&peer.id);
    }
}

/// What the task of a line has.
struct Passing {
    peer: Arc<Peer>,
    directory: Arc<Directory>,
    waiting: Waiting,
}

impl Passing {
    /// Passes frames on in both directions until either side ends, and then ends the other.
    async fn run(self, server: String, from_client: mpsc::Receiver<Bytes>) {
        let ended = match Network::Tcp.connect(&server).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                tokio::select! {
                    ended = write_all(from_client, writer) => ended,
                    ended = self.read_all(reader) => ended,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer.addr, server, %error, "the line to a server has ended");
        }
        // After what the server has still answered.
        self.peer.do_later(Duration::ZERO, Work::Cut(Bytes::new()));
    }

    async fn read_all(&self, mut reader: ReadHalf<Box<dyn ByteStream>>) -> io::Result<()> {
        let mut input = BytesMut::new();
        while reader.read_buf(&mut input).await? > 0 {
            while let Some(command) = frame::decode(&mut input).map_err(io::Error::other)? {
                if command.head.is_response() {
                    self.answer(command)?;
                } else {
                    self.ask(&command);
                }
            }
        }
        Ok(())
    }

    /// Passes an answer on.
    fn answer(&self, mut command: Command) -> io::Result<()> {
        let trail = self.waiting.lock().remove(&command.head.opaque);
        let about = trail.as_ref().map(|trail| trail.about());
        if matches!(
            about,
            Some(RequestCode::GET_ROUTEINFO_BY_TOPIC | RequestCode::GET_BROKER_CLUSTER_INFO)
        ) {
            command.body = self.directory.with_stand_ins(command.body)?;
        }
        let (frame, body) = parts(&command);
        self.peer.push(|out| {
            if let Some(trail) = &trail {
                trail.answered(command.head, &frame, std::slice::from_ref(&body));
                if let Some(rule) = trail.rule() {
                    let mut frame = frame;
                    frame.extend_from_slice(&body);
                    return rule.send(trail.peer(), frame, out);
                }
            }
            out.put(&frame.freeze());
            out.put(&body);
        });
        Ok(())
    }

    /// Passes a request of the server on.
    fn ask(&self, command: &Command) {
        let (frame, body) = parts(command);
        let (peer, head) = (&self.peer, command.head);
        peer.push(|out| peer.tap.callback(peer, head, frame, &body, out));
    }
}

/// Clients say who they are in their heartbeats, and what they ask on the same connection is theirs.
fn note_client(peer: &Peer, request: &Incoming) {
    let trail = request.trail.as_ref();
    let heartbeat = trail.filter(|trail| trail.about() == RequestCode::HEART_BEAT);
    if let Some(client_id) = heartbeat.and_then(|trail| trail.client_id()) {
        peer.calls_itself(client_id);
    }
}

/// A command's frame up to its body, and the body.
fn parts(command: &Command) -> (BytesMut, Bytes) {
    let mut frame = BytesMut::from(&encode(command, None)[..]);
    frame.truncate(frame.len().saturating_sub(command.body.len()));
    (frame, command.body.clone())
}

async fn write_all(
    mut frames: mpsc::Receiver<Bytes>,
    mut writer: WriteHalf<Box<dyn ByteStream>>,
) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        writer.write_all(&frame).await?;
    }
    Ok(())
}
