//! Lengths: a file that outgrows the limit has usually found a second subject, and is to be split by
//! it. The few that are longer stand in a list with their length, which may only shrink.

use std::collections::BTreeMap;

use super::Violation;
use super::files::Text;

/// The longest that a source file may be, in lines.
const LIMIT: usize = 600;
/// The longer ones: a line `path length` for each; `#` starts a comment.
pub(super) const LIST: &str = "xtask/long-files.txt";

/// Files that are too long, and entries of the list that no longer hold.
pub(super) fn check(sources: &[Text], list: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut allowed = BTreeMap::new();
    for (index, line) in list.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let entry = line
            .split_once(' ')
            .and_then(|(path, length)| Some((path, length.trim().parse().ok()?)));
        match entry {
            Some((path, length)) => {
                allowed.insert(path, (index + 1, length));
            }
            None => violations.push(in_list(
                index + 1,
                "expected a path and a number of lines".into(),
            )),
        }
    }
    for source in sources {
        let length = source.text.lines().count();
        let problem = match allowed.remove(source.path.as_str()) {
            None if length > LIMIT => Violation {
                path: source.path.clone(),
                line: 0,
                message: format!(
                    "{length} lines, expected {LIMIT} at the most: split it by subject"
                ),
            },
            Some((_, most)) if length > most => Violation {
                path: source.path.clone(),
                line: 0,
                message: format!("{length} lines, expected {most} at the most: it may only shrink"),
            },
            Some((line, _)) if length <= LIMIT => in_list(
                line,
                format!("{} has {length} lines now: remove the entry", source.path),
            ),
            Some((line, most)) if length < most => in_list(
                line,
                format!(
                    "{} has {length} lines now: write that, so that it cannot grow again",
                    source.path
                ),
            ),
            _ => continue,
        };
        violations.push(problem);
    }
    for (path, (line, _)) in allowed {
        violations.push(in_list(
            line,
            format!("{path} is not there: remove the entry"),
        ));
    }
    violations
}

fn in_list(line: usize, message: String) -> Violation {
    Violation {
        path: LIST.to_owned(),
        line,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, lines: usize) -> Text {
        Text {
            path: path.to_owned(),
            text: "x\n".repeat(lines),
        }
    }

    fn messages(sources: &[Text], list: &str) -> Vec<String> {
        check(sources, list)
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn files_within_the_limit_or_of_their_listed_length_are_accepted() {
        let sources = [source("a.rs", LIMIT), source("b.rs", LIMIT + 1)];
        assert_eq!(
            messages(&sources, &format!("# why\nb.rs {}\n", LIMIT + 1)),
            [""; 0]
        );
    }

    #[test]
    fn a_file_beyond_its_limit_is_found() {
        assert!(messages(&[source("a.rs", LIMIT + 1)], "")[0].starts_with("a.rs: 601 lines"));
        assert!(messages(&[source("a.rs", 701)], "a.rs 700")[0].contains("may only shrink"));
    }

    #[test]
    fn an_entry_that_no_longer_holds_is_found() {
        for (lines, list, expected) in [
            (
                650,
                "a.rs 700",
                "long-files.txt:1: a.rs has 650 lines now: write that",
            ),
            (
                600,
                "\na.rs 700",
                "long-files.txt:2: a.rs has 600 lines now: remove",
            ),
            (1, "b.rs 700", "long-files.txt:1: b.rs is not there"),
            (1, "a.rs", "long-files.txt:1: expected a path"),
        ] {
            let messages = messages(&[source("a.rs", lines)], list);
            assert!(
                messages.len() == 1 && messages[0].contains(expected),
                "{messages:?}"
            );
        }
    }
}
