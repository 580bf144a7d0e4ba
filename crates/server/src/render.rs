//! Replies as the bytes of a protocol version.

use commands::Reply;
use resp::Protocol;
use resp::encode;

/// Appends the reply to `out`.
#[inline]
pub(crate) fn render(reply: &Reply<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    match reply {
        Reply::Ok => encode::ok(out),
        Reply::Bulk(bytes) => encode::bulk(out, bytes),
        Reply::Null => encode::null(out, protocol),
        Reply::Integer(number) => encode::integer(out, *number),
        other => render_other(other, protocol, out),
    }
}

fn render_other(reply: &Reply<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    match reply {
        Reply::Ok | Reply::Bulk(_) | Reply::Null | Reply::Integer(_) => {
            unreachable!("`render` has these")
        }
        Reply::Queued => encode::simple(out, "QUEUED"),
        Reply::NullArray => encode::null_array(out, protocol),
        Reply::Simple(text) => encode::simple(out, text),
        Reply::Error(text) => encode::error(out, text),
        Reply::Double(number) => encode::double(out, protocol, *number),
        Reply::Boolean(truth) => encode::boolean(out, protocol, *truth),
        Reply::BigNumber(digits) => encode::big_number(out, protocol, digits),
        Reply::Verbatim { format, text } => {
            encode::verbatim(out, protocol, *format, text.as_bytes());
        }
        Reply::Array(replies) => {
            encode::array_header(out, replies.len());
            render_all(replies, protocol, out);
        }
        Reply::Set(replies) => {
            encode::set_header(out, protocol, replies.len());
            render_all(replies, protocol, out);
        }
        Reply::Push(replies) => {
            encode::push_header(out, protocol, replies.len());
            render_all(replies, protocol, out);
        }
        Reply::Map(pairs) => {
            encode::map_header(out, protocol, pairs.len());
            for (key, value) in pairs {
                render(key, protocol, out);
                render(value, protocol, out);
            }
        }
        Reply::Pairs(pairs) => {
            let nested = protocol == Protocol::Resp3;
            encode::array_header(out, if nested { pairs.len() } else { pairs.len() * 2 });
            for (first, second) in pairs {
                if nested {
                    encode::array_header(out, 2);
                }
                render(first, protocol, out);
                render(second, protocol, out);
            }
        }
    }
}

fn render_all(replies: &[Reply<'_>], protocol: Protocol, out: &mut Vec<u8>) {
    for reply in replies {
        render(reply, protocol, out);
    }
}
