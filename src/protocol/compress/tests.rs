use proptest::prelude::*;

use super::*;

const CODECS: &[Codec] = &[
    #[cfg(feature = "zlib")]
    Codec::Zlib,
    #[cfg(feature = "lz4")]
    Codec::Lz4,
    #[cfg(feature = "zstd")]
    Codec::Zstd,
];

#[test]
#[cfg(feature = "zlib")]
fn reads_what_java_compresses() {
    // `java.util.zip.Deflater`, level 5, of the text below.
    let stored = b"\x78\x5E\xCB\x48\xCD\xC9\xC9\x57\xC8\x40\x27\x01\x68\x03\x08\xB1";
    assert_eq!(
        decompress(Codec::Zlib, stored, 100).unwrap(),
        "hello hello hello hello"
    );
}

#[test]
fn names_the_feature_of_a_missing_codec() {
    for codec in [Codec::Zlib, Codec::Lz4, Codec::Zstd] {
        let missing = DecodeError::MissingCodec {
            codec: codec.name(),
            feature: codec.name(),
        };
        let expected = (!CODECS.contains(&codec)).then_some(missing);
        assert_eq!(compress(codec, 5, b"body").err(), expected);
        if let Some(missing) = expected {
            assert_eq!(decompress(codec, b"", 10), Err(missing));
        }
    }
}

#[test]
fn compresses_at_every_level() {
    let body = b"level ".repeat(100);
    for codec in CODECS {
        for level in [0, 1, 5, 9, 22, u32::MAX] {
            let stored = compress(*codec, level, &body).unwrap();
            assert_eq!(
                decompress(*codec, &stored, 600).unwrap(),
                body,
                "{codec:?} {level}"
            );
        }
    }
}

#[test]
fn refuses_a_cut_stream_and_bytes_after_it() {
    for codec in CODECS {
        for body in [b"".to_vec(), b"body".to_vec(), b"a longer body ".repeat(50)] {
            let stored = compress(*codec, 5, &body).unwrap();
            for len in 0..stored.len() {
                let error = decompress(*codec, &stored[..len], 1_000).unwrap_err();
                assert!(
                    matches!(error, DecodeError::Invalid { .. }),
                    "{codec:?} {len}: {error}"
                );
            }
            for garbage in [&b"\0"[..], &stored] {
                let long = [&stored[..], garbage].concat();
                let error = decompress(*codec, &long, 1_000).unwrap_err();
                assert!(
                    matches!(error, DecodeError::Invalid { .. }),
                    "{codec:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn stops_at_the_limit() {
    let body = vec![0; 1 << 20];
    for codec in CODECS {
        let stored = compress(*codec, 5, &body).unwrap();
        for limit in [0, 1, 100, body.len() - 1] {
            let error = decompress(*codec, &stored, limit).unwrap_err();
            let expected = DecodeError::InflatesPastLimit {
                codec: codec.name(),
                limit,
            };
            assert_eq!(error, expected);
        }
        for limit in [body.len(), usize::MAX] {
            assert_eq!(
                decompress(*codec, &stored, limit).unwrap(),
                body,
                "{codec:?} {limit}"
            );
        }
        let empty = compress(*codec, 5, b"").unwrap();
        assert_eq!(decompress(*codec, &empty, 0).unwrap(), "");
    }
}

proptest! {
    #[test]
    fn round_trips(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2_000),
            proptest::collection::vec(Just(7), 0..20_000),
        ],
        level in 0..10_u32,
    ) {
        for codec in CODECS {
            let stored = compress(*codec, level, &body).unwrap();
            prop_assert_eq!(&decompress(*codec, &stored, body.len()).unwrap(), &body);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for codec in CODECS {
            prop_assert!(decompress(*codec, &body, 1_000).is_err());
        }
    }

    #[test]
    fn changed_bytes_are_no_reason_to_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for codec in CODECS {
            let mut stored = compress(*codec, 5, &b"some body ".repeat(30)).unwrap().to_vec();
            let place = place.index(stored.len());
            stored[place] = byte;
            if let Ok(body) = decompress(*codec, &stored, 400) {
                prop_assert!(body.len() <= 400);
            }
        }
    }
}
