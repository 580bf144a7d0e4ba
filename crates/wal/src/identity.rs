//! Who this node is, across restarts.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use base::{ClusterId, Incarnation, NodeId};

use crate::data_dir::DataDirError;
use crate::kept::replace;
use crate::{Disk, DiskFile};

/// What a node must know before it speaks.
///
/// # Layout
/// The file `identity` is text, so that an operator can read it. Its lines, in this order:
///
/// ```text
/// piccolo-node 1                                   the format version of the data folder
/// node 00abcdef01234567
/// run 0123456789abcdef0123456789abcdef01234567
/// incarnation 3
/// cluster 89abcdef01234567                         or "none"
/// crc32c 1a2b3c4d                                  of the lines above
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Its run, as `INFO` tells it.
    pub run: RunId,
    /// How often it has started.
    pub incarnation: Incarnation,
    /// The cluster it belongs to, once it does.
    pub cluster: Option<ClusterId>,
}

const FILE: &str = "identity";
const FORMAT: u32 = 1;
/// More than any identity takes.
const SIZE_MAX: usize = 4096;

impl Identity {
    /// Reads the identity in a data folder; `None` if it has none.
    ///
    /// # Errors
    /// [`DataDirError::Damaged`], [`DataDirError::Version`], [`DataDirError::Io`].
    pub fn load<D: Disk>(disk: &D, data_dir: &Path) -> Result<Option<Identity>, DataDirError> {
        let path = data_dir.join(FILE);
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataDirError::io("open", &path, error)),
        };
        let mut bytes = vec![0; SIZE_MAX];
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(|error| DataDirError::io("read", &path, error))?;
        Identity::decode(&bytes[..count], &path).map(Some)
    }

    /// Replaces the identity in a data folder, atomically and durably.
    ///
    /// # Errors
    /// [`DataDirError::Io`]: which of both is there is unknown until a restart.
    pub fn store<D: Disk>(&self, disk: &D, data_dir: &Path) -> Result<(), DataDirError> {
        replace(disk, data_dir, FILE, self.encode().as_bytes())
    }

    fn encode(&self) -> String {
        let cluster = self
            .cluster
            .map_or_else(|| "none".to_owned(), |id| id.to_string());
        let Identity {
            node,
            run,
            incarnation: Incarnation(incarnation),
            ..
        } = self;
        let lines = format!(
            "piccolo-node {FORMAT}\nnode {node}\nrun {run}\nincarnation {incarnation}\ncluster {cluster}\n"
        );
        let crc = crc32c::crc32c(lines.as_bytes());
        format!("{lines}crc32c {crc:08x}\n")
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Identity, DataDirError> {
        let damaged = |what: &str| DataDirError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let text = str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (lines, crc) = text
            .rsplit_once("crc32c ")
            .ok_or_else(|| damaged("its checksum is missing"))?;
        if crc != format!("{:08x}\n", crc32c::crc32c(lines.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        let mut lines = lines.lines();
        let mut field = |name: &str| {
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.ok_or_else(|| damaged(&format!("the line \"{name}\" is missing")))
        };
        let found =
            number(field("piccolo-node")?).ok_or_else(|| damaged("its format is no number"))?;
        if found != FORMAT {
            return Err(DataDirError::Version {
                path: path.to_owned(),
                found,
                supported: FORMAT,
            });
        }
        let node = number(field("node")?).ok_or_else(|| damaged("the node id is malformed"))?;
        let run = number(field("run")?).ok_or_else(|| damaged("the run id is malformed"))?;
        let incarnation = number(field("incarnation")?)
            .map(Incarnation)
            .ok_or_else(|| damaged("the incarnation is no number"))?;
        let cluster = match field("cluster")? {
            "none" => None,
            id => Some(number(id).ok_or_else(|| damaged("the cluster id is malformed"))?),
        };
        Ok(Identity {
            node,
            run,
            incarnation,
            cluster,
        })
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// 20 random bytes, shown as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub [u8; 20]);

/// A text is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run id is 40 hexadecimal digits")]
pub struct RunIdError;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<RunId, RunIdError> {
        let digits = text.as_bytes();
        let mut bytes = [0; 20];
        if digits.len() != 2 * bytes.len() {
            return Err(RunIdError);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| (d as char).to_digit(16).ok_or(RunIdError);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(RunId(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemDisk;

    fn identity(incarnation: u64, cluster: Option<u64>) -> Identity {
        Identity {
            node: NodeId(0x00ab_cdef_0123_4567),
            run: RunId([0xa5; 20]),
            incarnation: Incarnation(incarnation),
            cluster: cluster.map(ClusterId),
        }
    }

    #[test]
    fn identities_read_back() {
        let disk = MemDisk::new();
        let dir = Path::new("node");
        assert_eq!(Identity::load(&disk, dir).unwrap(), None);
        for stored in [
            identity(1, None),
            identity(2, Some(7)),
            identity(u64::MAX, None),
        ] {
            stored.store(&disk, dir).unwrap();
            assert_eq!(Identity::load(&disk, dir).unwrap(), Some(stored));
        }
    }

    #[test]
    fn a_power_cut_leaves_the_old_identity_or_the_new_one() {
        for seed in 0..500 {
            let disk = MemDisk::new();
            let dir = Path::new("node");
            let (old, new) = (identity(1, None), identity(2, Some(9)));
            old.store(&disk, dir).unwrap();
            // The last step, which makes it durable, does not come about.
            let fault = crate::testing::Fault {
                operation: crate::testing::Operation::Sync,
                after: seed % 2,
                kind: io::ErrorKind::Other,
            };
            disk.inject(fault);
            new.store(&disk, dir).unwrap_err();
            disk.crash(seed);
            let found = Identity::load(&disk, dir).unwrap().unwrap();
            assert!(found == old || found == new);
        }
    }

    #[test]
    fn no_damage_of_one_byte_passes() {
        let disk = MemDisk::new();
        let dir = Path::new("node");
        identity(3, Some(1)).store(&disk, dir).unwrap();
        let path = dir.join(FILE);
        let intact = disk.contents(&path);
        for offset in 0..intact.len() {
            for mask in [1, 0x20, 0xff] {
                disk.flip(&path, offset, mask);
                let refused = Identity::load(&disk, dir);
                assert!(
                    matches!(refused, Err(DataDirError::Damaged { .. })),
                    "{offset} {mask}"
                );
                disk.flip(&path, offset, mask);
            }
            disk.set_contents(&path, &intact[..offset]);
            let refused = Identity::load(&disk, dir);
            assert!(
                matches!(refused, Err(DataDirError::Damaged { .. })),
                "cut at {offset}"
            );
            disk.set_contents(&path, &intact);
        }
    }

    #[test]
    fn a_later_format_is_refused_as_such() {
        let disk = MemDisk::new();
        let later = "piccolo-node 2\nsomething else\n";
        let crc = crc32c::crc32c(later.as_bytes());
        let path = Path::new("node").join(FILE);
        disk.put(&path, format!("{later}crc32c {crc:08x}\n").as_bytes());
        let refused = Identity::load(&disk, Path::new("node"));
        assert!(matches!(
            refused,
            Err(DataDirError::Version {
                found: 2,
                supported: 1,
                ..
            })
        ));
    }

    #[test]
    fn run_ids_are_forty_digits() {
        let run = RunId([0x0f; 20]);
        assert_eq!(run.to_string(), "0f".repeat(20));
        assert_eq!(run.to_string().parse(), Ok(run));
        assert_eq!("0f".parse::<RunId>(), Err(RunIdError));
        assert_eq!("+f".repeat(20).parse::<RunId>(), Err(RunIdError));
    }
}
