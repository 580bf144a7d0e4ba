//! The command line.

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Get,
}

/// Whom to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Resp,
    Etcd,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) protocol: Protocol,
    pub(crate) addresses: Vec<String>,
    pub(crate) op: Op,
    pub(crate) clients: usize,
    /// With etcd: HTTP/2 connections to each address.
    pub(crate) connections: usize,
    pub(crate) keys: u64,
    pub(crate) key_size: usize,
    pub(crate) value_size: usize,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) fill: bool,
    /// The processes of the servers, whose CPU time is told.
    pub(crate) pids: Vec<u32>,
}

pub(crate) const USAGE: &str = "\
cluster-bench --protocol resp|etcd --op put|get --address HOST:PORT [--address ...]
  --clients N       how many, each with one operation under way [default: 64]
  --connections N   etcd: HTTP/2 connections to each address [default: 1]
  --keys N          how many keys to choose from [default: 20000]
  --key-size B      [default: 64]
  --value-size B    [default: 64]
  --seconds S       how long it is measured, after a warm-up [default: 3]
  --seed N          of the choice of keys [default: 1]
  --fill            write each key once before
  --pid N           a server's process, whose CPU time is counted; as often as wanted";

impl Args {
    /// Reads the words after the name of the program.
    ///
    /// # Errors
    /// What is wrong, for the one who wrote it.
    pub(crate) fn parse(words: &[String]) -> Result<Args, String> {
        let mut args = Args {
            protocol: Protocol::Resp,
            addresses: Vec::new(),
            op: Op::Put,
            clients: 64,
            connections: 1,
            keys: 20_000,
            key_size: 64,
            value_size: 64,
            seconds: 3.0,
            seed: 1,
            fill: false,
            pids: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(name) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| format!("{name} lacks its value"))
            };
            match name.as_str() {
                "--protocol" => {
                    args.protocol = match value()?.as_str() {
                        "resp" => Protocol::Resp,
                        "etcd" => Protocol::Etcd,
                        other => return Err(format!("--protocol is resp or etcd, not `{other}`")),
                    };
                }
                "--op" => {
                    args.op = match value()?.as_str() {
                        "put" => Op::Put,
                        "get" => Op::Get,
                        other => return Err(format!("--op is put or get, not `{other}`")),
                    };
                }
                "--address" => args.addresses.push(value()?.clone()),
                "--clients" => args.clients = number(name, value()?)?,
                "--connections" => args.connections = number(name, value()?)?,
                "--keys" => args.keys = number(name, value()?)?,
                "--key-size" => args.key_size = number(name, value()?)?,
                "--value-size" => args.value_size = number(name, value()?)?,
                "--seconds" => args.seconds = number(name, value()?)?,
                "--seed" => args.seed = number(name, value()?)?,
                "--fill" => args.fill = true,
                "--pid" => args.pids.push(number(name, value()?)?),
                other => return Err(format!("`{other}` is no option")),
            }
        }
        if args.addresses.is_empty() {
            return Err("no --address was given".to_owned());
        }
        if args.clients == 0 || args.connections == 0 || args.keys == 0 {
            return Err("--clients, --connections and --keys are at least 1".to_owned());
        }
        if !(0.01..=86_400.0).contains(&args.seconds) {
            return Err("--seconds is from 0.01 to 86400".to_owned());
        }
        let most = 1 << 20;
        if !(crate::keys::DIGITS..=most).contains(&args.key_size) || args.value_size > most {
            return Err(format!(
                "--key-size is from {} to {most}, --value-size at most {most}",
                crate::keys::DIGITS
            ));
        }
        Ok(args)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name} is a number, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Args::parse(&words)
    }

    #[test]
    fn options_are_read_and_nonsense_is_told() {
        let args =
            parse("--protocol etcd --op get --address a:1 --address b:2 --pid 7 --fill").unwrap();
        assert_eq!((args.protocol, args.op), (Protocol::Etcd, Op::Get));
        assert_eq!(args.addresses, ["a:1", "b:2"]);
        assert!(args.fill && args.pids == [7]);
        for (line, told) in [
            ("--op get", "--address"),
            ("--address a:1 --op delete", "`delete`"),
            ("--address a:1 --keys 0", "at least 1"),
            ("--address a:1 --seconds NaN", "--seconds"),
            ("--address a:1 --fast", "`--fast`"),
            ("--address", "lacks"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(told), "{line}: {problem}");
        }
    }
}
