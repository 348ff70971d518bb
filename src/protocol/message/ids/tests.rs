use std::{collections::HashSet, thread};

use proptest::prelude::*;

use super::*;

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1));

/// 2024-03-01T00:00:00Z, after a leap day.
const MARCH_2024: u64 = 1_709_251_200_000;

fn next(generator: &UniqueIdGenerator, unix_millis: u64) -> String {
    generator.next(unix_millis, &mut [0; MAX_LEN]).to_owned()
}

#[test]
fn has_javas_form() {
    let generator = UniqueIdGenerator::new(IP, 0x1234, 0);
    let month = Month::of(MARCH_2024).number;
    let seed = UniqueIdGenerator::new(IP, 0x1234, 0x0102_0304_u32.wrapping_sub(month));
    assert_eq!(
        next(&seed, MARCH_2024 + 0xABC),
        "C0A80001123401020304".to_owned() + "00000ABC0000"
    );
    assert_eq!(
        next(&seed, MARCH_2024 + 0xABC),
        "C0A80001123401020304".to_owned() + "00000ABC0001"
    );
    assert_eq!(
        next(&seed, MARCH_2024 + 0xABD),
        "C0A80001123401020304".to_owned() + "00000ABD0000"
    );
    assert_eq!(next(&generator, MARCH_2024).len(), 32);
}

#[test]
fn has_56_digits_for_an_ipv6_address() {
    let ip = "2001:db8::ff".parse().unwrap();
    let id = next(&UniqueIdGenerator::new(ip, 1, 2), MARCH_2024);
    assert_eq!(id.len(), 56);
    assert!(
        id.starts_with("20010DB80000000000000000000000FF0001"),
        "{id}"
    );
}

#[test]
fn counts_on_when_the_clock_stands_still_or_jumps_back() {
    let generator = UniqueIdGenerator::new(IP, 1, 2);
    let mut seen = HashSet::new();
    for step in 0..200_000_u64 {
        let now = match step % 4 {
            0 => MARCH_2024,
            1 => MARCH_2024 - step * 1_000,
            2 => 0,
            _ => MARCH_2024 + 1,
        };
        assert!(seen.insert(next(&generator, now)), "step {step}");
    }
}

#[test]
fn runs_ahead_of_the_clock_when_the_counter_is_used_up() {
    let generator = UniqueIdGenerator::new(IP, 1, 2);
    let last = (0..=0x1_0000)
        .map(|_| next(&generator, MARCH_2024))
        .last()
        .unwrap();
    assert_eq!(last[20..], *"000000010000");
}

#[test]
fn does_not_repeat_itself_in_the_next_month() {
    let generator = UniqueIdGenerator::new(IP, 1, 2);
    let april = MARCH_2024 + 31 * 86_400_000;
    let (a, b) = (next(&generator, MARCH_2024), next(&generator, april));
    assert_eq!(a[20..], b[20..]);
    assert_ne!(a, b);
}

#[test]
fn survives_an_absurd_clock() {
    let generator = UniqueIdGenerator::new(IP, 1, 2);
    assert_ne!(next(&generator, u64::MAX), next(&generator, u64::MAX));
    assert_ne!(next(&generator, 0), next(&generator, u64::MAX));
}

#[test]
fn stays_unique_over_threads_and_clocks() {
    const PER_THREAD: u64 = 50_000;
    let generator = UniqueIdGenerator::new(IP, 1, 2);
    let ids: Vec<HashSet<String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                let generator = &generator;
                // Each thread has a clock of its own: still, slow, fast, backwards.
                scope.spawn(move || {
                    (0..PER_THREAD)
                        .map(|i| match thread % 4 {
                            0 => MARCH_2024,
                            1 => MARCH_2024 + i / 5_000,
                            2 => MARCH_2024 + i,
                            _ => MARCH_2024 - i,
                        })
                        .map(|now| next(generator, now))
                        .collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let all: HashSet<_> = ids.iter().flatten().collect();
    assert_eq!(all.len() as u64, 8 * PER_THREAD);
}

#[test]
fn knows_the_months() {
    let start = |millis| Month::of(millis).start_millis / 86_400_000;
    assert_eq!(start(0), 0);
    // 1970-01-31 and 1970-02-01.
    assert_eq!(start(30 * 86_400_000), 0);
    assert_eq!(start(31 * 86_400_000), 31);
    // 2024-02-29 is in February, which started 28 days before.
    assert_eq!(start(MARCH_2024 - 1), MARCH_2024 / 86_400_000 - 29);
    assert_eq!(start(MARCH_2024), MARCH_2024 / 86_400_000);
    // 2025-12-31T23:59:59.999Z and 2026-01-01.
    assert_eq!(start(1_767_225_599_999), 1_764_547_200_000 / 86_400_000);
    assert_eq!(start(1_767_225_600_000), 1_767_225_600_000 / 86_400_000);
}

#[test]
fn months_follow_each_other() {
    let mut previous = Month::of(0);
    for day in 1..200_000_u64 {
        let month = Month::of(day * 86_400_000);
        if month.number != previous.number {
            assert_eq!(month.number, previous.number + 1);
            assert_eq!(month.start_millis, day * 86_400_000);
            let length = (month.start_millis - previous.start_millis) / 86_400_000;
            assert!((28..=31).contains(&length), "day {day}");
        }
        assert!(day * 86_400_000 - month.start_millis < 31 * 86_400_000);
        previous = month;
    }
}

#[test]
fn reads_and_writes_an_offset_id() {
    let id = OffsetMessageId {
        host: "10.1.2.3:10911".parse().unwrap(),
        physical_offset: 0x0012_3456_789A,
    };
    assert_eq!(id.to_string(), "0A01020300002A9F000000123456789A");
    assert_eq!("0a01020300002a9f000000123456789a".parse(), Ok(id));
}

#[test]
fn refuses_what_is_no_offset_id() {
    for text in [
        "",
        "0A",
        "0A01020300002A9F000000123456789G",
        "0A01020300012A9F000000123456789A",
    ] {
        OffsetMessageId::decode(text).unwrap_err();
    }
    OffsetMessageId::decode(&"中".repeat(32)).unwrap_err();
    OffsetMessageId::decode("0A01020380002A9F000000123456789A").unwrap_err();
}

proptest! {
    #[test]
    fn offset_ids_round_trip(v6 in any::<bool>(), ip in any::<u128>(), port in any::<u16>(), physical_offset in any::<i64>()) {
        let ip = if v6 { IpAddr::from(ip.to_be_bytes()) } else { IpAddr::from((ip as u32).to_be_bytes()) };
        let id = OffsetMessageId { host: SocketAddr::new(ip, port), physical_offset };
        prop_assert_eq!(OffsetMessageId::decode(&id.to_string()), Ok(id));
    }

    #[test]
    fn arbitrary_text_is_no_reason_to_panic(text in ".{0,60}") {
        let _ = OffsetMessageId::decode(&text);
    }
}
