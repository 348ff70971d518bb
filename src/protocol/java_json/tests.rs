use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;

fn standard(input: &str) -> Result<String, DecodeError> {
    to_standard(input.as_bytes()).map(|output| String::from_utf8(output.into_owned()).unwrap())
}

fn java<T: Serialize>(value: &T) -> String {
    String::from_utf8(to_vec(value).unwrap()).unwrap()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Queue {
    broker: String,
    id: i32,
}

/// All kinds of keys side by side, and one map inside another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Body {
    #[serde(with = "object_keys")]
    queues: BTreeMap<Queue, i64>,
    integers: BTreeMap<i64, String>,
    names: BTreeMap<String, BTreeMap<u8, bool>>,
}

#[test]
fn rewrites_integer_keys() {
    let json = r#"{"a":{0:"x:1",-1 : 2,"3":3},"b":[{4:{5:6}}]}"#;
    let expected = r#"{"a":{"0":"x:1","-1" : 2,"3":3},"b":[{"4":{"5":6}}]}"#;
    assert_eq!(standard(json).unwrap(), expected);
}

#[test]
fn rewrites_object_keys() {
    let json = "{\"t\":{{\n\t\"a b\":\"c \\\" d\",\r\n\"n\":0}:12,{}:[]}}";
    let expected = r#"{"t":{"{\"a b\":\"c \\\" d\",\"n\":0}":12,"{}":[]}}"#;
    assert_eq!(standard(json).unwrap(), expected);
}

#[test]
fn rewrites_integer_keys_inside_object_keys() {
    assert_eq!(standard(r#"{{0:1}:2}"#).unwrap(), r#"{"{\"0\":1}":2}"#);
}

#[test]
fn borrows_what_is_standard() {
    for json in [
        "null",
        " 1 ",
        r#"{"a":[{"b":"{0:1}"},true],"c":{}}"#,
        "[]",
        r#""\\\"""#,
    ] {
        let output = to_standard(json.as_bytes()).unwrap();
        assert!(matches!(output, Cow::Borrowed(_)), "{json}");
        assert_eq!(*output, *json.as_bytes());
    }
}

#[test]
fn says_where_the_form_is_wrong() {
    for (json, place) in [
        ("", 0),
        ("{", 1),
        ("[1", 2),
        ("[1 2]", 3),
        ("[1,]", 3),
        ("{a:1}", 1),
        ("{[]:1}", 1),
        ("{0}", 2),
        ("{0:}", 3),
        ("{0:1,}", 5),
        ("\"ab", 3),
        ("\"a\\", 3),
        ("{{{}:1}:1}", 2),
        ("1 2", 2),
        ("}", 0),
    ] {
        let error = standard(json).unwrap_err();
        assert!(
            matches!(error, DecodeError::Invalid { offset, .. } if offset == place),
            "{json}: {error}"
        );
    }
}

#[test]
fn limits_the_depth() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{0:", "}")] {
        let nested = |depth| open.repeat(depth) + "1" + &close.repeat(depth);
        let deep: Value = from_slice("test", nested(MAX_DEPTH).as_bytes()).unwrap();
        assert!(deep.is_array() || deep.is_object());
        standard(&nested(MAX_DEPTH + 1)).unwrap_err();
        standard(&open.repeat(1_000_000)).unwrap_err();
    }
    standard(&"{".repeat(1_000_000)).unwrap_err();
}

#[test]
fn the_output_is_at_most_twice_as_long() {
    let backslashes = format!("{{{{\"a\":\"{}\"}}:1}}", "\\\\".repeat(10_000));
    let keys = format!("{{{{{}:1}}:1}}", "0:1,".repeat(10_000) + "0");
    let objects = format!("{{{}{{}}:0}}", "{}:0,".repeat(10_000));
    for json in [backslashes, keys, objects] {
        assert!(standard(&json).unwrap().len() <= 2 * json.len());
    }
}

#[test]
fn limits_the_number_of_values() {
    let list = |count| format!("[{}{{}}]", "{},".repeat(count - 1));
    assert!(to_standard(list(MAX_VALUES - 1).as_bytes()).is_ok());
    let error = to_standard(list(MAX_VALUES).as_bytes())
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().ends_with("too many values"), "{error}");
}

