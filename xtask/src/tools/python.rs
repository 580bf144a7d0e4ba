//! A virtual environment with the packages of `tests/requirements.txt`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{output, program};
use crate::workspace::Workspace;

/// The oldest Python that the packages run on.
const OLDEST: (u32, u32) = (3, 10);

/// Pip for a Python that comes without (Debian keeps it in a package of its own). A wheel runs as it is.
const PIP_URL: &str = "https://files.pythonhosted.org/packages/44/3c/\
    d717024885424591d5376220b5e836c2d5293ce2011523c9de23ff7bf068/pip-25.3-py3-none-any.whl";
const PIP_SHA256: &str = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd";
const FETCH_PIP: &str = "\
import hashlib, sys, urllib.request
url, sha256, path = sys.argv[1:]
data = urllib.request.urlopen(url, timeout=60).read()
if hashlib.sha256(data).hexdigest() != sha256:
    sys.exit('the checksum of pip does not match')
open(path, 'wb').write(data)";

/// The files of `tests/`, by name.
pub(crate) fn test_files(workspace: &Workspace) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.root.join("tests"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("test_") && name.ends_with(".py") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The interpreter of the environment, which is made if it is not there or not of these requirements.
pub(super) fn bring(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let requirements = workspace.root.join("tests/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let (python, version) = find()?;
    let mut hasher = DefaultHasher::new();
    (&wanted, &version, &python).hash(&mut hasher);
    let home = folder.join(format!("python-{:016x}", hasher.finish()));
    let interpreter = home.join("bin/python");
    let ready = home.join("ready");
    if ready.exists() && output(program(&interpreter).args(["-c", "import pytest, redis"])).is_ok()
    {
        return Ok(interpreter);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(folder)?;
    println!("python: making a virtual environment of Python {version}");
    let with_pip = output(program(&python).args(["-m", "venv"]).arg(&home));
    let pip = match with_pip {
        Ok(_) => None,
        Err(error) => {
            println!("python: {error:#}; fetching pip by itself");
            output(
                program(&python)
                    .args(["-m", "venv", "--clear", "--without-pip"])
                    .arg(&home),
            )?;
            let wheel = folder.join("pip-25.3-py3-none-any.whl");
            output(
                program(&python)
                    .args(["-c", FETCH_PIP, PIP_URL, PIP_SHA256])
                    .arg(&wheel),
            )
            .context("cannot fetch pip")?;
            Some(wheel.join("pip"))
        }
    };
    let mut install = program(&interpreter);
    match pip {
        None => install.args(["-m", "pip"]),
        Some(pip) => install.arg(pip),
    };
    install.args([
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    output(install.arg(&requirements)).context("cannot install the packages")?;
    fs::write(ready, wanted)?;
    Ok(interpreter)
}

/// A Python that is new enough, and its version.
fn find() -> Result<(PathBuf, String)> {
    const VERSION: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3])";
    let mut found = None;
    for name in ["python3", "python"] {
        let Ok(version) = output(program(name).args(["-c", VERSION])) else {
            continue;
        };
        let version = version.trim().to_owned();
        if is_new_enough(&version) {
            return Ok((PathBuf::from(name), version));
        }
        found = Some(version);
    }
    match found {
        Some(version) => bail!(
            "Python {version} is too old, expected {}.{}",
            OLDEST.0,
            OLDEST.1
        ),
        None => bail!("there is no python3 in the path"),
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (version, enough) in [
            ("3.9.18", false),
            ("3.10.0", true),
            ("3.13", true),
            ("2.7", false),
            ("4.0", true),
        ] {
            assert_eq!(is_new_enough(version), enough, "{version}");
        }
    }
}
