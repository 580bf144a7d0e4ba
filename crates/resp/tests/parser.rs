//! The parser against the protocol: every error, every cut, bytes of every kind.

mod feed;

use feed::{check, feed, limits};
use proptest::prelude::*;
use resp::{Limits, Parser, ProtocolError, client};

fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let outcome = check(bytes, &Limits::default());
    assert_eq!(outcome.error, None);
    let text = |arg: Vec<u8>| String::from_utf8(arg).expect("text");
    outcome
        .commands
        .into_iter()
        .map(|args| args.into_iter().map(text).collect())
        .collect()
}

#[test]
fn every_protocol_error_has_the_text_of_redis() {
    let line = |first: &str| [first.as_bytes(), &[b'1'; 70_000]].concat();
    // What a client sends, and what Redis 7.0.15 answers before it hangs up.
    let table: &[(Vec<u8>, &str)] = &[
        (b"*abc\r\n".to_vec(), "invalid multibulk length"),
        (b"*\r\n".to_vec(), "invalid multibulk length"),
        (b"*01\r\n".to_vec(), "invalid multibulk length"),
        (b"*3000000000\r\n".to_vec(), "invalid multibulk length"),
        (
            b"*9223372036854775808\r\n".to_vec(),
            "invalid multibulk length",
        ),
        (line("*"), "too big mbulk count string"),
        (
            [&line("*")[..], b"\r\n"].concat(),
            "too big mbulk count string",
        ),
        (b"*1\r\n$\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$x\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-2\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$03\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$629145600\r\n".to_vec(), "invalid bulk length"),
        (
            b"*1\r\n$9223372036854775808\r\n".to_vec(),
            "invalid bulk length",
        ),
        (
            b"*2\r\n$3\r\nGET\r\n$536870913\r\n".to_vec(),
            "invalid bulk length",
        ),
        (line("*1\r\n$"), "too big bulk count string"),
        (line("*1\r\n"), "too big bulk count string"),
        (b"*1\r\n*1\r\n*1\r\n".to_vec(), "expected '$', got '*'"),
        (b"*1\r\n\r\n".to_vec(), "expected '$', got ' '"),
        (
            b"*2\r\n$3\r\nGET\r\nfoo\r\n".to_vec(),
            "expected '$', got 'f'",
        ),
        (b"*1\r\n\x07\r\n".to_vec(), "expected '$', got '?'"),
        (line(""), "too big inline request"),
        ([&line("")[..], b"\r\n"].concat(), "too big inline request"),
        (b"set \"a\r\n".to_vec(), "unbalanced quotes in request"),
        (b"set 'a'b\n".to_vec(), "unbalanced quotes in request"),
    ];
    for (bytes, text) in table {
        let outcome = check(bytes, &Limits::default());
        let shown = bytes[..bytes.len().min(60)].escape_ascii();
        assert_eq!(outcome.commands, Vec::<Vec<Vec<u8>>>::new(), "{shown}");
        let error = outcome
            .error
            .unwrap_or_else(|| panic!("{shown} is no error"));
        assert_eq!(
            error.to_string(),
            format!("Protocol error: {text}"),
            "{shown}"
        );
    }
}

#[test]
fn a_client_without_its_password_gets_less() {
    let table: &[(&[u8], Result<usize, &str>)] = &[
        (b"*11\r\n", Err("unauthenticated multibulk length")),
        (b"*1048577\r\n", Err("invalid multibulk length")),
        (b"*1\r\n$16385\r\n", Err("unauthenticated bulk length")),
        (b"*1\r\n$629145600\r\n", Err("invalid bulk length")),
        (b"*10\r\n", Ok(0)),
        (b"*1\r\n$16384\r\n", Ok(0)),
        (b"*1\r\n$4\r\nPING\r\n", Ok(1)),
        (b"1 2 3 4 5 6 7 8 9 10\r\n", Ok(1)),
        (b"1 2 3 4 5 6 7 8 9 \"\\n\"\r\n", Ok(1)),
        (
            b"1 2 3 4 5 6 7 8 9 10 11\r\n",
            Err("unauthenticated multibulk length"),
        ),
        (
            b"\"\\n\" 2 3 4 5 6 7 8 9 10 \"\\n\"\r\n",
            Err("unauthenticated multibulk length"),
        ),
    ];
    for (bytes, expected) in table {
        let outcome = check(bytes, &Limits::unauthenticated());
        let shown = bytes.escape_ascii();
        match expected {
            Ok(count) => assert_eq!(
                (outcome.commands.len(), outcome.error),
                (*count, None),
                "{shown}"
            ),
            Err(text) => {
                let error = outcome
                    .error
                    .unwrap_or_else(|| panic!("{shown} is no error"))
                    .to_string();
                assert_eq!(error, format!("Protocol error: {text}"), "{shown}");
            }
        }
    }
}

