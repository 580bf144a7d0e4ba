use proptest::prelude::*;

use super::*;

fn encoded(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(reply, &mut out);
    out
}

fn decoded(mut bytes: &[u8]) -> Result<Reply<'static>, WireError> {
    decode(&mut bytes)
}

/// Arrays in each other, `levels` in all.
fn nested(levels: usize) -> Reply<'static> {
    (1..levels).fold(Reply::Array(Vec::new()), |inner, _| {
        Reply::Array(vec![inner])
    })
}

#[test]
fn a_reply_takes_little() {
    assert_eq!(encoded(&Reply::Ok), [1]);
    assert_eq!(encoded(&Reply::Integer(-1)), [7, 1]);
    assert_eq!(encoded(&Reply::bulk(b"value")), b"\x0c\x05value");
}

#[test]
fn a_status_stays_one_or_becomes_a_string() {
    for status in ["none", "string", "zset"]
        .into_iter()
        .chain(crate::object::HELP)
    {
        let status = Reply::Simple(status);
        assert_eq!(decoded(&encoded(&status)), Ok(status));
    }
    let unknown = encoded(&Reply::Simple("of a later version"));
    assert_eq!(decoded(&unknown), Ok(Reply::bulk(b"of a later version")));
}

#[test]
fn a_refusal_cannot_forge_a_reply() {
    let error = encoded(&Reply::Error("ERR a\r\n+OK".into()));
    assert_eq!(decoded(&error), Ok(Reply::Error("ERR a  +OK".into())));
}

#[test]
fn depth_is_bounded_on_both_sides() {
    let deepest = nested(MAX_DEPTH - 1);
    assert_eq!(decoded(&encoded(&deepest)), Ok(deepest));
    let mut refused = decoded(&encoded(&nested(MAX_DEPTH + 9))).unwrap();
    while let Reply::Array(mut inner) = refused {
        refused = inner.remove(0);
    }
    assert!(refused.is_error());
    for levels in [MAX_DEPTH, 1 << 20] {
        let mut bytes = [14, 1].repeat(levels);
        bytes.push(1);
        assert_eq!(decoded(&bytes), Err(WireError::Depth));
    }
}

#[test]
fn what_encoding_does_not_write_is_refused() {
    let whole = encoded(&Reply::Array(vec![
        Reply::bulk(b"value"),
        Reply::Double(1.5),
        Reply::Integer(i64::MIN),
        Reply::Map(vec![(Reply::Null, Reply::Error("ERR no".into()))]),
    ]));
    assert!(decoded(&whole).is_ok());
    for length in 0..whole.len() {
        assert_eq!(decoded(&whole[..length]), Err(WireError::Truncated));
    }
    for kind in [0, 19, 255] {
        assert_eq!(decoded(&[kind, 0, 0]), Err(WireError::Kind(kind)));
    }
    // Counts and lengths that no memory could hold.
    for kind in [5, 6, 11, 12, 14, 15, 16, 17, 18] {
        let bytes = [&[kind][..], &[0xff; 9], &[1, 1]].concat();
        assert_eq!(decoded(&bytes), Err(WireError::Truncated), "{kind}");
    }
    for malformed in [
        &b"\x05\x01\xff"[..],
        b"\x06\x01\xff",
        b"\x07\x80\0",
        b"\x0b\0",
        b"\x0b\x01-",
        b"\x0b\x021x",
        b"\x0d\xff\xff\xff\0",
    ] {
        assert_eq!(
            decoded(malformed),
            Err(WireError::Malformed),
            "{malformed:?}"
        );
    }
}

fn some_reply() -> impl Strategy<Value = Reply<'static>> {
    let plain = prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Queued),
        Just(Reply::Null),
        Just(Reply::NullArray),
        Just(Reply::Simple("string")),
        "[A-Z]{1,9} [^\r\n]{0,40}".prop_map(|text| Reply::Error(text.into())),
        any::<i64>().prop_map(Reply::Integer),
        any::<f64>()
            .prop_filter("equal to itself", |number| !number.is_nan())
            .prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        "-?[0-9]{1,40}".prop_map(Reply::BigNumber),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Reply::Bulk(bytes.into())),
        "\\PC{0,40}".prop_map(|text| Reply::Verbatim {
            format: *b"txt",
            text
        }),
    ];
    plain.prop_recursive(5, 64, 8, |inner| {
        let some = proptest::collection::vec(inner.clone(), 0..8);
        let pairs = proptest::collection::vec((inner.clone(), inner), 0..4);
        prop_oneof![
            some.clone().prop_map(Reply::Array),
            some.clone().prop_map(Reply::Set),
            some.prop_map(Reply::Push),
            pairs.clone().prop_map(Reply::Map),
            pairs.prop_map(Reply::Pairs),
        ]
    })
}

proptest! {
    #[test]
    fn replies_read_back_as_they_were_written(
        replies in proptest::collection::vec(some_reply(), 1..4),
    ) {
        let mut bytes = Vec::new();
        for reply in &replies {
            encode(reply, &mut bytes);
        }
        let mut rest = bytes.as_slice();
        for reply in replies {
            prop_assert_eq!(decode(&mut rest), Ok(reply));
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn random_bytes_are_refused_or_are_a_reply(
        bytes in proptest::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..60),
    ) {
        let mut rest = bytes.as_slice();
        if let Ok(reply) = decode(&mut rest) {
            // A refusal's line ends and an unknown status are read as something else.
            let read = &bytes[..bytes.len() - rest.len()];
            if !read.contains(&5) && !read.contains(&6) && !has_nan(&reply) {
                prop_assert_eq!(encoded(&reply), read);
            }
        }
    }
}

/// Not every bit pattern of what is no number survives.
fn has_nan(reply: &Reply<'_>) -> bool {
    match reply {
        Reply::Double(number) => number.is_nan(),
        Reply::Array(all) | Reply::Set(all) | Reply::Push(all) => all.iter().any(has_nan),
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
            .iter()
            .any(|(key, value)| has_nan(key) || has_nan(value)),
        _ => false,
    }
}
