//! What `cargo metadata` says of this workspace.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspace: where it is and who imports whom.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Member>,
}

/// A crate of the workspace and what it imports, from here or elsewhere.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Of the library or the binary, and of a build script.
    pub(crate) imports: BTreeSet<String>,
    /// Of tests, benchmarks and examples alone.
    pub(crate) test_imports: BTreeSet<String>,
}

impl Workspace {
    /// Asks cargo. Needs no network.
    pub(crate) fn load() -> Result<Workspace> {
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        Workspace::from_metadata(&metadata).context("cargo metadata has another form than expected")
    }

    fn from_metadata(metadata: &Value) -> Option<Workspace> {
        let member = |package: &Value| {
            let imports = |of_tests: bool| -> Option<BTreeSet<String>> {
                let wanted = |dependency: &&Value| (dependency["kind"] == "dev") == of_tests;
                let dependencies = package["dependencies"].as_array()?.iter().filter(wanted);
                dependencies
                    .map(|dependency| Some(dependency["name"].as_str()?.to_owned()))
                    .collect()
            };
            Some(Member {
                name: package["name"].as_str()?.to_owned(),
                imports: imports(false)?,
                test_imports: imports(true)?,
            })
        };
        Some(Workspace {
            root: metadata["workspace_root"].as_str()?.into(),
            target: metadata["target_directory"].as_str()?.into(),
            members: metadata["packages"]
                .as_array()?
                .iter()
                .map(member)
                .collect::<Option<_>>()?,
        })
    }
}

/// The cargo that runs this program, else the one in the path.
pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn imports_of_tests_are_kept_apart() {
        let metadata = json!({
            "workspace_root": "/w", "target_directory": "/t",
            "packages": [{ "name": "a", "dependencies": [
                { "name": "b", "kind": null },
                { "name": "c", "kind": "dev" },
                { "name": "d", "kind": "build" },
            ]}],
        });
        let workspace = Workspace::from_metadata(&metadata).unwrap();
        let member = &workspace.members[0];
        assert_eq!(member.imports, ["b", "d"].map(str::to_owned).into());
        assert_eq!(member.test_imports, ["c"].map(str::to_owned).into());
    }
}
