//! Where settings come from: a file, `--set` options, and the places in both that errors point at.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS};
use super::{Config, contradictions};

/// The file that is read when none is named and it is there.
const DEFAULT_PATH: &str = "config.toml";
/// No configuration is larger; what is was named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: there is no such file, expected the configuration that --config names", path.display())]
    Missing { path: PathBuf },
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: larger than {FILE_BYTES_MAX} bytes, expected a configuration in TOML", path.display())]
    TooLarge { path: PathBuf },
    #[error("{place}: a byte that is not UTF-8, expected a configuration in TOML")]
    NotUtf8 { place: Place },
    #[error("{}", lines(.0))]
    Invalid(Vec<Finding>),
}

/// One thing that is wrong and where it stands.
#[derive(Debug)]
pub(crate) struct Finding {
    place: Place,
    message: String,
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.place, finding.message))
        .collect();
    lines.join("\n")
}

/// What an error points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Both count from 1; columns are characters.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    /// The option as it was given, without the value of a secret.
    Option(String),
    /// Nothing was set; a default is at odds with nothing but another default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::Option(option) => f.write_str(option),
            Place::Default => f.write_str("the defaults"),
        }
    }
}

/// A configuration that holds, and the file that it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) path: Option<PathBuf>,
}

/// The configuration in the file `explicit`, else in `config.toml` of the working directory if there
/// is one, else the defaults, with the `KEY=VALUE` of `options` put over it, the last one last.
///
/// # Errors
/// [`ConfigError`] for whatever is not as `docs/configuration.md` says. Contradictions are told all
/// at once, other errors one at a time.
pub(crate) fn load(explicit: Option<&Path>, options: &[String]) -> Result<Loaded, ConfigError> {
    let document = match explicit {
        Some(path) => Some(Document::read(path)?.ok_or_else(|| ConfigError::Missing {
            path: path.to_owned(),
        })?),
        None => Document::read(Path::new(DEFAULT_PATH))?,
    };
    let overrides: Vec<Override> = options
        .iter()
        .map(|option| Override::parse(option))
        .collect::<Result<_, _>>()?;
    let config = match &document {
        Some(document) => document.config(&overrides)?,
        None => merged(toml::Table::new(), &overrides)?,
    };
    let findings: Vec<Finding> = contradictions::find(&config)
        .into_iter()
        .map(|contradiction| {
            let mut places = contradiction.keys.iter().filter_map(|key| {
                let option = overrides.iter().rfind(|option| option.key == *key);
                option.map(Override::place).or_else(|| {
                    document
                        .as_ref()
                        .and_then(|document| document.place_of(key))
                })
            });
            let place = places.next().unwrap_or(Place::Default);
            let message = format!("{}: {}", contradiction.keys[0], contradiction.message);
            Finding { place, message }
        })
        .collect();
    match findings.is_empty() {
        true => Ok(Loaded {
            config,
            path: document.map(|document| document.path),
        }),
        false => Err(ConfigError::Invalid(findings)),
    }
}

/// The table with the options put over it, as a configuration.
fn merged(mut table: toml::Table, overrides: &[Override]) -> Result<Config, ConfigError> {
    for option in overrides {
        option.put_into(&mut table);
    }
    // Each part was read on its own before, so this fails only if one part's meaning depended on
    // another's; none does.
    Config::deserialize(table).map_err(|error| {
        let message = error.message().to_owned();
        ConfigError::Invalid(vec![Finding {
            place: Place::Default,
            message,
        }])
    })
}