#[test]
fn a_request_in_all_has_a_limit() {
    let limits = Limits {
        query_bytes: 40,
        ..Limits::default()
    };
    let mut bytes = Vec::new();
    client::request(&mut bytes, &[b"set", b"key", &[b'v'; 14]]);
    assert_eq!(check(&bytes, &limits).commands.len(), 0);
    assert_eq!(
        check(&bytes, &limits).error,
        Some(ProtocolError::TooBigRequest)
    );
    bytes.clear();
    client::request(&mut bytes, &[b"set", b"k", &[b'v'; 9]]);
    assert_eq!(bytes.len(), 35);
    assert_eq!(check(&bytes, &limits).commands.len(), 1);
}

#[test]
fn requests_of_both_forms_mix_in_a_pipeline() {
    let bytes = b"*1\r\n$4\r\nPING\r\nPING\r\n\r\n\n*0\r\n*-1\r\n*-5\r\nset k \"a b\"\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n  \r\nget '\\''\r\n";
    let expected: &[&[&str]] = &[
        &["PING"],
        &["PING"],
        &["set", "k", "a b"],
        &["GET", ""],
        &["get", "'"],
    ];
    assert_eq!(commands(bytes), expected);
}

#[test]
fn lengths_of_every_size_are_read() {
    for length in [0, 1, 9, 10, 16, 99, 100, 101, 1000, 16384, 16385, 70_000] {
        let value = vec![b'v'; length];
        let mut bytes = Vec::new();
        client::request(&mut bytes, &[b"set", &value, b""]);
        let whole = feed(std::iter::once(&bytes[..]), &Limits::default());
        assert_eq!(whole.commands, [[b"set".to_vec(), value, Vec::new()]]);
        assert_eq!(whole, feed(bytes.chunks(997), &Limits::default()));
    }
    for count in [1, 9, 10, 11, 100, 3000] {
        let mut bytes = Vec::new();
        client::request(&mut bytes, &vec![&b"x"[..]; count]);
        assert_eq!(check(&bytes, &Limits::default()).commands[0].len(), count);
    }
}

#[test]
fn line_ends_are_taken_as_redis_takes_them() {
    // The byte behind a CR and the two behind an argument are not looked at.
    assert_eq!(
        commands(b"*1\rX$4\rYPINGab*1\r\n$1\r\nx\r\n"),
        [["PING"], ["x"]]
    );
}

#[test]
fn what_is_missing_is_known_and_modest() {
    let limits = Limits::default();
    let needed = |bytes: &[u8]| {
        let mut parser = Parser::new();
        assert_eq!(parser.parse(bytes, &limits, &mut Vec::new()), Ok(None));
        parser.needed()
    };
    assert_eq!(needed(b""), 1);
    assert_eq!(needed(b"PIN"), 1);
    assert_eq!(needed(b"*1"), 1);
    assert_eq!(needed(b"*1\r\n$4\r\nPI"), 4);
    assert_eq!(needed(b"*2\r\n$4\r\n"), 12);
    assert_eq!(needed(b"*1048576\r\n"), Parser::MAX_NEEDED);
    assert_eq!(needed(b"*1\r\n$536870912\r\nx"), Parser::MAX_NEEDED);
}

#[test]
fn a_large_request_in_small_pieces_costs_linear_time() {
    // 400,000 arguments, 1,200 bytes at a time. Were each piece to start over, this would take minutes.
    let mut bytes = Vec::new();
    client::request(&mut bytes, &vec![&b"x"[..]; 400_000]);
    let mut parser = Parser::new();
    let mut args = Vec::new();
    let mut end = 0;
    let length = loop {
        end = bytes.len().min(end + 1200);
        match parser
            .parse(&bytes[..end], &Limits::default(), &mut args)
            .unwrap()
        {
            Some(length) => break length,
            None => assert!(end < bytes.len()),
        }
    };
    assert_eq!((length, args.len()), (bytes.len(), 400_000));
    assert!(args.iter().all(|arg| *arg == b"x"));
}

