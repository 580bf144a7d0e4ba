//! The connection that asks instead of loading, and what it learns about a server.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use resp::Value;
use resp::client::request;

use super::process::Process;

/// How long connecting and each answer to a question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is taken.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: String,
    resolved: Vec<SocketAddr>,
    password: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Target {
    pub(crate) fn new(address: &str, password: Option<&str>) -> Result<Target> {
        let resolved: Vec<_> = address
            .to_socket_addrs()
            .with_context(|| format!("`{address}` is not the address of a server: give HOST:PORT"))?
            .collect();
        if resolved.is_empty() {
            bail!("`{address}` has no address");
        }
        Ok(Target {
            address: address.to_owned(),
            resolved,
            password: password.map(str::to_owned),
        })
    }

    /// A connection on which commands are accepted.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        Ok(Control::connect(self)?.stream)
    }

    fn dial(&self) -> Result<TcpStream> {
        let mut outcome = None;
        for address in &self.resolved {
            match TcpStream::connect_timeout(address, TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => outcome = outcome.or(Some(error)),
            }
        }
        let error = outcome.expect("a target has an address");
        let advice = match error.kind() {
            ErrorKind::ConnectionRefused => {
                "nothing listens there. Start a server (`piccolo`), or name another one with --address"
            }
            ErrorKind::TimedOut => "nothing answers there. Check the address and firewalls",
            _ => "check the address",
        };
        Err(anyhow!(error).context(format!("cannot connect to {self}: {advice}")))
    }
}

/// A connection for questions.
#[derive(Debug)]
pub(crate) struct Control {
    stream: TcpStream,
    address: String,
}

impl Control {
    /// Connects, and shows the password if there is one.
    pub(crate) fn connect(target: &Target) -> Result<Control> {
        let stream = target.dial()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut control = Control {
            stream,
            address: target.address.clone(),
        };
        if let Some(password) = &target.password {
            control.call(&[b"AUTH", password.as_bytes()])?;
        }
        Ok(control)
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error: then with what can be done about it.
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Result<Value> {
        let command = String::from_utf8_lossy(args[0]).into_owned();
        let reply = self
            .exchange(args)
            .with_context(|| format!("{command} to {}", self.address))?;
        match reply {
            Value::Error(text) => {
                let advice = advice(&text).map_or(String::new(), |advice| format!(" ({advice})"));
                bail!("{} refuses {command}: {text}{advice}", self.address)
            }
            reply => Ok(reply),
        }
    }

    fn exchange(&mut self, args: &[&[u8]]) -> Result<Value> {
        let mut bytes = Vec::new();
        request(&mut bytes, args);
        self.stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some((value, length)) = Value::decode(&answer)? {
                if length < answer.len() {
                    bail!("it answered more than it was asked");
                }
                return Ok(value);
            }
            if answer.len() > MAX_ANSWER_BYTES {
                bail!("the answer is longer than {} MiB", MAX_ANSWER_BYTES >> 20);
            }
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => answer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    bail!("no answer within {} s", TIMEOUT.as_secs())
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The fields of a section of INFO; none where the server has no such section.
    pub(crate) fn info(&mut self, section: &str) -> Result<HashMap<String, String>> {
        let reply = self.call(&[b"INFO", section.as_bytes()])?;
        let text = match &reply {
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes),
            Value::Verbatim { text, .. } => text.as_str().into(),
            _ => "".into(),
        };
        Ok(fields(&text))
    }
}

/// The `name:value` lines of INFO.
fn fields(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
        .collect()
}

/// What to do about an error reply.
fn advice(error: &str) -> Option<&'static str> {
    Some(match error.split(' ').next()? {
        "NOAUTH" => "give the password with --password",
        "WRONGPASS" => "check --password",
        "CLUSTERDOWN" => {
            "the cluster is not up: see `cluster_state` of INFO piccolo and the log of the node"
        }
        "LOADING" => "it still reads its data: try again when it is done",
        "MOVED" | "ASK" => {
            "a Redis Cluster needs a client that follows it from node to node, which this is not"
        }
        "READONLY" => "it is a replica: name its primary",
        "OOM" => "raise its maxmemory, or choose fewer --keys",
        "MISCONF" => "it cannot write to its disk: see its log",
        _ => return None,
    })
}

/// A server, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) target: Target,
    /// Such as `redis 7.0.15`.
    pub(crate) name: String,
    /// Its process, when that is known and on this machine.
    pub(crate) process: Option<Process>,
}

impl Server {
    /// Connects for the first time.
    pub(crate) fn reach(target: Target) -> Result<Server> {
        let mut control = Control::connect(&target)?;
        let info = control.info("server")?;
        let loopback = control.stream.peer_addr()?.ip().is_loopback();
        let process = info
            .get("process_id")
            .filter(|_| loopback)
            .and_then(|pid| pid.parse().ok())
            .and_then(Process::of_server);
        Ok(Server {
            target,
            name: server_name(&info),
            process,
        })
    }
}

/// What a server calls itself, by the most telling field that it has.
fn server_name(info: &HashMap<String, String>) -> String {
    for name in ["piccolo", "valkey", "dragonfly", "redis"] {
        if let Some(version) = info.get(&format!("{name}_version")) {
            return format!("{name} {version}");
        }
    }
    "a server that does not tell its name".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_line_by_line() {
        let info =
            fields("# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n\r\nprocess_id:12\r\n");
        assert_eq!(info["redis_version"], "7.0.15");
        assert_eq!(info["executable"], "/a:b");
        assert_eq!(info.len(), 3);
        assert_eq!(server_name(&info), "redis 7.0.15");
        let info = fields("redis_version:7.2.0\npiccolo_version:0.1.0\n");
        assert_eq!(server_name(&info), "piccolo 0.1.0");
    }

    #[test]
    fn errors_come_with_advice() {
        assert!(
            advice("NOAUTH Authentication required.")
                .unwrap()
                .contains("--password")
        );
        assert!(
            advice("CLUSTERDOWN The cluster is down")
                .unwrap()
                .contains("cluster_state")
        );
        assert_eq!(advice("ERR unknown command"), None);
        assert_eq!(advice(""), None);
    }

    #[test]
    fn an_address_has_a_port() {
        let error = Target::new("127.0.0.1", None).unwrap_err();
        assert!(format!("{error:#}").contains("HOST:PORT"), "{error:#}");
    }
}
