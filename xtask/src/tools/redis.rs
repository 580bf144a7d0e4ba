//! The programs of Redis: from the path, else from the packages of a Debian-like system, unpacked under
//! `target/` without root and without touching what is installed.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{output, program};

/// What tests find each program by.
const PROGRAMS: [(&str, &str); 3] = [
    ("PICCOLO_ORACLE", "redis-server"),
    ("PICCOLO_REDIS_CLI", "redis-cli"),
    ("PICCOLO_REDIS_BENCHMARK", "redis-benchmark"),
];

/// The version that Piccolo is measured against.
const MAJOR: &str = "v=7.";

/// Each program that is there, by the variable that tests find it by.
pub(super) fn bring(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    if let Some(programs) = usable(in_path) {
        return Ok(programs);
    }
    let home = folder.join("redis");
    if !home.join("ready").exists() {
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        unpack(&home)?;
    }
    usable(|name| Some(home.join("bin").join(name)).filter(|path| path.exists()))
        .context("what was unpacked is no redis-server of version 7 that runs")
}

/// The programs, if the server among them is of the version that is wanted.
fn usable(find: impl Fn(&str) -> Option<PathBuf>) -> Option<Vec<(&'static str, PathBuf)>> {
    let server = find("redis-server")?;
    let version = output(program(&server).arg("--version")).ok()?;
    if !version.contains(MAJOR) {
        println!(
            "{}: not the version that is wanted: {}",
            server.display(),
            version.trim()
        );
        return None;
    }
    let found = PROGRAMS
        .iter()
        .filter_map(|(variable, name)| Some((*variable, find(name)?)));
    Some(found.collect())
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}

/// Downloads the packages, and the libraries that they need and this system lacks, and unpacks them.
fn unpack(home: &Path) -> Result<()> {
    if in_path("apt-get").is_none() || in_path("dpkg-deb").is_none() {
        bail!(
            "it is not in the path (version 7), and this is no Debian-like system to take it from"
        );
    }
    println!("redis-server: downloading the packages of this system");
    let apt = home.join("apt");
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    // What is installed is read and never written: lists and packages go to folders of ours.
    let ours = [
        format!("Dir::State::lists={}", apt.join("lists").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
        "Debug::NoLocking=true".to_owned(),
        "APT::Sandbox::User=".to_owned(),
        "Acquire::Retries=2".to_owned(),
    ];
    let apt_get = |arguments: &[&str]| {
        let mut command = program("apt-get");
        for option in &ours {
            command.args(["-o", option]);
        }
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        output(command.args(arguments))
    };
    apt_get(&["update"]).context("cannot list the packages of this system")?;
    apt_get(&[
        "install",
        "--yes",
        "--download-only",
        "--reinstall",
        "--no-install-recommends",
        "redis-server",
        "redis-tools",
    ])
    .context("cannot download the packages")?;
    let root = home.join("root");
    for entry in fs::read_dir(apt.join("cache/archives"))? {
        let package = entry?.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            output(program("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
        }
    }
    let libraries = library_folders(&root)?;
    fs::create_dir_all(home.join("bin"))?;
    for (_, name) in PROGRAMS {
        let unpacked = root.join("usr/bin").join(name);
        if unpacked.exists() {
            let script = home.join("bin").join(name);
            fs::write(&script, wrapper(&unpacked, &libraries))?;
            fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        }
    }
    fs::remove_dir_all(&apt)?;
    fs::write(home.join("ready"), "")?;
    Ok(())
}

/// Every folder below `root` that holds a shared library.
fn library_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let mut holds_library = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                holds_library |= name.ends_with(".so") || name.contains(".so.");
            }
        }
        if holds_library {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// A script that runs the program with the libraries that came with it.
fn wrapper(program: &Path, libraries: &[PathBuf]) -> String {
    let libraries: Vec<String> = libraries
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.join(":"),
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_wherever_they_are() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("usr/lib/x86_64-linux-gnu");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.path().join("usr/share")).unwrap();
        fs::write(deep.join("liblzf.so.1"), "").unwrap();
        fs::write(root.path().join("usr/share/readme"), "").unwrap();
        assert_eq!(library_folders(root.path()).unwrap(), [deep]);
    }

    #[test]
    fn a_wrapper_runs_its_program_with_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("echo");
        fs::write(&script, wrapper(Path::new("/bin/echo"), &[])).unwrap();
        let said = output(program("sh").arg(&script).args(["a b", "c"])).unwrap();
        assert_eq!(said, "a b c\n");
    }

    #[test]
    fn another_version_is_not_usable() {
        assert!(usable(|_| Some("/bin/echo".into())).is_none());
        assert!(usable(|_| None).is_none());
    }
}
