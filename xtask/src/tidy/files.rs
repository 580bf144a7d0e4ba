//! The files of the repository.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 7] = [
    "target",
    "corpus",
    "artifacts",
    "coverage",
    "__pycache__",
    "piccolo-data",
    "node_modules",
];

/// A file: its path from the root, with slashes, and what it holds.
pub(super) struct Text {
    pub(super) path: String,
    pub(super) text: String,
}

/// Every text file below `root` with one of these extensions, by path. Hidden folders are left out.
pub(super) fn texts(root: &Path, extensions: &[&str]) -> Result<Vec<Text>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(root.join(&folder))
            .with_context(|| format!("cannot list the folder {folder:?}"))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match folder.as_str() {
                "" => name.clone(),
                folder => format!("{folder}/{name}"),
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if kind.is_file()
                && let Some((_, extension)) = name.rsplit_once('.')
                && extensions.contains(&extension)
            {
                let bytes =
                    fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
                found.push(Text {
                    path,
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_or_hidden_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "a/b.rs",
            "a/c.md",
            "target/d.rs",
            ".git/e.rs",
            "a/.hidden/f.rs",
            "g.rs",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let found = texts(root.path(), &["rs"]).unwrap();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/b.rs", "g.rs"]);
    }
}
