//! Message ids: the one a client gives to a message, and the one that says where a broker stored it.
//!
//! Knows: their form and how to stay unique. Does not know: the clock, the process or the host (they are parameters).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{self, FromStr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::protocol::DecodeError;

/// The longest id in hexadecimal digits, and so the length of the buffer that an id is written into.
pub const MAX_LEN: usize = 56;

/// The id's part after the address and the process id: seed, milliseconds and counter.
const TAIL_LEN: usize = 2 * (4 + 4 + 2);

/// Gives messages their unique ids.
///
/// The form is Java's, in upper-case hexadecimal: address (4 or 16 bytes), process id (2), a number that tells processes on one
/// host apart (4), milliseconds since the start of the month (4), a counter (2). That is 32 digits, or 56 for an IPv6 address.
///
/// What is in the form is better than Java's in three ways:
///
/// - Milliseconds and counter are one number that only grows. When the clock stands still, jumps back, or more than
///   65,536 ids are needed in a millisecond, the number runs ahead of the clock instead of repeating itself.
/// - The seed field is the seed plus the number of the month. The milliseconds start again every month, so without it a process
///   that lives longer could repeat the ids of the month before.
/// - Months are those of UTC, since the local zone cannot be asked for without a library, and does not jump. A tool that
///   reads the time out of an id with its local zone is wrong by that zone's offset.
///
/// Ids of one generator are unique for as long as it lives; two generators of one process need two seeds.
#[derive(Debug)]
pub struct UniqueIdGenerator {
    /// The hexadecimal address and process id.
    prefix: [u8; MAX_LEN - TAIL_LEN],
    prefix_len: usize,
    seed: u32,
    /// Unix milliseconds in the upper 48 bits and the counter in the lower 16: what the next id gets, unless the clock is ahead.
    next: AtomicU64,
}

impl UniqueIdGenerator {
    /// A generator for this host's address, this process's id (its lower 16 bits) and a random seed.
    pub fn new(ip: IpAddr, pid: u16, seed: u32) -> Self {
        let mut prefix = [0; MAX_LEN - TAIL_LEN];
        let mut writer = HexWriter {
            out: &mut prefix,
            len: 0,
        };
        writer.put_ip(ip);
        writer.put(&pid.to_be_bytes());
        let prefix_len = writer.len;
        Self {
            prefix,
            prefix_len,
            seed,
            next: AtomicU64::new(0),
        }
    }

    /// Writes the next id into `buffer` and returns it, at the time `unix_millis` (milliseconds since 1970).
    ///
    /// Never blocks, and may be called from any number of threads. The time need not be monotonic.
    pub fn next<'a>(&self, unix_millis: u64, buffer: &'a mut [u8; MAX_LEN]) -> &'a str {
        let (millis, counter) = self.take(unix_millis);
        let month = Month::of(millis);
        let mut writer = HexWriter {
            out: buffer,
            len: 0,
        };
        writer.put_hex(&self.prefix[..self.prefix_len]);
        let mut tail = [0; TAIL_LEN / 2];
        tail[..4].copy_from_slice(&self.seed.wrapping_add(month.number).to_be_bytes());
        // A month has fewer milliseconds than a `u32` can count.
        tail[4..8].copy_from_slice(&((millis - month.start_millis) as u32).to_be_bytes());
        tail[8..].copy_from_slice(&counter.to_be_bytes());
        writer.put(&tail);
        let len = writer.len;
        hex_str(&buffer[..len])
    }

    /// A pair of Unix milliseconds and counter that nobody else gets.
    fn take(&self, unix_millis: u64) -> (u64, u16) {
        // An absurd clock must not overflow the number; 47 bits of milliseconds last for 4,000 years.
        let now = unix_millis.min((1 << 47) - 1) << 16;
        if self.next.load(Relaxed) < now {
            self.next.fetch_max(now, Relaxed);
        }
        // The number never decreases, and only here is it given out: every value at most once.
        let taken = self.next.fetch_add(1, Relaxed);
        (taken >> 16, taken as u16)
    }
}

/// The id that a broker gives to a stored message: its own address and the message's position in its commit log.
///
/// Written as 32 upper-case hexadecimal digits, or 56 for an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// The broker's address.
    pub host: SocketAddr,
    /// The position in the broker's commit log, in bytes.
    pub physical_offset: i64,
}

