//! What waits to be written to one connection. Pure.
//!
//! Senders append whole frames; the writer takes everything that is there at once, so that many frames share one system call
//! and no frame is ever cut by a sender that goes away.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::protocol::command::{Head, Serialization};
use crate::protocol::fields::FieldWriter;
use crate::protocol::frame::{self, FrameTooLarge};

/// A body of at least this many bytes is handed on as it is; a smaller one is cheaper to copy behind its header.
const SHARE_FROM: usize = 1024;

/// Growing the buffer past this is for one burst only; it is given back after it.
const KEEP_CAPACITY: usize = 64 * 1024;

/// Frames that are not written yet.
#[derive(Debug)]
pub(super) struct Outbox {
    sealed: VecDeque<Bytes>,
    open: BytesMut,
    /// Bytes appended and bytes known to be written, since the connection began.
    appended: u64,
    written: u64,
    limit: usize,
}

impl Outbox {
    /// An outbox that takes frames until `limit` bytes wait in it. One frame may pass the limit.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sealed: VecDeque::new(),
            open: BytesMut::new(),
            appended: 0,
            written: 0,
            limit,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.appended - self.written >= self.limit as u64
    }

    /// Where the next frame will begin, counted in bytes since the connection began.
    pub(super) fn position(&self) -> u64 {
        self.appended
    }

    /// How many bytes were handed to the peer, counted the same way.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn append(
        &mut self,
        serialization: Serialization,
        head: &Head,
        remark: Option<&str>,
        body: &Bytes,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), FrameTooLarge> {
        let before = self.open.len();
        frame::encode_with(
            &mut self.open,
            serialization,
            head,
            remark,
            body.len(),
            fields,
        )?;
        self.appended += (self.open.len() - before + body.len()) as u64;
        if body.len() < SHARE_FROM {
            self.open.extend_from_slice(body);
        } else {
            self.sealed.push_back(self.open.split().freeze());
            self.sealed.push_back(body.clone());
        }
        Ok(())
    }

    /// Moves everything that waits behind `chunks`.
    pub(super) fn take(&mut self, chunks: &mut VecDeque<Bytes>) {
        chunks.append(&mut self.sealed);
        if !self.open.is_empty() {
            chunks.push_back(self.open.split().freeze());
            if self.open.capacity() > KEEP_CAPACITY {
                self.open = BytesMut::new();
            }
        }
    }

    /// Notes that the peer has taken `bytes` more. True when that made room.
    pub(super) fn wrote(&mut self, bytes: usize) -> bool {
        let was_full = self.is_full();
        self.written += bytes as u64;
        was_full && !self.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::code::RequestCode;

    fn append(outbox: &mut Outbox, body: &Bytes) {
        let head = Head::request(RequestCode::SEND_MESSAGE_V2, 1);
        outbox
            .append(Serialization::Binary, &head, None, body, |_| {})
            .unwrap();
    }

    #[test]
    fn small_frames_share_a_chunk_and_a_large_body_is_not_copied() {
        let mut outbox = Outbox::new(1 << 20);
        let large = Bytes::from(vec![7; SHARE_FROM]);
        append(&mut outbox, &Bytes::from_static(b"a"));
        append(&mut outbox, &Bytes::from_static(b"b"));
        append(&mut outbox, &large);
        append(&mut outbox, &Bytes::from_static(b"c"));
        let mut chunks = VecDeque::new();
        outbox.take(&mut chunks);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        outbox.take(&mut chunks);
        assert_eq!(chunks.len(), 3);
        assert_eq!(
            outbox.position(),
            chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>()
        );
    }

    #[test]
    fn it_is_full_until_the_peer_takes_bytes() {
        let mut outbox = Outbox::new(10);
        append(&mut outbox, &Bytes::new());
        assert!(outbox.is_full());
        let size = outbox.position() as usize;
        assert!(!outbox.wrote(1) && outbox.wrote(size - 1));
        assert!(!outbox.is_full());
    }
}
