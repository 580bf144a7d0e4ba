//! A connection to a server that asks and waits for each answer.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use resp::Value;
use resp::client::request;

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

    /// True if the server is on this machine.
    pub(crate) fn is_local(&self) -> Result<bool> {
        Ok(self.stream.peer_addr()?.ip().is_loopback())
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error: then with what can be done about it.
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Result<Value> {
        match self.exchange(args)? {
            Value::Error(text) => {
                let command = String::from_utf8_lossy(args[0]);
                Err(refused(&self.address, &command, &text))
            }
            reply => Ok(reply),
        }
    }

    /// The same, but an error that is replied is a reply.
    ///
    /// # Errors
    /// The connection fails.
    pub(crate) fn exchange(&mut self, args: &[&[u8]]) -> Result<Value> {
        let exchanged = self.send_and_receive(args);
        exchanged
            .with_context(|| format!("{} to {}", String::from_utf8_lossy(args[0]), self.address))
    }

    fn send_and_receive(&mut self, args: &[&[u8]]) -> Result<Value> {
        let mut bytes = Vec::new();
        request(&mut bytes, args);
        self.stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let decoded = Value::decode(&answer);
            if let Some((value, length)) =
                decoded.context("what answers there does not speak RESP")?
            {
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

/// An error reply, for people.
pub(crate) fn refused(address: &str, command: &str, text: &str) -> anyhow::Error {
    let advice = advice(text).map_or(String::new(), |advice| format!(" ({advice})"));
    anyhow!("{address} refuses {command}: {text}{advice}")
}

/// What to do about an error reply.
fn advice(error: &str) -> Option<&'static str> {
    Some(match error.split(' ').next()? {
        "NOAUTH" => "give the password with --password",
        "WRONGPASS" => "check --password",
        "CLUSTERDOWN" => "the cluster is not up: see `piccolo status` and the log of the node",
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
                .contains("piccolo status")
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