impl OffsetMessageId {
    /// Writes the id into `buffer` and returns it.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; MAX_LEN]) -> &'a str {
        let mut writer = HexWriter {
            out: buffer,
            len: 0,
        };
        writer.put_ip(self.host.ip());
        writer.put(&u32::from(self.host.port()).to_be_bytes());
        writer.put(&self.physical_offset.to_be_bytes());
        let len = writer.len;
        hex_str(&buffer[..len])
    }

    /// Reads an id, in upper or lower case.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] if it has another length than 32 or 56 digits or other characters, and
    /// [`DecodeError::OutOfRange`] if the port has more than 16 bits.
    pub fn decode(id: &str) -> Result<Self, DecodeError> {
        let digits = id.as_bytes();
        let (ip, rest) = match digits.len() {
            32 => (IpAddr::from(Ipv4Addr::from(parse_hex::<4>(digits, 0)?)), 8),
            56 => (
                IpAddr::from(Ipv6Addr::from(parse_hex::<16>(digits, 0)?)),
                32,
            ),
            _ => return Err(invalid(0, "has neither 32 nor 56 hexadecimal digits")),
        };
        let port = i32::from_be_bytes(parse_hex(digits, rest)?);
        let port = u16::try_from(port).map_err(|_| DecodeError::OutOfRange {
            what: "port of an offset message id",
            offset: rest,
            value: i64::from(port),
            min: 0,
            max: i64::from(u16::MAX),
        })?;
        let physical_offset = i64::from_be_bytes(parse_hex(digits, rest + 8)?);
        Ok(Self {
            host: SocketAddr::new(ip, port),
            physical_offset,
        })
    }
}

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.encode(&mut [0; MAX_LEN]))
    }
}

impl FromStr for OffsetMessageId {
    type Err = DecodeError;

    fn from_str(id: &str) -> Result<Self, DecodeError> {
        Self::decode(id)
    }
}

/// A month of the UTC calendar.
struct Month {
    /// Counted from an arbitrary one.
    number: u32,
    start_millis: u64,
}

impl Month {
    /// The month that `unix_millis` is in.
    ///
    /// Counts years from March, so that the leap day is the last day of a year and the lengths of the months follow a line: the
    /// first day of month `m` after March is day `(153 * m + 2) / 5` of the year.
    fn of(unix_millis: u64) -> Self {
        const DAY_MILLIS: u64 = 86_400_000;
        const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
        const DAYS_IN_400_YEARS: u64 = 146_097;

        let unix_day = unix_millis / DAY_MILLIS;
        let days = unix_day + DAYS_FROM_MARCH_OF_YEAR_0;
        let era = days / DAYS_IN_400_YEARS;
        let day_of_era = days % DAYS_IN_400_YEARS;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month + 2) / 5;
        Self {
            number: ((era * 400 + year_of_era) * 12 + month) as u32,
            // January 1970 starts at 0, so no month that follows starts before it.
            start_millis: (unix_day - day_of_month) * DAY_MILLIS,
        }
    }
}

struct HexWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl HexWriter<'_> {
    fn put_ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.put(&ip.octets()),
            IpAddr::V6(ip) => self.put(&ip.octets()),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let out = &mut self.out[self.len..self.len + 2 * bytes.len()];
        for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&HEX[usize::from(*byte)]);
        }
        self.len += 2 * bytes.len();
    }

    fn put_hex(&mut self, digits: &[u8]) {
        self.out[self.len..self.len + digits.len()].copy_from_slice(digits);
        self.len += digits.len();
    }
}

/// The two upper-case digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789ABCDEF";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 0xF]];
        byte += 1;
    }
    table
};

fn hex_str(digits: &[u8]) -> &str {
    str::from_utf8(digits).expect("hexadecimal digits are ASCII")
}

/// The `N` bytes whose digits start at `offset`, which the caller knows to be there.
fn parse_hex<const N: usize>(digits: &[u8], offset: usize) -> Result<[u8; N], DecodeError> {
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        let at = offset + 2 * i;
        *byte = parse_digit(digits, at)? << 4 | parse_digit(digits, at + 1)?;
    }
    Ok(bytes)
}

fn parse_digit(digits: &[u8], at: usize) -> Result<u8, DecodeError> {
    match digits[at] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(invalid(at, "is not hexadecimal")),
    }
}

fn invalid(offset: usize, reason: &'static str) -> DecodeError {
    DecodeError::Invalid {
        what: "offset message id",
        offset,
        reason,
    }
}

#[cfg(test)]
mod tests;
