//! What the encoder writes, and that the client side reads it back.

use proptest::prelude::*;
use resp::client::{Skipped, request, skip_reply};
use resp::encode::{self, Protocol};
use resp::{ReplyError, Value};

use Protocol::{Resp2, Resp3};

fn wire(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("valid")
}

#[test]
fn frames_are_those_of_redis() {
    assert_eq!(wire(encode::ok), "+OK\r\n");
    assert_eq!(wire(|out| encode::simple(out, "PONG")), "+PONG\r\n");
    assert_eq!(wire(|out| encode::simple(out, "")), "+\r\n");
    assert_eq!(
        wire(|out| encode::error(out, "ERR no such key")),
        "-ERR no such key\r\n"
    );
    assert_eq!(
        wire(|out| encode::error(out, "ERR a\r\nb\n\r\n")),
        "-ERR a  b\r\n"
    );
    for (value, expected) in [
        (0, ":0\r\n"),
        (1, ":1\r\n"),
        (-1, ":-1\r\n"),
        (1234, ":1234\r\n"),
        (i64::MIN, ":-9223372036854775808\r\n"),
    ] {
        assert_eq!(wire(|out| encode::integer(out, value)), expected);
    }
    for length in [0, 1, 9, 10, 64, 99, 100, 12345] {
        let text = "x".repeat(length);
        assert_eq!(
            wire(|out| encode::bulk(out, text.as_bytes())),
            format!("${length}\r\n{text}\r\n")
        );
    }
    for count in [0, 9, 10, 99, 100, 1_000_000] {
        assert_eq!(
            wire(|out| encode::array_header(out, count)),
            format!("*{count}\r\n")
        );
    }
}

#[test]
fn resp2_has_stand_ins_for_the_types_of_resp3() {
    type Write = fn(&mut Vec<u8>, Protocol);
    let table: &[(Write, &str, &str)] = &[
        (
            |out, protocol| encode::null(out, protocol),
            "$-1\r\n",
            "_\r\n",
        ),
        (
            |out, protocol| encode::null_array(out, protocol),
            "*-1\r\n",
            "_\r\n",
        ),
        (
            |out, protocol| encode::map_header(out, protocol, 2),
            "*4\r\n",
            "%2\r\n",
        ),
        (
            |out, protocol| encode::set_header(out, protocol, 2),
            "*2\r\n",
            "~2\r\n",
        ),
        (
            |out, protocol| encode::push_header(out, protocol, 3),
            "*3\r\n",
            ">3\r\n",
        ),
        (
            |out, protocol| encode::boolean(out, protocol, true),
            ":1\r\n",
            "#t\r\n",
        ),
        (
            |out, protocol| encode::boolean(out, protocol, false),
            ":0\r\n",
            "#f\r\n",
        ),
        (
            |out, protocol| encode::double(out, protocol, 3.5),
            "$3\r\n3.5\r\n",
            ",3.5\r\n",
        ),
        (
            |out, protocol| encode::double(out, protocol, 0.1),
            "$19\r\n0.10000000000000001\r\n",
            ",0.10000000000000001\r\n",
        ),
        (
            |out, protocol| encode::double(out, protocol, f64::INFINITY),
            "$3\r\ninf\r\n",
            ",inf\r\n",
        ),
        (
            |out, protocol| encode::double(out, protocol, f64::NEG_INFINITY),
            "$4\r\n-inf\r\n",
            ",-inf\r\n",
        ),
        (
            |out, protocol| encode::double(out, protocol, f64::NAN),
            "$3\r\nnan\r\n",
            ",nan\r\n",
        ),
        (
            |out, protocol| encode::big_number(out, protocol, "-12"),
            "$3\r\n-12\r\n",
            "(-12\r\n",
        ),
        (
            |out, protocol| encode::verbatim(out, protocol, *b"txt", b"a\nb"),
            "$3\r\na\nb\r\n",
            "=7\r\ntxt:a\nb\r\n",
        ),
    ];
    for (write, resp2, resp3) in table {
        assert_eq!(wire(|out| write(out, Resp2)), *resp2);
        assert_eq!(wire(|out| write(out, Resp3)), *resp3);
    }
}

#[test]
fn requests_are_arrays_of_bulk_strings() {
    assert_eq!(
        wire(|out| request(out, &[b"GET", b""])),
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
    );
}

