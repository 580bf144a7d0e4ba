//! Random calls of every command with every option: few keys and values that lie at the edges, so
//! that calls meet. The same seed gives the same calls.

mod generated;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The commands on strings, keys and databases, the ones that change things more often. All others, and these
/// once more, are called as their records say.
const NAMES: &[&str] = &[
    "GET",
    "SET",
    "SET",
    "SET",
    "SET",
    "SETNX",
    "SETEX",
    "PSETEX",
    "GETEX",
    "GETDEL",
    "GETSET",
    "MGET",
    "MSET",
    "MSET",
    "MSETNX",
    "APPEND",
    "APPEND",
    "STRLEN",
    "GETRANGE",
    "SUBSTR",
    "SETRANGE",
    "SETRANGE",
    "INCR",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "INCRBYFLOAT",
    "INCRBYFLOAT",
    "LCS",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TOUCH",
    "TYPE",
    "RENAME",
    "RENAMENX",
    "COPY",
    "COPY",
    "MOVE",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "EXPIREAT",
    "PEXPIREAT",
    "PEXPIREAT",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "PERSIST",
    "SCAN",
    "KEYS",
    "RANDOMKEY",
    "OBJECT",
    "OBJECT",
    "DBSIZE",
    "SELECT",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "42",
    "100",
    "9999",
    "10000",
    "-5",
    "2147483647",
    "2147483648",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
];

const NOT_INTEGERS: &[&str] = &[
    "", "x", "+1", "01", "-0", " 1", "1 ", "1.0", "1e3", "0x10", "--1",
];

const FLOATS: &[&str] = &[
    "0.1",
    "0.2",
    "-0.3",
    "1.5",
    "3.14159265358979323846",
    "1e3",
    "1E-5",
    "-1e10",
    "0x1.8p1",
    "1e-17",
    "5e-18",
    "1e18",
    "18446744073709551617",
    "123456789.123456789",
    "-0.0",
    ".5",
    "5.",
    "1e-4940",
    "1e300",
    "inf",
    "nan",
    "1e5000",
    "1e",
    "-inf",
];

/// Moments so far from now and from each other that a second more or less orders none of them anew.
const MOMENTS: &[i64] = &[
    i64::MIN,
    i64::MIN / 1000,
    -1,
    0,
    1,
    1000,
    1_000_000,
    9_999_990_000,
    9_999_990_001,
    9_999_995_000,
    99_999_900_000,
    9_999_990_000_000,
    9_999_990_000_500,
    9_999_995_000_499,
    9_999_995_000_500,
    9_223_372_036_854_775,
    9_223_372_036_854_776,
    9_223_372_036_854_775_000,
];

const SPANS: &[i64] = &[
    i64::MIN,
    -1000,
    -1,
    0,
    100_000,
    200_000,
    300_000,
    400_000,
    9_000_000_000_000_000,
    9_223_372_036_854_776,
    i64::MAX,
];

const PATTERNS: &[&str] = &[
    "*", "k*", "*1", "k?", "k[0-2]", "k[^0-2]", "[k", "k\\1", "k1", "", "**", "?*[0-3]",
];

/// An endless supply of calls.
pub(crate) struct RandomCalls {
    pub(crate) random: Random,
}

impl RandomCalls {
    pub(crate) fn new(seed: u64) -> RandomCalls {
        RandomCalls {
            random: Random::new(seed),
        }
    }

    pub(crate) fn next(&mut self) -> Vec<Vec<u8>> {
        let name = if self.random.one_in(300) {
            self.random.pick(&["FLUSHDB", "FLUSHALL"])
        } else {
            self.random.pick(NAMES)
        };
        let mut args = vec![self.any_case(name)];
        self.arguments(name, &mut args);
        // Now and then one argument too many or too few; SELECT is not a command of this crate.
        let slip = if name == "SELECT" {
            0
        } else {
            self.random.below(30)
        };
        if slip == 1 {
            args.push(self.value());
        } else if slip == 2 && args.len() > 1 {
            args.pop();
        }
        args
    }

