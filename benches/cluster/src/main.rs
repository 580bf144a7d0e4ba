//! Drives a cluster with load: N clients, each with one operation under way, on keys at random.
//!
//! The same loop serves Piccolo over RESP and etcd over gRPC, so that what the generator costs is much the same
//! for both; it tells its own CPU time. A run is: connect, fill if asked to, warm up, measure, print one JSON object.
//! The CPU time of the servers is read from `/proc` at the very ends of the measured time.
//!
//! - [`args`]: the command line. [`keys`]: keys and values. [`tally`]: counts and figures.
//! - [`resp`], [`etcd`]: one connection of each kind, with `put` and `get`.

mod args;
mod etcd;
mod keys;
mod process;
mod resp;
mod tally;

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::{JoinSet, LocalSet};

use crate::args::{Args, Op, Protocol};
use crate::keys::{Keys, Random};
use crate::tally::Tally;

/// How many operations are under way during the fill, which is not measured.
const FILL_CLIENTS: usize = 256;
/// How long a round runs before it counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// An operation that takes longer ends the run: the cluster hangs, and its figures would say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let args = match Args::parse(&words) {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("cluster-bench: {problem}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(&args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A client of either kind.
enum Client {
    Resp(resp::Client),
    Etcd(etcd::Client),
}

/// What became of an operation that the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// The key of a `get` is not there.
    Missing,
    /// The server refused, in its own words.
    Refused(String),
}

impl Client {
    async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Answer> {
        match self {
            Client::Resp(client) => client.put(key, value).await,
            Client::Etcd(client) => client.put(key, value).await,
        }
    }

    async fn get(&mut self, key: &[u8]) -> Result<Answer> {
        match self {
            Client::Resp(client) => client.get(key).await,
            Client::Etcd(client) => client.get(key).await,
        }
    }
}

/// Clients, spread evenly over the addresses. With etcd, `--connections` of them are shared by all clients of one
/// address; with RESP, each client has its own.
async fn connect(args: &Args, clients: usize) -> Result<Vec<Client>> {
    let mut connected = Vec::with_capacity(clients);
    match args.protocol {
        Protocol::Resp => {
            for number in 0..clients {
                let address = &args.addresses[number % args.addresses.len()];
                let client = resp::Client::connect(address).await;
                connected.push(Client::Resp(
                    client.with_context(|| format!("connecting to {address}"))?,
                ));
            }
        }
        Protocol::Etcd => {
            let mut connections = Vec::new();
            for number in 0..(args.connections * args.addresses.len()).min(clients) {
                let address = &args.addresses[number % args.addresses.len()];
                let client = etcd::Client::connect(address).await;
                connections.push(client.with_context(|| format!("connecting to {address}"))?);
            }
            for number in 0..clients {
                connected.push(Client::Etcd(
                    connections[number % connections.len()].clone(),
                ));
            }
        }
    }
    Ok(connected)
}

async fn run(args: &Args) -> Result<()> {
    let keys = Keys::new(args.keys, args.key_size);
    let value: Rc<[u8]> = keys::value(args.value_size).into();
    if args.fill {
        fill(args, keys, &value).await.context("the fill")?;
    }
    let clients = connect(args, args.clients).await?;
    let tally = Rc::new(RefCell::new(Tally::new()));
    let stop = Rc::new(Cell::new(false));
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let random = Random::new(args.seed.wrapping_add(number as u64));
        let (value, tally, stop) = (Rc::clone(&value), Rc::clone(&tally), Rc::clone(&stop));
        let op = args.op;
        tasks.spawn_local(
            async move { load(client, op, keys, random, &value, &tally, &stop).await },
        );
    }
    let warm_up = WARM_UP.min(Duration::from_secs_f64(args.seconds / 4.0));
    unless_one_fails(&mut tasks, warm_up).await?;
    tally.replace(Tally::new());
    let before = process::cpu(&args.pids)?;
    let own_before = process::own_cpu();
    let start = Instant::now();
    unless_one_fails(&mut tasks, Duration::from_secs_f64(args.seconds)).await?;
    let elapsed = start.elapsed();
    let server_cpu = process::cpu(&args.pids)?.saturating_sub(before);
    let own_cpu = process::own_cpu().saturating_sub(own_before);
    let measured = tally.replace(Tally::new());
    stop.set(true);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    println!("{}", measured.json(elapsed, server_cpu, own_cpu));
    Ok(())
}

/// Waits so long, while nothing fails.
async fn unless_one_fails(tasks: &mut JoinSet<Result<()>>, time: Duration) -> Result<()> {
    match tokio::time::timeout(time, tasks.join_next()).await {
        Err(_elapsed) => Ok(()),
        Ok(Some(ended)) => {
            ended??;
            bail!("a client ended before it was told to")
        }
        Ok(None) => bail!("there are no clients"),
    }
}

/// One client: an operation after the other.
async fn load(
    mut client: Client,
    op: Op,
    keys: Keys,
    mut random: Random,
    value: &[u8],
    tally: &RefCell<Tally>,
    stop: &Cell<bool>,
) -> Result<()> {
    let mut key = keys.first();
    while !stop.get() {
        keys.write(random.below(keys.count()), &mut key);
        let start = Instant::now();
        let operation = async {
            match op {
                Op::Put => client.put(&key, value).await,
                Op::Get => client.get(&key).await,
            }
        };
        let answer = tokio::time::timeout(PATIENCE, operation)
            .await
            .with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))??;
        tally.borrow_mut().add(answer, start.elapsed());
    }
    Ok(())
}

/// Writes each key once.
async fn fill(args: &Args, keys: Keys, value: &Rc<[u8]>) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut tasks = JoinSet::new();
    for mut client in connect(args, FILL_CLIENTS).await? {
        let (next, value) = (Rc::clone(&next), Rc::clone(value));
        tasks.spawn_local(async move {
            let mut key = keys.first();
            loop {
                let number = next.get();
                if number == keys.count() {
                    return Ok(());
                }
                next.set(number + 1);
                keys.write(number, &mut key);
                let put = tokio::time::timeout(PATIENCE, client.put(&key, &value));
                match put
                    .await
                    .with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))??
                {
                    Answer::Done => {}
                    other => bail!("key {number}: {other:?}"),
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