#[test]
fn an_error_does_not_quote_a_long_body() {
    let json = format!(r#"{{"queues":"{}"}}"#, "中".repeat(10_000));
    let error = from_slice::<Body>("test", json.as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 1_000);
}

#[test]
fn reads_a_body_in_both_forms() {
    let expected = Body {
        queues: BTreeMap::from([(
            Queue {
                broker: "b\"".to_owned(),
                id: 1,
            },
            2,
        )]),
        integers: BTreeMap::from([(-3, "x".to_owned())]),
        names: BTreeMap::from([("n".to_owned(), BTreeMap::from([(4, true)]))]),
    };
    for json in [
        r#"{"queues":{{"broker":"b\"","id":1}:2},"integers":{-3:"x"},"names":{"n":{4:true}}}"#,
        r#"{"queues":{"{\"broker\":\"b\\\"\",\"id\":1}":2},"integers":{"-3":"x"},"names":{"n":{"4":true}}}"#,
    ] {
        assert_eq!(
            from_slice::<Body>("test", json.as_bytes()).unwrap(),
            expected
        );
    }
    let error = from_slice::<Body>("test body", br#"{"queues":{"x":1}}"#).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Json {
                what: "test body",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn writes_what_java_reads() {
    let body = Body {
        queues: BTreeMap::from([(
            Queue {
                broker: "b\"\n".to_owned(),
                id: 1,
            },
            2,
        )]),
        integers: BTreeMap::from([(-3, "x".to_owned()), (0, String::new())]),
        names: BTreeMap::from([
            (String::new(), BTreeMap::new()),
            ("\"{".to_owned(), BTreeMap::from([(4, true)])),
        ]),
    };
    assert_eq!(
        java(&body),
        r#"{"queues":{{"broker":"b\"\n","id":1}:2},"integers":{-3:"x",0:""},"names":{"":{},"\"{":{4:true}}}"#
    );
}

#[test]
fn values_are_standard_json() {
    let value: Value =
        serde_json::from_str(r#"{"a":[1,-2,0.5,"{x}","\u0001\"",null,{"b":true}]}"#).unwrap();
    assert_eq!(java(&value), value.to_string());
}

fn body() -> impl Strategy<Value = Body> {
    let queue = (".{0,6}", any::<i32>()).prop_map(|(broker, id)| Queue { broker, id });
    let inner = proptest::collection::btree_map(any::<u8>(), any::<bool>(), 0..3);
    (
        proptest::collection::btree_map(queue, any::<i64>(), 0..4),
        proptest::collection::btree_map(any::<i64>(), ".{0,6}", 0..4),
        proptest::collection::btree_map("[^{].{0,6}|", inner, 0..4),
    )
        .prop_map(|(queues, integers, names)| Body {
            queues,
            integers,
            names,
        })
}

proptest! {
    #[test]
    fn round_trips(body in body()) {
        prop_assert_eq!(&from_slice::<Body>("test", &to_vec(&body).unwrap()).unwrap(), &body);
        let standard = serde_json::to_vec(&body).unwrap();
        prop_assert_eq!(from_slice::<Body>("test", &standard).unwrap(), body);
    }

    #[test]
    fn a_proper_prefix_is_an_error(body in body()) {
        let json = to_vec(&body).unwrap();
        for len in 0..json.len() {
            prop_assert!(to_standard(&json[..len]).is_err(), "prefix of {}", len);
        }
    }

    #[test]
    fn what_was_rewritten_is_standard(input in r#"[{}\[\]":,01a\\ ]{0,24}"#) {
        if let Ok(output) = to_standard(input.as_bytes()) {
            prop_assert!(output.len() <= 2 * input.len());
            prop_assert!(matches!(to_standard(&output), Ok(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(input in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = to_standard(&input);
    }

    #[test]
    fn changed_bytes_are_no_reason_to_panic(body in body(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = to_vec(&body).unwrap();
        let place = place.index(json.len());
        json[place] = byte;
        let _ = from_slice::<Body>("test", &json);
    }
}
