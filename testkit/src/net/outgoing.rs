//! Bytes on their way to a peer.
//!
//! Knows: which bytes are copied together and which are handed on as they are. Does not know: frames, or sockets.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// From this size on a part is written from where it lies instead of being copied.
const KEEP_APART: usize = 1024;

/// While as much as this waits for a peer, nothing more is done for it.
const ENOUGH: usize = 8 * 1024 * 1024;

/// How many parts go into one write.
const PARTS: usize = 64;

/// A place in an [`Outgoing`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    parts: usize,
    tail: usize,
}

/// A queue of bytes to write: small parts copied together, large ones as they are.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    parts_len: usize,
    tail: BytesMut,
}

impl Outgoing {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.parts_len + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so much waits that the peer should take some of it first.
    pub(crate) fn is_enough(&self) -> bool {
        self.len() >= ENOUGH
    }

    /// Where small parts are written to.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, part: &Bytes) {
        if part.len() < KEEP_APART {
            self.tail.extend_from_slice(part);
        } else {
            self.close_tail();
            self.push(part.clone());
        }
    }

    /// The present end, to [`split_off`](Self::split_off) what comes behind it.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            parts: self.parts.len(),
            tail: self.tail.len(),
        }
    }

    /// Takes off everything behind the mark. Nothing may have been written to the peer since it was made.
    pub(crate) fn split_off(&mut self, mark: Mark) -> Self {
        self.close_tail();
        let mut parts = self.parts.split_off(mark.parts.min(self.parts.len()));
        if mark.tail > 0
            && let Some(first) = parts.front_mut()
        {
            // The tail of then has become a part.
            let kept = first.split_to(mark.tail.min(first.len()));
            self.parts.push_back(kept);
        }
        let parts_len = parts.iter().map(Bytes::len).sum();
        self.parts_len = self.parts.iter().map(Bytes::len).sum();
        Self {
            parts,
            parts_len,
            tail: BytesMut::new(),
        }
    }

    /// Moves everything of `other` behind what waits here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if other.parts.is_empty() && other.tail.len() < KEEP_APART {
            self.tail.extend_from_slice(&other.tail);
            other.tail.clear();
            return;
        }
        self.close_tail();
        other.close_tail();
        self.parts_len += other.parts_len;
        other.parts_len = 0;
        self.parts.append(&mut other.parts);
    }

    /// Writes as much as the peer takes in one go.
    ///
    /// # Cancel safety
    /// Nothing is lost or written twice: what was written is taken off only when the write has returned.
    pub(crate) async fn write_some(
        &mut self,
        peer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); PARTS];
        let mut used = 0;
        let tail = &self.tail[..];
        let tail = (!tail.is_empty()).then_some(tail);
        for (slice, part) in slices
            .iter_mut()
            .zip(self.parts.iter().map(|part| &part[..]).chain(tail))
        {
            *slice = IoSlice::new(part);
            used += 1;
        }
        let written = peer.write_vectored(&slices[..used]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.take_off(written);
        Ok(())
    }

    fn take_off(&mut self, mut written: usize) {
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                self.parts_len -= written;
                return;
            }
            written -= part.len();
            self.parts_len -= part.len();
            self.parts.pop_front();
        }
        self.tail.advance(written);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.push(tail);
        }
    }

    fn push(&mut self, part: Bytes) {
        self.parts_len += part.len();
        self.parts.push_back(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn bytes(out: &mut Outgoing) -> Vec<u8> {
        out.close_tail();
        out.parts.iter().flatten().copied().collect()
    }

    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), KEEP_APART - 2..KEEP_APART + 2).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    proptest! {
        #[test]
        fn what_comes_behind_a_mark_can_be_taken_off(
            before in proptest::collection::vec(part(), 0..6),
            after in proptest::collection::vec(part(), 0..6),
        ) {
            let mut out = Outgoing::default();
            before.iter().for_each(|part| out.put(&part.clone().into()));
            let mark = out.mark();
            after.iter().for_each(|part| out.put(&part.clone().into()));
            let mut off = out.split_off(mark);
            let lens = (out.len(), off.len());
            let (before, after) = (before.concat(), after.concat());
            prop_assert_eq!(lens, (before.len(), after.len()));
            prop_assert_eq!(bytes(&mut out), before);
            prop_assert_eq!(bytes(&mut off), after);
        }
    }

    #[tokio::test]
    async fn writes_small_and_large_parts_in_order() {
        let mut out = Outgoing::default();
        let mut expected = Vec::new();
        for i in 0..200_usize {
            let part = Bytes::from(vec![i as u8; if i % 3 == 0 { 2000 } else { i }]);
            expected.extend_from_slice(&part);
            if i % 10 == 9 {
                let mut other = Outgoing::default();
                other.put(&part);
                out.append(&mut other);
                assert!(other.is_empty());
            } else {
                out.put(&part);
            }
        }
        assert_eq!(out.len(), expected.len());
        let (mut near, mut far) = tokio::io::duplex(777);
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.map(|_| got)
        });
        while !out.is_empty() {
            out.write_some(&mut near).await.unwrap();
        }
        drop(near);
        assert_eq!(reader.await.unwrap().unwrap(), expected);
    }
}