#[test]
fn replies_are_skipped_and_errors_noticed() {
    let table: &[(&[u8], bool)] = &[
        (b"+OK\r\n", false),
        (b"+QUEUED\r\n", false),
        (b"-ERR x\r\n", true),
        (b"!5\r\nERR x\r\n", true),
        (b":12\r\n", false),
        (b"$-1\r\n", false),
        (b"*-1\r\n", false),
        (b"_\r\n", false),
        (b"$0\r\n\r\n", false),
        (b"$3\r\na\r\n\r\n", false),
        (b"$12\r\nabcdefghijkl\r\n", false),
        (b"*0\r\n", false),
        (b"*2\r\n-ERR\r\n*1\r\n:1\r\n", false),
        (b"%1\r\n+a\r\n~2\r\n:1\r\n#t\r\n", false),
        (b"|1\r\n+ttl\r\n:3\r\n-ERR x\r\n", true),
        (b"*2\r\n|1\r\n+ttl\r\n:3\r\n,1.5\r\n(12\r\n", false),
        (b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", false),
        (b"=7\r\ntxt:abc\r\n", false),
    ];
    for (bytes, is_error) in table {
        let shown = bytes.escape_ascii();
        let more = [bytes, &b"+OK\r\n"[..]].concat();
        let expected = Skipped {
            length: bytes.len(),
            is_error: *is_error,
        };
        assert_eq!(skip_reply(&more), Ok(Some(expected)), "{shown}");
        assert_eq!(
            Value::decode(&more).expect("valid").unwrap().1,
            bytes.len(),
            "{shown}"
        );
        for cut in 0..bytes.len() {
            assert_eq!(skip_reply(&bytes[..cut]), Ok(None), "{shown} at {cut}");
            assert_eq!(Value::decode(&bytes[..cut]), Ok(None), "{shown} at {cut}");
        }
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    let table: &[(&[u8], ReplyError)] = &[
        (b"HTTP/1.1 400\r\n", ReplyError::UnknownType(b'H')),
        (b"+OK\n", ReplyError::MissingLineEnd),
        (b"$x\r\n", ReplyError::InvalidNumber),
        (b"$-2\r\n", ReplyError::InvalidNumber),
        (b"~-1\r\n", ReplyError::InvalidNumber),
        (b"*99999999999999999999\r\n", ReplyError::InvalidNumber),
        (
            b"%9223372036854775807\r\n+a\r\n$1\r\nab\r\n",
            ReplyError::MissingLineEnd,
        ),
        (b"$1\r\nabc", ReplyError::MissingLineEnd),
        (b"$12\r\nabcdefghijklmn\r\n", ReplyError::MissingLineEnd),
    ];
    for (bytes, error) in table {
        let shown = bytes.escape_ascii();
        assert_eq!(skip_reply(bytes), Err(*error), "{shown}");
        assert_eq!(Value::decode(bytes), Err(*error), "{shown}");
    }
    for bytes in [
        &b":x\r\n"[..],
        b"#y\r\n",
        b",x\r\n",
        b"(1x\r\n",
        b"=2\r\nab\r\n",
    ] {
        assert_eq!(
            Value::decode(bytes),
            Err(ReplyError::InvalidNumber),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert!(matches!(
        Value::decode(&nested(Value::MAX_DEPTH)),
        Ok(Some(_))
    ));
    assert_eq!(
        Value::decode(&nested(Value::MAX_DEPTH + 1)),
        Err(ReplyError::TooDeep)
    );
    assert_eq!(Value::decode(&nested(1_000_000)), Err(ReplyError::TooDeep));
    // Skipping keeps a count, not a stack.
    let deep = nested(1_000_000);
    assert_eq!(
        skip_reply(&deep),
        Ok(Some(Skipped {
            length: deep.len(),
            is_error: false
        }))
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        "[ -~]{0,20}".prop_map(Value::Simple),
        "[A-Z]{1,8} [ -~]{0,20}".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "-?[0-9]{1,40}".prop_map(Value::BigNumber),
        proptest::collection::vec(any::<u8>(), 0..120).prop_map(Value::Bulk),
        "\\PC{0,20}".prop_map(|text| Value::Verbatim {
            format: *b"txt",
            text
        }),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let many = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            many().prop_map(Value::Array),
            many().prop_map(Value::Set),
            many().prop_map(Value::Push),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
        ]
    })
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => encode::null(out, Resp3),
        Value::NullArray => encode::null_array(out, Resp3),
        Value::Simple(text) => encode::simple(out, text),
        Value::Error(text) => encode::error(out, text),
        Value::Integer(value) => encode::integer(out, *value),
        Value::Double(value) => encode::double(out, Resp3, *value),
        Value::Boolean(value) => encode::boolean(out, Resp3, *value),
        Value::BigNumber(digits) => encode::big_number(out, Resp3, digits),
        Value::Bulk(bytes) => encode::bulk(out, bytes),
        Value::Verbatim { format, text } => encode::verbatim(out, Resp3, *format, text.as_bytes()),
        Value::Array(values) => {
            encode::array_header(out, values.len());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Set(values) => {
            encode::set_header(out, Resp3, values.len());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Push(values) => {
            encode::push_header(out, Resp3, values.len());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Map(pairs) => {
            encode::map_header(out, Resp3, pairs.len());
            for (key, value) in pairs {
                write(out, key);
                write(out, value);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(value in value()) {
        let mut bytes = Vec::new();
        write(&mut bytes, &value);
        let is_error = matches!(value, Value::Error(_));
        prop_assert_eq!(skip_reply(&bytes), Ok(Some(Skipped { length: bytes.len(), is_error })));
        let length = bytes.len();
        prop_assert_eq!(Value::decode(&bytes[..length - 1]), Ok(None));
        prop_assert_eq!(Value::decode(&bytes), Ok(Some((value, length))));
    }

    #[test]
    fn random_replies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let skipped = skip_reply(&bytes);
        if let Ok(Some((_, length))) = Value::decode(&bytes) {
            prop_assert_eq!(skipped.map(|skipped| skipped.map(|skipped| skipped.length)), Ok(Some(length)));
        }
    }
}