#[test]
fn odd_inputs_mean_the_same_however_they_arrive() {
    for input in include!("feed/corpus.rs") {
        for limits in limits() {
            check(input, &limits);
        }
    }
}

fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => proptest::collection::vec(any::<u8>(), 90..130),
        1 => Just(b"\r\n$3\r\n*1\r\n".to_vec()),
    ]
}

/// A command and its form on the wire.
fn command() -> impl Strategy<Value = (Option<Vec<Vec<u8>>>, Vec<u8>)> {
    let multibulk = proptest::collection::vec(argument(), 1..14).prop_map(|args| {
        let mut bytes = Vec::new();
        client::request(
            &mut bytes,
            &args.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        );
        (Some(args), bytes)
    });
    let inline =
        (proptest::collection::vec(argument(), 1..5), any::<bool>()).prop_map(|(args, crlf)| {
            let mut bytes = Vec::new();
            for arg in &args {
                bytes.extend_from_slice(b" \"");
                for byte in arg {
                    match byte {
                        b'a'..=b'z' | b' ' | 0x80.. => bytes.push(*byte),
                        _ => bytes.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
                    }
                }
                bytes.push(b'"');
            }
            bytes.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            (Some(args), bytes)
        });
    let blank = prop_oneof![
        Just("\r\n"),
        Just("\n"),
        Just(" \t\r\n"),
        Just("*0\r\n"),
        Just("*-1\r\n")
    ]
    .prop_map(|text| (None, text.as_bytes().to_vec()));
    prop_oneof![4 => multibulk, 2 => inline, 1 => blank]
}

/// Cuts bytes into pieces whose lengths follow `lengths`, over and over.
fn cut<'b>(mut bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*length));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Bytes that look like the protocol more often than random ones do.
fn near_protocol() -> impl Strategy<Value = Vec<u8>> {
    let token = proptest::sample::select(vec![
        &b"\r\n"[..],
        b"*",
        b"$",
        b"*1\r\n",
        b"*2\r\n",
        b"$3\r\nfoo\r\n",
        b"$0\r\n\r\n",
        b"-1",
        b"0",
        b"12",
        b"1099511627776",
        b"\"",
        b"'",
        b"\\",
        b"\\x4",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"a",
        b"PING",
    ]);
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

#[test]
fn what_was_scanned_of_one_length_says_nothing_of_the_next() {
    // The first length is cut after its `$`, and the second line begins with a CR.
    let bytes = b"*2\r\n$3\r\nfoo\r\n\r-1109951*";
    let limits = Limits::default();
    let whole = feed([&bytes[..]].into_iter(), &limits);
    assert_eq!(whole.error, Some(ProtocolError::ExpectedBulk(b'\r')));
    assert_eq!(feed(cut(bytes, &[5]).into_iter(), &limits), whole);
}

proptest! {
    #[test]
    fn any_cut_of_any_pipeline_gives_its_commands(
        pipeline in proptest::collection::vec(command(), 0..8),
        lengths in proptest::collection::vec(1..200_usize, 1..8),
    ) {
        let bytes: Vec<u8> = pipeline.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        let expected: Vec<_> = pipeline.into_iter().filter_map(|(args, _)| args).collect();
        for pieces in [vec![&bytes[..]], cut(&bytes, &[1]), cut(&bytes, &lengths)] {
            let outcome = feed(pieces.into_iter(), &Limits::default());
            prop_assert_eq!(&outcome.commands, &expected);
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(outcome.consumed, bytes.len());
        }
    }

    #[test]
    fn random_bytes_mean_the_same_however_they_arrive(
        bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), near_protocol()],
        lengths in proptest::collection::vec(1..20_usize, 1..4),
    ) {
        for limits in limits() {
            let whole = check(&bytes, &limits);
            prop_assert_eq!(whole, feed(cut(&bytes, &lengths).into_iter(), &limits));
        }
    }
}
