//! A way to kill a client inside a process: from the outside it looks as if its process were gone.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use rocketmq_sdk::environment::{ByteStream, Environment};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// An environment whose connections all end when it is cut, and that makes no others then.
#[derive(Debug)]
pub struct Severed {
    inner: Arc<dyn Environment>,
    cut: CancellationToken,
}

impl Severed {
    pub fn new(inner: Arc<dyn Environment>, cut: CancellationToken) -> Arc<Self> {
        Arc::new(Self { inner, cut })
    }
}

#[async_trait]
impl Environment for Severed {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        if self.cut.is_cancelled() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let inner = self.inner.connect(addr).await?;
        let ended = Box::pin(self.cut.clone().cancelled_owned());
        Ok(Box::new(Stream {
            inner,
            cut: self.cut.clone(),
            ended,
        }))
    }

    async fn local_ip(&self, peer: &str) -> IpAddr {
        self.inner.local_ip(peer).await
    }

    fn now(&self) -> SystemTime {
        self.inner.now()
    }

    fn seed(&self) -> u64 {
        self.inner.seed()
    }
}

struct Stream {
    inner: Box<dyn ByteStream>,
    cut: CancellationToken,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cut.is_cancelled() || self.ended.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