/// A file that was read.
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// `None` if there is no such file.
    fn read(path: &Path) -> Result<Option<Document>, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
            });
        }
        let path = path.to_owned();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Document { path, text })),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
                Err(ConfigError::NotUtf8 {
                    place: Document { path, text }.place_at(good),
                })
            }
        }
    }

    fn config(&self, overrides: &[Override]) -> Result<Config, ConfigError> {
        self.require_tables()?;
        // The file is read on its own first: an option does not excuse what is wrong in it.
        let in_file: Result<Config, _> = toml::from_str(&self.text);
        in_file.map_err(|error| self.invalid(&error))?;
        let table = self.text.parse().map_err(|error| self.invalid(&error))?;
        merged(table, overrides)
    }

    /// Serde would take an array for a table, its values in the order of the fields.
    fn require_tables(&self) -> Result<(), ConfigError> {
        let document = DeTable::parse(&self.text).map_err(|error| self.invalid(&error))?;
        let array = document
            .get_ref()
            .iter()
            .find(|(name, value)| is_table(name.get_ref()) && value.get_ref().is_array());
        match array {
            None => Ok(()),
            Some((name, value)) => {
                let message = format!("{}: an array, expected a table", name.get_ref());
                let place = self.place_at(value.span().start);
                Err(ConfigError::Invalid(vec![Finding { place, message }]))
            }
        }
    }

    fn invalid(&self, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map_or(self.text.len(), |span| span.start);
        let path = match DeTable::parse(&self.text) {
            Ok(table) => path_at(table.get_ref(), start),
            Err(_) => None,
        };
        let message = told(path.as_deref(), error);
        ConfigError::Invalid(vec![Finding {
            place: self.place_at(start),
            message,
        }])
    }

    fn place_at(&self, offset: usize) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Place::File {
            path: self.path.clone(),
            line,
            column,
        }
    }

    /// Where the value of that key stands.
    fn place_of(&self, key: &str) -> Option<Place> {
        let (table, name) = key.split_once('.')?;
        let document = DeTable::parse(&self.text).ok()?;
        let DeValue::Table(table) = document.get_ref().get(table)?.get_ref() else {
            return None;
        };
        Some(self.place_at(table.get(name)?.span().start))
    }
}

/// The message for an error of reading the value, or the name, at `path`.
fn told(path: Option<&str>, error: &toml::de::Error) -> String {
    let message = error.message().trim_end().replace('\n', ", ");
    let Some(path) = path else { return message };
    if is_table(path) || KEYS.contains(&path) {
        format!("{path}: {message}")
    } else {
        keys::unknown(path)
    }
}

fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.split('.').next() == Some(name))
}

/// The dotted path of the name or value at that offset, as far as tables go.
fn path_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let holds = |span: Range<usize>| span.contains(&offset);
    table.iter().find_map(|(name, value)| {
        let below = match value.get_ref() {
            DeValue::Table(table) => path_at(table, offset),
            _ => None,
        };
        match below {
            Some(below) => Some(format!("{}.{below}", name.get_ref())),
            None => (holds(name.span()) || holds(value.span())).then(|| name.get_ref().to_string()),
        }
    })
}

/// One `--set KEY=VALUE`.
struct Override {
    key: &'static str,
    value: toml::Value,
    shown: String,
}

impl Override {
    /// The value is TOML; what does not read as such, or not as what the key is, is a string.
    fn parse(option: &str) -> Result<Override, ConfigError> {
        let shown = shown(option);
        let refuse = |message: String| {
            let place = Place::Option(shown.clone());
            Err(ConfigError::Invalid(vec![Finding { place, message }]))
        };
        let Some((key, raw)) = option.split_once('=') else {
            return refuse("no `=`, expected KEY=VALUE".to_owned());
        };
        let (key, raw) = (key.trim(), raw.trim());
        let Some(key) = KEYS.iter().copied().find(|known| *known == key) else {
            return refuse(keys::unknown(key));
        };
        let typed = toml::Value::from_str(raw);
        let string = match raw.starts_with(['"', '\'', '[', '{']) {
            true => None,
            false => Some(toml::Value::String(raw.to_owned())),
        };
        let candidates = typed.clone().ok().into_iter().chain(string);
        let mut first_error = typed.err();
        for value in candidates {
            let option = Override {
                key,
                value,
                shown: shown.clone(),
            };
            let mut table = toml::Table::new();
            option.put_into(&mut table);
            match Config::deserialize(table) {
                Ok(_) => return Ok(option),
                // What a bare word is as TOML says nothing; what it is as a string does.
                Err(error) => {
                    let bare = matches!(option.value, toml::Value::String(_));
                    if first_error.is_none() || bare && toml::Value::from_str(raw).is_err() {
                        first_error = Some(error);
                    }
                }
            }
        }
        let error = first_error.expect("a value that was not taken left an error");
        refuse(told(Some(key), &error))
    }

    fn place(&self) -> Place {
        Place::Option(self.shown.clone())
    }

    fn put_into(&self, document: &mut toml::Table) {
        let (table, name) = self
            .key
            .split_once('.')
            .expect("every known key has a table");
        let entry = document
            .entry(table)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let entry = entry
            .as_table_mut()
            .expect("a document that was read has tables for tables");
        entry.insert(name.to_owned(), self.value.clone());
    }
}

/// The option as an error shows it.
fn shown(option: &str) -> String {
    match option.split_once('=') {
        Some((key, _)) if keys::is_secret(key.trim()) => format!("--set {key}=<redacted>"),
        _ => format!("--set {option}"),
    }
}

#[cfg(test)]
mod tests;
