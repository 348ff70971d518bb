//! A proxy that stands before a server and writes down every frame that passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A frame as it passed.
#[derive(Clone)]
pub struct Passed {
    /// Which connection it passed on, over all proxies of one recorder.
    pub connection: usize,
    /// Whether it went from the client to the server.
    pub to_server: bool,
    pub bytes: Bytes,
    pub command: Command,
}

/// What all proxies share: the frames, and which addresses clients must see instead of others.
#[derive(Clone, Default)]
pub struct Recorder {
    passed: Arc<Mutex<Vec<Passed>>>,
    addresses: Arc<Mutex<Vec<(String, String)>>>,
    connections: Arc<AtomicUsize>,
}

impl Recorder {
    /// A proxy on a free port before a server that need not be there yet. Clients that ask for `shown` get the proxy's address.
    pub async fn proxy(&self, upstream: &str, shown: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let addr = listener.local_addr().expect("an address").to_string();
        self.addresses.lock().push((shown.to_owned(), addr.clone()));
        let (recorder, upstream) = (self.clone(), upstream.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&upstream).await {
                    recorder.connect(client, server);
                }
            }
        });
        addr
    }

    fn connect(&self, client: TcpStream, server: TcpStream) {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(self.clone().pass(connection, true, from_client, to_server));
        tokio::spawn(self.clone().pass(connection, false, from_server, to_client));
    }

    /// Passes frames on until one side closes.
    async fn pass(
        self,
        connection: usize,
        to_server: bool,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) {
        let mut buffer = BytesMut::new();
        while matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            let mut out = BytesMut::new();
            while let Some(bytes) = take_frame(&mut buffer) {
                out.extend_from_slice(&if to_server {
                    bytes.clone()
                } else {
                    self.with_our_addresses(&bytes)
                });
                let command = frame::decode(&mut BytesMut::from(&*bytes));
                self.passed.lock().push(Passed {
                    connection,
                    to_server,
                    bytes,
                    command: command.expect("a frame").expect("a whole one"),
                });
            }
            if to.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    /// The frame with the proxies' addresses in the places of the servers'.
    fn with_our_addresses(&self, frame: &Bytes) -> Bytes {
        let mut bytes = frame.to_vec();
        for (theirs, ours) in &*self.addresses.lock() {
            let mut at = 0;
            while let Some(found) = find(&bytes[at..], theirs.as_bytes()) {
                at += found;
                bytes.splice(at..at + theirs.len(), ours.bytes());
                at += ours.len();
            }
        }
        // An address stands in a body only, so no length but the frame's changes.
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes.into()
    }

    /// All frames up to now.
    pub fn passed(&self) -> Vec<Passed> {
        self.passed.lock().clone()
    }
}

/// The first whole frame, with its length.
fn take_frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = 4 + buffer
        .chunk()
        .first_chunk()
        .map(|word| u32::from_be_bytes(*word))? as usize;
    (buffer.len() >= length).then(|| buffer.split_to(length).freeze())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
