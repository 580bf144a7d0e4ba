use std::collections::BTreeSet;

use commands::{Categories, Spec};

use super::super::all;

#[test]
fn every_record_is_complete() {
    fn check(spec: &Spec, container: Option<&Spec>) {
        let name = spec.name;
        assert!(!name.is_empty() && name == name.to_lowercase(), "{name}");
        assert_ne!(spec.arity, 0, "{name}");
        for (field, text) in [
            ("group", spec.group),
            ("since", spec.since),
            ("summary", spec.summary),
            ("complexity", spec.complexity),
        ] {
            assert!(!text.is_empty(), "{field} of {name}");
        }
        assert!(spec.summary.ends_with('.'), "{name}");
        assert!(!spec.complexity.ends_with('.'), "{name}");
        // A call with no more than the arguments that the syntax demands has at least the arity.
        if spec.arity.unsigned_abs() > 1 && container.is_none() && spec.subcommands.is_empty() {
            assert!(!spec.syntax.is_empty(), "{name}");
        }
        if let Some(container) = container {
            let (before, after) = name.split_once('|').unwrap();
            assert_eq!(before, container.name);
            assert!(!after.is_empty());
            assert_eq!(spec.group, container.group, "{name}");
            assert!(spec.arity.unsigned_abs() >= 2, "{name}");
            assert!(spec.subcommands.is_empty(), "{name}");
        } else {
            assert!(!name.contains('|'), "{name}");
            assert!(
                spec.subcommands
                    .is_sorted_by(|one, next| one.name < next.name),
                "{name}"
            );
        }
        for subcommand in spec.subcommands {
            check(subcommand, Some(spec));
        }
        let connection = spec.acl_categories().contains(Categories::CONNECTION);
        assert!(
            !connection
                || matches!(spec.group, "connection" | "server" | "cluster")
                || name == "wait",
            "{name}"
        );
    }
    for command in all() {
        check(&command.spec, None);
    }
}

#[test]
fn no_name_stands_for_two_commands() {
    let mut names = BTreeSet::new();
    let of_data = commands::COMMANDS.iter().map(|command| &command.spec);
    for spec in of_data.chain(all().map(|command| &command.spec)) {
        assert!(names.insert(spec.name), "{}", spec.name);
        for subcommand in spec.subcommands {
            assert!(names.insert(subcommand.name), "{}", subcommand.name);
        }
    }
}
