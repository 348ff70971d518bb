#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rocketmq_sdk_fuzz::oracles::round_trip(input));
