//! Words that must not be left in the repository, each with its reason.

use super::Violation;
use super::files::Text;

/// A word, where it must not stand, and why.
struct Rule {
    word: &'static str,
    place: Place,
    why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Anywhere in any text.
    Everywhere,
    /// Anywhere in Rust.
    Rust,
    /// In the tests of Rust (below `#[cfg(test)]`, in files for tests alone), outside of a loop.
    RustTests,
    /// In the tests that are written in Python, but for the one file that waits.
    PythonTests,
}

/// The only place where a Python test may sleep: between two looks at a condition.
const WAITING: &str = "tests/support/waiting.py";

const UNFINISHED: &str = "what is not written yet is an issue, not a trap in the program";
const WAITS: &str = "a test that waits by sleeping is slow, or fails on a slow machine: sleep only \
     between two looks at a condition";
const LOCAL: &str = "a path of one machine means nothing on another";

// Each word is joined here, so that this file does not break its own rules.
const RULES: &[Rule] = &[
    Rule {
        word: concat!("to", "do!"),
        place: Place::Rust,
        why: UNFINISHED,
    },
    Rule {
        word: concat!("unimpl", "emented!"),
        place: Place::Rust,
        why: UNFINISHED,
    },
    Rule {
        word: concat!("db", "g!"),
        place: Place::Rust,
        why: "it is for the one who debugs, not for those who read the log",
    },
    Rule {
        word: concat!("#[ig", "nore"),
        place: Place::Rust,
        why: "a test that does not run protects nothing: it says SKIPPED and why, or it goes",
    },
    Rule {
        word: concat!("thread::sl", "eep"),
        place: Place::RustTests,
        why: WAITS,
    },
    Rule {
        word: concat!("time::sl", "eep"),
        place: Place::RustTests,
        why: WAITS,
    },
    Rule {
        word: concat!("time.sl", "eep"),
        place: Place::PythonTests,
        why: WAITS,
    },
    Rule {
        word: concat!("/ro", "ot/"),
        place: Place::Everywhere,
        why: LOCAL,
    },
    Rule {
        word: concat!("/ho", "me/"),
        place: Place::Everywhere,
        why: LOCAL,
    },
    Rule {
        word: concat!("/Us", "ers/"),
        place: Place::Everywhere,
        why: LOCAL,
    },
    Rule {
        word: concat!("/wo", "rk/"),
        place: Place::Everywhere,
        why: LOCAL,
    },
];

/// Every forbidden word, by line.
pub(super) fn check(texts: &[Text]) -> Vec<Violation> {
    texts.iter().flat_map(check_text).collect()
}

fn check_text(text: &Text) -> Vec<Violation> {
    let is_rust = text.path.ends_with(".rs");
    let is_python_test = text.path.starts_with("tests/") && text.path != WAITING;
    let mut in_tests = is_test_file(&text.path);
    let mut violations = Vec::new();
    let lines: Vec<&str> = text.text.lines().collect();
    for (index, line) in lines.iter().copied().enumerate() {
        in_tests |= line.trim() == "#[cfg(test)]";
        for rule in RULES {
            let applies = match rule.place {
                Place::Everywhere => true,
                Place::Rust => is_rust,
                Place::RustTests => is_rust && in_tests && !is_in_loop(&lines, index),
                Place::PythonTests => is_python_test && text.path.ends_with(".py"),
            };
            if applies && stands_in(line, rule.word) {
                violations.push(Violation {
                    path: text.path.clone(),
                    line: index + 1,
                    message: format!("`{}`: {}", rule.word, rule.why),
                });
            }
        }
    }
    violations
}

/// Tests of a module stand at its end, in a file `tests.rs`, or in a folder `tests`.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').any(|folder| folder == "tests")
}

/// True if the line stands in the body of a `loop` or `while`, as its indentation tells.
fn is_in_loop(lines: &[&str], index: usize) -> bool {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut body = indentation(lines[index]);
    for line in lines[..index]
        .iter()
        .rev()
        .filter(|line| !line.trim().is_empty())
    {
        if indentation(line) < body {
            body = indentation(line);
            let line = line.trim_start();
            if line.starts_with("loop {") || line.starts_with("while ") {
                return true;
            }
            if line.contains("fn ") {
                return false;
            }
        }
    }
    false
}

/// True if the line holds the word, and not as the end of a longer one.
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let is_path = word.starts_with('/');
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || is_path && "-.*}>)".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let text = Text {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[text])
            .into_iter()
            .map(|violation| violation.line)
            .collect()
    }

    #[test]
    fn each_word_is_found_where_it_must_not_stand() {
        for rule in RULES {
            let path = match rule.place {
                Place::Everywhere => "README.md",
                Place::Rust => "crates/a/src/lib.rs",
                Place::RustTests => "crates/a/tests/b.rs",
                Place::PythonTests => "tests/test_a.py",
            };
            assert_eq!(
                lines_found(path, &format!("x\n  {}(1)\n", rule.word)),
                [2],
                "{}",
                rule.word
            );
        }
    }

    #[test]
    fn a_program_may_sleep_and_its_tests_may_not() {
        let call = concat!("thread::sl", "eep(t);");
        let text = format!("{call}\n#[cfg(test)]\nmod tests {{\n{call}\n}}\n");
        assert_eq!(lines_found("crates/a/src/lib.rs", &text), [4]);
        assert_eq!(lines_found("crates/a/src/b/tests.rs", call), [1]);
    }

    #[test]
    fn a_test_may_sleep_between_two_looks() {
        let call = concat!("thread::sl", "eep(t);");
        let polling =
            format!("fn f() {{\n    while !g() {{\n        h();\n        {call}\n    }}\n}}\n");
        assert_eq!(lines_found("crates/a/tests/b.rs", &polling), [0; 0]);
        let after = format!("fn f() {{\n    while !g() {{\n        h();\n    }}\n    {call}\n}}\n");
        assert_eq!(lines_found("crates/a/tests/b.rs", &after), [5]);
        let another = format!("fn f() {{\n    loop {{\n    }}\n}}\nfn g() {{\n    {call}\n}}\n");
        assert_eq!(lines_found("crates/a/tests/b.rs", &another), [6]);
    }

    #[test]
    fn the_one_place_that_waits_may_sleep() {
        assert_eq!(
            lines_found(WAITING, concat!("time.sl", "eep(0.01)")),
            [0; 0]
        );
    }

    #[test]
    fn the_end_of_a_longer_word_is_another_word() {
        assert_eq!(lines_found("a.rs", concat!("my_to", "do!()")), [0; 0]);
        assert_eq!(
            lines_found("a.md", concat!("crates/piccolo", "/wo", "rk/x")),
            [0; 0]
        );
    }
}
