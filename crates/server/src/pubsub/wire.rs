//! What nodes ask each other about publish and subscribe, as bytes.
//!
//! A question is a byte that says which, then what belongs to it; an answer has no such byte. Numbers are
//! little-endian, a text is its length as u32 and its bytes. A question that is not known is answered with
//! nothing.
//!
//! | question | what follows | answer |
//! | --- | --- | --- |
//! | 1 publish | for each message: 1 if sharded else 0, channel, text | how many that reached, u32 each |
//! | 2 names | kind, 1 and a pattern or 0 | those names |
//! | 3 counts | kind, names | how many listen to each, u32 |

use std::collections::BTreeSet;

use super::{Kind, Message, PubSub};

/// A question to all other nodes, in the making.
pub(crate) struct Question(Vec<u8>);

const PUBLISH: u8 = 1;
const NAMES: u8 = 2;
const COUNTS: u8 = 3;

impl Question {
    /// Has messages delivered, in their order.
    pub(crate) fn publish<'m>(messages: impl Iterator<Item = Message<'m>>) -> Question {
        let mut out = vec![PUBLISH];
        for message in messages {
            out.push(u8::from(message.sharded));
            put(message.channel, &mut out);
            put(message.text, &mut out);
        }
        Question(out)
    }

    pub(crate) fn names(kind: Kind, pattern: Option<&[u8]>) -> Question {
        let mut out = vec![NAMES, kind as u8, u8::from(pattern.is_some())];
        if let Some(pattern) = pattern {
            put(pattern, &mut out);
        }
        Question(out)
    }

    pub(crate) fn counts<'n>(kind: Kind, names: impl Iterator<Item = &'n [u8]>) -> Question {
        let mut out = vec![COUNTS, kind as u8];
        for name in names {
            put(name, &mut out);
        }
        Question(out)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Adds the numbers of an answer to `sums`.
pub(crate) fn add_counts(answer: &[u8], sums: &mut [i64]) {
    let (numbers, _) = answer.as_chunks::<4>();
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += i64::from(u32::from_le_bytes(*number));
    }
}

/// Adds the names of an answer to `all`.
pub(crate) fn add_names(mut answer: &[u8], all: &mut BTreeSet<Vec<u8>>) {
    while let Some(name) = take(&mut answer) {
        all.insert(name.to_vec());
    }
}

impl PubSub {
    /// Does what a question asks for on this node.
    pub(crate) fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        // What cannot be read is of a later version.
        self.try_answer(question, &mut answer);
        answer
    }

    fn try_answer(&self, question: &[u8], answer: &mut Vec<u8>) -> Option<()> {
        let (which, mut rest) = question.split_first()?;
        let mut put_count = |count: usize| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            answer.extend_from_slice(&count.to_le_bytes());
        };
        match *which {
            PUBLISH => {
                while !rest.is_empty() {
                    let sharded = take_byte(&mut rest)? != 0;
                    let (channel, text) = (take(&mut rest)?, take(&mut rest)?);
                    put_count(self.deliver(Message {
                        sharded,
                        channel,
                        text,
                    }));
                }
            }
            NAMES => {
                let kind = take_kind(&mut rest)?;
                let has_pattern = take_byte(&mut rest)? != 0;
                let pattern = if has_pattern {
                    Some(take(&mut rest)?)
                } else {
                    None
                };
                for name in self.names(kind, pattern) {
                    put(&name, answer);
                }
            }
            COUNTS => {
                let kind = take_kind(&mut rest)?;
                while let Some(name) = take(&mut rest) {
                    put_count(self.count(kind, name));
                }
            }
            _ => {}
        }
        Some(())
    }
}

fn put(text: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).expect("no argument is as long as 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
}

fn take<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(text)
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

fn take_kind(bytes: &mut &[u8]) -> Option<Kind> {
    Kind::ALL.get(usize::from(take_byte(bytes)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_is_not_understood_does_nothing() {
        let pubsub = PubSub::new(100);
        let message = Message {
            sharded: false,
            channel: b"channel",
            text: b"text",
        };
        let question = Question::publish([message].into_iter());
        assert_eq!(pubsub.answer(question.bytes()), [0; 4]);
        for cut in 0..question.bytes().len() {
            assert!(pubsub.answer(&question.bytes()[..cut]).is_empty());
        }
        assert!(pubsub.answer(&[77, 1, 2]).is_empty());
        assert!(pubsub.answer(&[NAMES, 9, 0]).is_empty());
    }

    #[test]
    fn answers_are_added_up() {
        let mut sums = [1, 2];
        add_counts(&[1, 0, 0, 0, 255, 255, 255, 255], &mut sums);
        add_counts(&[5, 0, 0, 0, 1], &mut sums);
        assert_eq!(sums, [7, 2 + i64::from(u32::MAX)]);
        let mut names = BTreeSet::new();
        let mut answer = Vec::new();
        put(b"one", &mut answer);
        put(b"", &mut answer);
        add_names(&answer, &mut names);
        add_names(&answer[..5], &mut names);
        assert_eq!(names, [b"".to_vec(), b"one".to_vec()].into());
    }
}
