//! Clusters of three that were started here, and that end with their handle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::Bench;
use super::super::ask::Connection;
use super::super::servers::{end_of, free_port};
use crate::run::program;

const NODES: usize = 3;
/// How long a cluster may take until all its nodes serve.
const FORMING: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// How long an answer to a question may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Three nodes that form one cluster.
pub(super) struct Cluster {
    pub(super) name: &'static str,
    /// What the load generator is to speak.
    pub(super) protocol: &'static str,
    pub(super) nodes: Vec<Node>,
}

/// A process; it is killed when its handle is dropped.
pub(super) struct Node {
    /// Where clients connect to.
    pub(super) address: String,
    port: u16,
    child: Child,
    log: PathBuf,
}

impl Cluster {
    /// Piccolo with its defaults but for ports, folders and the number of shards.
    ///
    /// # Errors
    /// It does not form a cluster in time; with the ends of its logs.
    pub(super) fn piccolo(bench: &Bench<'_>, folder: &Path, shards: u32) -> Result<Cluster> {
        let ports = ports()?;
        let hosts: Vec<String> = ports
            .iter()
            .map(|(_, peer)| format!("\"127.0.0.1:{peer}\""))
            .collect();
        let start = |&(port, peer): &(u16, u16)| {
            let home = folder.join(peer.to_string());
            let mut command = program(&bench.piccolo);
            command.arg("start");
            for setting in [
                format!("discovery.hosts=[{}]", hosts.join(",")),
                "discovery.bind_host=127.0.0.1".to_owned(),
                format!("discovery.bind_port={peer}"),
                "redis.bind_host=127.0.0.1".to_owned(),
                format!("redis.bind_port={port}"),
                "node.data_dir=data".to_owned(),
                format!("cluster.shards={shards}"),
                "storage.fsync=always".to_owned(),
            ] {
                command.args(["--set", &setting]);
            }
            Node::start(command, &home, port)
        };
        let cluster = Cluster {
            name: "piccolo",
            protocol: "resp",
            nodes: ports.iter().map(start).collect::<Result<_>>()?,
        };
        cluster.wait(|node| {
            let mut connection = Connection::open(node.port, ANSWER)?;
            Ok(connection.info("piccolo", "cluster_state")? == "ok"
                && connection.info("piccolo", "nodes_alive")? == NODES.to_string())
        })?;
        Ok(cluster)
    }

    /// etcd with its defaults but for names, ports and folders.
    ///
    /// # Errors
    /// It does not form a cluster in time; with the ends of its logs.
    pub(super) fn etcd(folder: &Path) -> Result<Cluster> {
        let ports = ports()?;
        let members: Vec<String> = ports
            .iter()
            .map(|(_, peer)| format!("n{peer}=http://127.0.0.1:{peer}"))
            .collect();
        let start = |&(port, peer): &(u16, u16)| {
            let home = folder.join(peer.to_string());
            let mut command = program("etcd");
            let (client_url, peer_url) = (
                format!("http://127.0.0.1:{port}"),
                format!("http://127.0.0.1:{peer}"),
            );
            command
                .args(["--name", &format!("n{peer}"), "--data-dir", "data"])
                .args([
                    "--listen-client-urls",
                    &client_url,
                    "--advertise-client-urls",
                    &client_url,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer_url,
                    "--initial-advertise-peer-urls",
                    &peer_url,
                ])
                .args([
                    "--initial-cluster",
                    &members.join(","),
                    "--initial-cluster-state",
                    "new",
                ]);
            Node::start(command, &home, port)
        };
        let cluster = Cluster {
            name: "etcd",
            protocol: "etcd",
            nodes: ports.iter().map(start).collect::<Result<_>>()?,
        };
        cluster.wait(|node| Ok(http_get(node.port, "/health")?.contains("\"health\":\"true\"")))?;
        Ok(cluster)
    }

    /// Waits until it holds for each node. What a node that starts cannot answer yet is no error.
    fn wait(&self, holds: impl Fn(&Node) -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        for node in &self.nodes {
            loop {
                let look = holds(node);
                if matches!(look, Ok(true)) {
                    break;
                }
                if start.elapsed() > FORMING {
                    let last = look
                        .err()
                        .map_or(String::new(), |error| format!(": {error:#}"));
                    bail!(
                        "{} does not form a cluster in {} s{last}\n{}",
                        self.name,
                        FORMING.as_secs(),
                        self.logs()
                    );
                }
                thread::sleep(BETWEEN_LOOKS);
            }
        }
        Ok(())
    }

    /// CPU time of each node so far.
    pub(super) fn cpu_seconds(&self) -> Result<Vec<f64>> {
        self.nodes.iter().map(Node::cpu_seconds).collect()
    }

    /// How the logs end.
    pub(super) fn logs(&self) -> String {
        let ends: Vec<String> = self
            .nodes
            .iter()
            .map(|node| {
                format!(
                    "--- the log of {} ends so:\n{}",
                    node.address,
                    end_of(&node.log)
                )
            })
            .collect();
        ends.join("\n")
    }
}

impl Node {
    fn start(mut command: Command, home: &Path, port: u16) -> Result<Node> {
        fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        let log = home.join("server.log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .current_dir(home)
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
        Ok(Node {
            address: format!("127.0.0.1:{port}"),
            port,
            child,
            log,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // proc(5): fields 14 and 15, after a name in parentheses that may hold anything.
        let ticks = stat.rsplit_once(')').and_then(|(_, fields)| {
            let mut fields = fields.split_ascii_whitespace().skip(11);
            let user: u64 = fields.next()?.parse().ok()?;
            let system: u64 = fields.next()?.parse().ok()?;
            Some(user + system)
        });
        let ticks = ticks.with_context(|| format!("{path} has another form than expected"))?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both are fine on a child that has ended already.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("process {} cannot be ended: {error}", self.child.id());
        }
    }
}

/// A port for clients and one for peers, for each node.
fn ports() -> Result<Vec<(u16, u16)>> {
    (0..NODES)
        .map(|_| Ok((free_port()?, free_port()?)))
        .collect()
}

/// The answer to a GET over HTTP/1.0, head and all.
fn http_get(port: u16, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let mut stream = std::net::TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
