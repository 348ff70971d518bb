//! The checker, shown files that break the rules.

use super::source::{Function, Import, Source};
use super::*;

fn file(path: &str, text: &str) -> Source {
    Source::new("src", path, text)
}

fn imports(path: &str, text: &str) -> Vec<String> {
    file(path, text)
        .own_imports()
        .iter()
        .map(|i| i.path.join("::"))
        .collect()
}

#[test]
fn an_import_against_the_direction_is_named() {
    let wrong = file(
        "transport/pool.rs",
        "use std::io;\n\nuse crate::route::Table;\n",
    );
    assert_eq!(
        room_violations(&[wrong]),
        ["src/transport/pool.rs:3: transport may not import crate::route::Table"]
    );
}

#[test]
fn every_room_refuses_the_rooms_below_it() {
    let order = [
        "protocol",
        "message",
        "transport",
        "route",
        "client",
        "producer",
    ];
    for (at, room) in order.iter().enumerate() {
        for (target_at, target) in order.iter().enumerate() {
            let source = file(
                &format!("{room}/a.rs"),
                &format!("use crate::{target}::b::C;"),
            );
            assert_eq!(
                room_violations(&[source]).is_empty(),
                target_at <= at,
                "{room} -> {target}"
            );
        }
    }
}

#[test]
fn users_do_not_import_one_another_and_hooks_stand_apart() {
    for (room, target, kept) in [
        ("producer", "consumer", false),
        ("consumer", "producer", false),
        ("admin", "consumer", false),
        ("producer", "observe", true),
        ("client", "observe", true),
        ("transport", "observe", false),
        ("observe", "message", true),
        ("observe", "transport", false),
        ("error", "config", true),
        ("environment", "message", true),
    ] {
        let source = file(
            &format!("{room}.rs"),
            &format!("fn f() {{ crate::{target}::g(); }}"),
        );
        assert_eq!(
            room_violations(&[source]).is_empty(),
            kept,
            "{room} -> {target}"
        );
    }
}

#[test]
fn a_file_outside_the_rooms_is_named() {
    let stray = file("helpers/mod.rs", "fn f() {}");
    assert_eq!(
        room_violations(&[stray]),
        ["src/helpers/mod.rs: helpers is not one of the rooms"]
    );
}

#[test]
fn a_name_that_the_root_exports_counts_as_its_room() {
    let lib = file(
        "lib.rs",
        "pub use message::{Message, queue::Queue};\npub use crate::client::Client as Shared;",
    );
    let good = file("producer/send.rs", "use crate::{Message, Queue, Shared};");
    let wrong = file("route/table.rs", "use crate::{Message, Shared};");
    assert_eq!(
        room_violations(&[lib, good, wrong]),
        ["src/route/table.rs:1: route may not import crate::Shared"]
    );
    assert_eq!(
        room_violations(&[file("producer/send.rs", "use crate::*;")]),
        ["src/producer/send.rs:1: producer may not import crate::*"]
    );
}

#[test]
fn paths_are_found_wherever_they_stand() {
    assert_eq!(
        imports("a/b.rs", "use crate::{c::{d, self as e}, f::*,};"),
        ["c::d", "c", "f::*"]
    );
    assert_eq!(
        imports("a/b.rs", "pub(crate) fn f(x: &crate::c::D<u8>) { x }"),
        ["c::D"]
    );
    assert_eq!(
        imports("a/b.rs", "use super::{super::c::D, e};"),
        ["c::D", "a::e"]
    );
    assert_eq!(
        imports("a/mod.rs", "use super::c; use self::d::E;"),
        ["c", "a::d::E"]
    );
    assert_eq!(
        imports("a.rs", "mod b { use super::super::c::D; } use super::e;"),
        ["c::D", "e"]
    );
    assert_eq!(
        imports("a.rs", "fn f(self) { self.x } impl A { fn g(&self) {} }"),
        [""; 0]
    );
    assert_eq!(
        imports("a.rs", "macro_rules! m { () => { $crate::c::D } }"),
        ["c::D"]
    );
}

#[test]
fn comments_strings_and_tests_are_no_imports() {
    for text in [
        "// use crate::c;",
        "//! [`crate::c`]",
        "/* use /* nested */ crate::c; */",
        r##"const A: &str = "\" use crate::c";"##,
        r###"const A: &str = r#"use " crate::c"#;"###,
        "const A: &[u8] = b\"use crate::c\";",
        "#[cfg(test)]\nuse crate::c;",
        "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { use crate::c; fn f() { g([0; 2]); } }",
    ] {
        assert_eq!(imports("a.rs", text), [""; 0], "{text}");
    }
    let after =
        "#[cfg(test)]\nmod tests;\nfn f<'a>(c: char) { c == '\"' || c == '\\''; }\nuse crate::c;";
    assert_eq!(
        file("a.rs", after).own_imports(),
        [Import {
            path: vec!["c"],
            line: 4
        }]
    );
}

#[test]
fn the_wire_formats_are_refused_a_runtime_and_a_clock() {
    let text =
        "use tokio::time;\nuse std::time::{Duration, Instant};\nfn f() { SystemTime::now(); }";
    assert_eq!(
        protocol_violations(&file("protocol/frame.rs", text)),
        [
            "src/protocol/frame.rs:1: may not mention tokio",
            "src/protocol/frame.rs:2: may not mention Instant",
            "src/protocol/frame.rs:3: the wire formats may not read the clock",
        ]
    );
    assert_eq!(
        protocol_violations(&file("transport/mod.rs", text)),
        [""; 0]
    );
}

#[test]
fn the_testkit_is_refused_the_client() {
    let text = "use rocketmq_sdk::{environment::Environment, protocol};\nuse rocketmq_sdk::admin::Admin;\nuse rocketmq_sdk::Message;";
    let admin = "testkit/src/broker.rs:2: the testkit may not use rocketmq_sdk::admin::Admin";
    let message = ":3: the testkit may not use rocketmq_sdk::Message";
    let library = Source::new("testkit/src", "broker.rs", text);
    let program = Source::new("testkit/src", "bin/mqadmin.rs", text);
    assert_eq!(
        testkit_violations(&library),
        [admin, &format!("testkit/src/broker.rs{message}")]
    );
    assert_eq!(
        testkit_violations(&program),
        [format!("testkit/src/bin/mqadmin.rs{message}")]
    );
}

#[test]
fn long_files_long_functions_and_unsafe_are_named() {
    let body = "    f();\n\n    // why\n".repeat(MAX_FUNCTION_LINES - 1);
    let text =
        format!("fn short() {{}}\nfn long(\n) -> [u8; 1]\n{{\n{body}}}\ntrait T {{ fn none(); }}");
    let source = file("route/table.rs", &text);
    assert_eq!(
        source.functions()[1],
        Function {
            name: "long",
            line: 2,
            lines: MAX_FUNCTION_LINES + 3
        }
    );
    assert_eq!(source.functions().len(), 2);
    assert_eq!(
        size_violations(&source),
        ["src/route/table.rs:2: fn long has 63 lines"]
    );

    let lines = |n: usize| "const A: &str = \"\n\";\n".repeat(n / 2);
    assert_eq!(
        size_violations(&file("a.rs", &lines(MAX_FILE_LINES))),
        [""; 0]
    );
    assert_eq!(
        size_violations(&file("a.rs", &lines(MAX_FILE_LINES + 2))),
        ["src/a.rs: 502 lines of code"]
    );
    assert_eq!(
        size_violations(&file("a.rs", "unsafe fn f() {}")),
        ["src/a.rs:1: may not mention unsafe"]
    );
}
