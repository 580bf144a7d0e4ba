//! Links: a document that points at a file which is not there misleads.

use super::Violation;
use super::files::Text;

/// Links of documents, and file names in backticks, that lead nowhere.
///
/// A file name is what stands in backticks, holds a slash and ends in `.rs`, `.py`, `.md` or `.toml`;
/// it is a path from the root.
pub(super) fn check(documents: &[Text], exists: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for document in documents {
        let folder = document
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let mut in_code = false;
        for (index, line) in document.text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if in_code {
                continue;
            }
            let links = targets(line).map(|target| joined(folder, target));
            let names = file_names(line).map(str::to_owned);
            for path in links.chain(names).filter(|path| !exists(path)) {
                let message = format!("{path} is not there: a document must not point at nothing");
                violations.push(Violation {
                    path: document.path.clone(),
                    line: index + 1,
                    message,
                });
            }
        }
    }
    violations
}

/// The targets of `[text](target)` that are files of the repository.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        (!target.is_empty() && !target.contains(':')).then_some(target)
    })
}

fn file_names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        let is_path = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        let is_file = [".rs", ".py", ".md", ".toml"]
            .iter()
            .any(|ending| name.ends_with(ending));
        is_path && is_file && name.contains('/') && !name.starts_with(['/', '.'])
    })
}

/// The path from the root of a target in a document of that folder.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(path: &str, text: &str) -> Vec<String> {
        let there = ["README.md", "docs/adr/0001.md", "crates/base/src/lib.rs"];
        let document = Text {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[document], |path| there.contains(&path))
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn links_are_followed_from_where_they_stand() {
        assert_eq!(
            missing("docs/a.md", "[x](../README.md#top), [y](adr/0001.md)"),
            [""; 0]
        );
        assert_eq!(
            missing("README.md", "[x](https://example.org/a.md) and [y](#below)"),
            [""; 0]
        );
        let found = missing("docs/a.md", "\n[x](README.md)");
        assert!(
            found.len() == 1 && found[0].starts_with("docs/a.md:2: docs/README.md"),
            "{found:?}"
        );
    }

    #[test]
    fn file_names_hold_from_the_root() {
        assert_eq!(
            missing("docs/a.md", "`crates/base/src/lib.rs`, `lib.rs`, `x/*.rs`"),
            [""; 0]
        );
        assert_eq!(missing("docs/a.md", "`crates/base/src/gone.rs`").len(), 1);
        assert_eq!(
            missing("docs/a.md", "```\n`crates/base/src/gone.rs`\n```"),
            [""; 0]
        );
    }
}
