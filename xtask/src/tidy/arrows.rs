//! The law of arrows: the table in `ARCHITECTURE.md` says which crate may import which, and cargo's
//! metadata says which does.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::workspace::Member;

/// The document that holds the table.
pub(super) const MAP: &str = "ARCHITECTURE.md";
const HEAD: [&str; 4] = ["crate", "owns", "may import", "never"];

/// A row of the table. What stands in backticks is the name of a crate.
#[derive(Debug, Default)]
struct Row {
    line: usize,
    may_import: BTreeSet<String>,
    never: BTreeSet<String>,
}

/// What the table and the manifests do not agree on.
pub(super) fn check(map: &str, members: &[Member]) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let rows = rows(map);
    if rows.is_empty() {
        found.add(
            0,
            format!("there is no table with the columns {}", HEAD.join(", ")),
        );
        return found.0;
    }
    let of_workspace: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for (name, row) in &rows {
        if !of_workspace.contains(name.as_str()) {
            found.add(row.line, format!("`{name}` is no crate of the workspace"));
        }
        for import in row
            .may_import
            .iter()
            .filter(|name| !of_workspace.contains(name.as_str()))
        {
            found.add(
                row.line,
                format!("`{name}` may import `{import}`, which is no crate here"),
            );
        }
    }
    for member in members {
        let name = &member.name;
        let Some(row) = rows.get(name) else {
            found.add(
                0,
                format!("the crate `{name}` has no row: a map must show every crate"),
            );
            continue;
        };
        let inside = |import: &&String| of_workspace.contains(import.as_str());
        for import in member.imports.iter().filter(inside) {
            if !row.may_import.contains(import) {
                found.add(
                    row.line,
                    format!("`{name}` imports `{import}`, which its row does not allow: an arrow is drawn here before it is used"),
                );
            }
        }
        for import in row.may_import.difference(&member.imports) {
            found.add(
                row.line,
                format!("`{name}` does not import `{import}`: an arrow that nothing uses is a door left open"),
            );
        }
        for import in row.never.intersection(&member.imports) {
            found.add(
                row.line,
                format!("`{name}` imports `{import}`, which its row forbids"),
            );
        }
        // A crate may import itself in its tests, with a feature that what ships does not have.
        for import in member
            .test_imports
            .iter()
            .filter(inside)
            .filter(|import| *import != name)
        {
            if reaches(&rows, import, name) {
                found.add(
                    row.line,
                    format!("the tests of `{name}` import `{import}`, which imports `{name}`: tests of both belong above both"),
                );
            }
        }
    }
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, line: usize, message: String) {
        self.0.push(Violation {
            path: MAP.to_owned(),
            line,
            message,
        });
    }
}

/// True if arrows lead from one crate to the other.
fn reaches(rows: &BTreeMap<String, Row>, from: &str, to: &str) -> bool {
    let mut open = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name)
            && let Some(row) = rows.get(name)
        {
            open.extend(row.may_import.iter().map(String::as_str));
        }
    }
    false
}

/// The table, by the name of the crate.
fn rows(map: &str) -> BTreeMap<String, Row> {
    let lines = map
        .lines()
        .enumerate()
        .skip_while(|(_, line)| cells(line) != HEAD)
        .skip(2);
    lines
        .take_while(|(_, line)| line.starts_with('|'))
        .filter_map(|(index, line)| {
            let cells = cells(line);
            let [name, _, may_import, never] = cells[..] else {
                return None;
            };
            let name = names(name).pop_first()?;
            Some((
                name,
                Row {
                    line: index + 1,
                    may_import: names(may_import),
                    never: names(never),
                },
            ))
        })
        .collect()
}

fn cells(line: &str) -> Vec<&str> {
    match line
        .trim()
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'))
    {
        Some(inner) => inner.split('|').map(str::trim).collect(),
        None => Vec::new(),
    }
}

/// What stands in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# Map

| crate | owns | may import | never |
| --- | --- | --- | --- |
| `base` | words | std | any other crate |
| `keyspace` | values, as `Entry` | `base` | `tokio`, clocks |
| `server` | sessions | `keyspace`, `base` | `wal` |

| another | table |
";

    fn member(name: &str, imports: &[&str], test_imports: &[&str]) -> Member {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Member {
            name: name.to_owned(),
            imports: owned(imports),
            test_imports: owned(test_imports),
        }
    }

    fn members() -> Vec<Member> {
        vec![
            member("base", &[], &[]),
            member("keyspace", &["base", "crc32c"], &["proptest"]),
            member("server", &["base", "keyspace", "tokio"], &["base"]),
        ]
    }

    fn messages(map: &str, members: &[Member]) -> Vec<String> {
        check(map, members)
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn a_map_that_is_true_is_accepted() {
        assert_eq!(messages(TABLE, &members()), [""; 0]);
    }

    #[track_caller]
    fn planted(members: &[Member], expected: &str) {
        let messages = messages(TABLE, members);
        assert!(
            messages.len() == 1 && messages[0].contains(expected),
            "{messages:#?}\nshould hold only\n{expected}"
        );
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        let mut members = members();
        members[0].imports.insert("keyspace".to_owned());
        planted(&members, "ARCHITECTURE.md:5: `base` imports `keyspace`");
    }

    #[test]
    fn an_arrow_that_is_not_used_is_found() {
        let mut members = members();
        members[2].imports.remove("base");
        planted(&members, ":7: `server` does not import `base`");
    }

    #[test]
    fn what_a_row_forbids_is_found_inside_and_outside_of_the_workspace() {
        let mut members = members();
        members[1].imports.insert("tokio".to_owned());
        planted(
            &members,
            ":6: `keyspace` imports `tokio`, which its row forbids",
        );
    }

    #[test]
    fn tests_must_not_point_upward() {
        let mut members = members();
        members[0].test_imports.insert("server".to_owned());
        planted(&members, ":5: the tests of `base` import `server`");
    }

    #[test]
    fn a_crate_may_test_itself_with_another_feature() {
        let mut members = members();
        members[0].test_imports.insert("base".to_owned());
        assert_eq!(messages(TABLE, &members), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let mut all = members();
        all.push(member("wal", &[], &[]));
        planted(&all, "the crate `wal` has no row");
        let mut fewer = members();
        fewer.remove(2);
        planted(&fewer, ":7: `server` is no crate");
    }

    #[test]
    fn a_document_without_the_table_is_refused() {
        assert_eq!(messages("# Map\n", &members()).len(), 1);
    }
}
