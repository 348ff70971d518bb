//! The one seam to the outside world: byte streams, the wall clock, and the seed of what a client is known by.
//!
//! Everything else in the crate is a function of these and of tokio's timers, so a test that gives an environment of its own
//! decides what the client sees. Monotonic time is tokio's; what only has to be different - how long pauses are, with which queue turns
//! begin, the ids of requests - is random.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::sleep;

/// A connected stream of bytes.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Where a client's bytes, time and randomness come from.
///
/// [`TcpEnvironment`] is the default. The testkit has one over in-memory streams.
#[async_trait]
pub trait Environment: fmt::Debug + Send + Sync + 'static {
    /// Connects to `host:port`. The caller bounds the time it takes.
    ///
    /// # Errors
    /// The host is not known, or nobody listens there.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>>;

    /// The address by which this machine would speak to `peer` (`host:port`): part of the client's identity and of message ids.
    /// The loopback address where that cannot be told.
    async fn local_ip(&self, peer: &str) -> IpAddr {
        let _ = peer;
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    /// The wall clock, for time stamps in messages. Nothing is measured with it.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// A seed for the random numbers of one client.
    fn seed(&self) -> u64 {
        rand::random()
    }
}

/// TCP, the system's clock, and random seeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpEnvironment;

impl TcpEnvironment {
    /// How long a connection may be silent before the kernel probes it, and how long sent bytes may wait to be acknowledged:
    /// a peer that vanished without a word is noticed after this time.
    const PROBE_AFTER: Duration = Duration::from_secs(10);

    fn tune(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(Self::PROBE_AFTER)
            .with_interval(Duration::from_secs(3));
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(Self::PROBE_AFTER * 2))?;
        Ok(())
    }
}

#[async_trait]
impl Environment for TcpEnvironment {
    /// Looks the host up at every call, so that a peer that moved is found again, and tries its addresses in their order: the next
    /// one as soon as one fails, or has not answered for a quarter of a second. The first that answers counts.
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        let addrs = tokio::net::lookup_host(addr).await?;
        let stream = first_of(addrs, TcpStream::connect).await?;
        Self::tune(&stream)?;
        Ok(Box::new(stream))
    }

    async fn local_ip(&self, peer: &str) -> IpAddr {
        // Connecting a datagram socket sends nothing; it only asks the kernel for a route.
        let ask = async {
            let peer = tokio::net::lookup_host(peer)
                .await?
                .next()
                .ok_or(io::ErrorKind::NotFound)?;
            let any = match peer.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(peer).await?;
            io::Result::Ok(socket.local_addr()?.ip())
        };
        ask.await.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// How long an address of a host has for itself before the next one is tried too.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of a host's addresses that answers.
async fn first_of<T, F: Future<Output = io::Result<T>>>(
    addrs: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut addrs = addrs.into_iter().fuse();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        let next = addrs.next().map(&connect);
        let may_be_more = next.is_some();
        attempts.extend(next);
        tokio::select! {
            biased;
            attempt = attempts.next() => match attempt {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = sleep(HEAD_START), if may_be_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Connects to addresses with an odd port after so many milliseconds; the others refuse, and port 0 never answers.
    async fn connect(addr: SocketAddr) -> io::Result<u16> {
        match addr.port() {
            0 => std::future::pending().await,
            port => sleep(Duration::from_millis(port.into())).await,
        }
        match addr.port() % 2 {
            1 => Ok(addr.port()),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    fn addrs(ports: &[u16]) -> Vec<SocketAddr> {
        let addr = |port: &u16| (Ipv4Addr::LOCALHOST, *port).into();
        ports.iter().map(addr).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_answers_counts() {
        for (ports, expected, millis) in [
            (&[1, 3][..], Some(1), 1),
            // A refusal is not waited for, and silence not for long.
            (&[2, 3], Some(3), 5),
            (&[0, 3], Some(3), 253),
            (&[0, 0, 3], Some(3), 503),
            // A slow one may still be the first.
            (&[301, 401], Some(301), 301),
            (&[2, 4], None, 6),
            (&[], None, 0),
        ] {
            let began = Instant::now();
            let connected = first_of(addrs(ports), connect).await;
            assert_eq!(connected.ok(), expected, "{ports:?}");
            assert_eq!(began.elapsed().as_millis(), millis, "{ports:?}");
        }
    }
}