    fn arguments(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "GET" | "STRLEN" | "INCR" | "DECR" | "GETDEL" | "TYPE" | "TTL" | "PTTL"
            | "EXPIRETIME" | "PEXPIRETIME" | "PERSIST" => args.push(self.key()),
            "SET" => {
                args.extend([self.key(), self.value()]);
                self.options(args, &["NX", "XX", "GET", "GET", "KEEPTTL", "PERSIST"], 2);
                if self.random.one_in(3) {
                    self.expiry_option(args);
                }
            }
            "GETEX" => {
                args.push(self.key());
                self.options(args, &["PERSIST", "PERSIST", "PERSIST", "KEEPTTL", "NX"], 4);
                if self.random.one_in(2) {
                    self.expiry_option(args);
                }
            }
            "SETNX" | "GETSET" | "APPEND" => args.extend([self.key(), self.value()]),
            "SETEX" | "PSETEX" => args.extend([self.key(), self.span(), self.value()]),
            "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => {
                for _ in 0..=self.random.below(3) {
                    args.push(self.key());
                }
            }
            "MSET" | "MSETNX" => {
                for _ in 0..=self.random.below(3) {
                    args.extend([self.key(), self.value()]);
                }
            }
            "GETRANGE" | "SUBSTR" => args.extend([self.key(), self.offset(), self.offset()]),
            "SETRANGE" => args.extend([self.key(), self.offset(), self.value()]),
            "INCRBY" | "DECRBY" => args.extend([self.key(), self.integer()]),
            "INCRBYFLOAT" => args.extend([self.key(), self.float()]),
            "LCS" => {
                args.extend([self.key(), self.key()]);
                self.options(
                    args,
                    &["LEN", "IDX", "IDX", "WITHMATCHLEN", "MINMATCHLEN"],
                    2,
                );
                if self.random.one_in(4) {
                    args.extend([b"MINMATCHLEN".to_vec(), self.offset()]);
                }
            }
            "RENAME" | "RENAMENX" => args.extend([self.key(), self.key()]),
            "COPY" => {
                args.extend([self.key(), self.key()]);
                self.options(args, &["REPLACE"], 3);
                if self.random.one_in(3) {
                    args.extend([self.any_case("DB"), self.database()]);
                }
            }
            "MOVE" => args.extend([self.key(), self.database()]),
            "EXPIRE" | "PEXPIRE" => {
                args.extend([self.key(), self.span()]);
                self.options(args, &["NX", "XX"], 3);
            }
            "EXPIREAT" | "PEXPIREAT" => {
                args.extend([self.key(), self.moment()]);
                self.options(args, &["NX", "XX", "GT", "LT", "GT", "LT", "ZZ"], 2);
            }
            "SCAN" => {
                args.extend([b"0".to_vec(), b"COUNT".to_vec(), b"1000000".to_vec()]);
                if self.random.one_in(2) {
                    args.extend([self.any_case("MATCH"), self.pattern()]);
                }
                if self.random.one_in(3) {
                    let kind = self.random.pick(&["string", "STRING", "list", "nonsense"]);
                    args.extend([self.any_case("TYPE"), kind.into()]);
                }
            }
            "KEYS" => args.push(self.pattern()),
            "OBJECT" => {
                let name = self
                    .random
                    .pick(&["ENCODING", "ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "NO"]);
                args.extend([self.any_case(name), self.key()]);
            }
            "SELECT" => args.push(self.random.pick(&["0", "0", "1", "2"]).into()),
            "FLUSHDB" | "FLUSHALL" => self.options(args, &["ASYNC", "SYNC", "NOW"], 4),
            _ => {}
        }
    }

    fn any_case(&mut self, word: &str) -> Vec<u8> {
        let lower = self.random.one_in(4);
        let bytes = word.bytes().map(|byte| {
            if lower {
                byte.to_ascii_lowercase()
            } else {
                byte
            }
        });
        bytes.collect()
    }

    /// None, one or several of the options.
    fn options(&mut self, args: &mut Vec<Vec<u8>>, of: &[&str], rare: usize) {
        while self.random.one_in(rare) {
            let option = self.random.pick(of);
            args.push(self.any_case(option));
        }
    }

    fn expiry_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let option = self.random.pick(&["EX", "PX", "EXAT", "PXAT"]);
        args.push(self.any_case(option));
        args.push(if option.len() == 2 {
            self.span()
        } else {
            self.moment()
        });
    }

    fn key(&mut self) -> Vec<u8> {
        format!("k{}", self.random.below(6)).into_bytes()
    }

    fn integer(&mut self) -> Vec<u8> {
        let of = if self.random.one_in(8) {
            NOT_INTEGERS
        } else {
            INTEGERS
        };
        self.random.pick(of).into()
    }

    fn float(&mut self) -> Vec<u8> {
        match self.random.below(4) {
            0 => self.integer(),
            1 => {
                let digits = self.random.next() >> self.random.below(64);
                let exponent = self.random.below(60) as i64 - 40;
                let sign = self.random.pick(&["", "-"]);
                format!("{sign}{digits}e{exponent}").into_bytes()
            }
            _ => self.random.pick(FLOATS).into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(4) {
            0 => self.integer(),
            1 => self.float(),
            2 => {
                let length = self.random.pick(&[0, 1, 3, 19, 20, 21, 43, 44, 45, 60]);
                (0..length)
                    .map(|_| b'a' + self.random.below(4) as u8)
                    .collect()
            }
            _ => (0..self.random.below(12))
                .map(|_| self.random.next() as u8)
                .collect(),
        }
    }

    fn offset(&mut self) -> Vec<u8> {
        if self.random.one_in(8) {
            return self.integer();
        }
        (self.random.below(60) as i64 - 20).to_string().into_bytes()
    }

    fn database(&mut self) -> Vec<u8> {
        self.random
            .pick(&[
                "0",
                "1",
                "2",
                "0",
                "1",
                "2",
                "15",
                "16",
                "-1",
                "x",
                "2147483648",
            ])
            .into()
    }

    fn moment(&mut self) -> Vec<u8> {
        self.time(MOMENTS)
    }

    fn span(&mut self) -> Vec<u8> {
        self.time(SPANS)
    }

    fn time(&mut self, of: &[i64]) -> Vec<u8> {
        if self.random.one_in(15) {
            return self.random.pick(NOT_INTEGERS).into();
        }
        self.random.pick(of).to_string().into_bytes()
    }

    fn pattern(&mut self) -> Vec<u8> {
        self.random.pick(PATTERNS).into()
    }
}
