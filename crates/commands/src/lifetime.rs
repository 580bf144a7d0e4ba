//! The options of SET and GETEX, and moments of expiry.

use base::Timestamp;

use crate::Reply;
use crate::argument::{SYNTAX, integer, is};

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds from now: `EX`.
    Seconds,
    /// Milliseconds from now: `PX`.
    Millis,
    /// Seconds since 1970: `EXAT`.
    UnixSeconds,
    /// Milliseconds since 1970: `PXAT`.
    UnixMillis,
}

impl Unit {
    pub(crate) const fn in_seconds(self) -> bool {
        matches!(self, Unit::Seconds | Unit::UnixSeconds)
    }

    pub(crate) const fn is_relative(self) -> bool {
        matches!(self, Unit::Seconds | Unit::Millis)
    }

    fn of_option(arg: &[u8]) -> Option<Unit> {
        let units = [
            Unit::Seconds,
            Unit::Millis,
            Unit::UnixSeconds,
            Unit::UnixMillis,
        ];
        ["EX", "PX", "EXAT", "PXAT"]
            .iter()
            .zip(units)
            .find(|(word, _)| is(arg, word))
            .map(|(_, unit)| unit)
    }
}

/// When a key is to expire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetime<'a> {
    /// As it was: `KEEPTTL`.
    Keep,
    /// Never: `PERSIST`.
    Persist,
    /// After or at a time that is still to be read.
    Until(Unit, &'a [u8]),
}

/// Whether the key may or must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// `NX`
    Absent,
    /// `XX`
    Present,
}

/// The options of SET.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SetOptions<'a> {
    pub(crate) condition: Option<Condition>,
    pub(crate) get: bool,
    pub(crate) lifetime: Option<Lifetime<'a>>,
}

impl<'a> SetOptions<'a> {
    /// Reads what follows key and value.
    pub(crate) fn parse(args: &[&'a [u8]]) -> Result<SetOptions<'a>, Reply<'static>> {
        let mut options = SetOptions::default();
        let mut rest = args;
        while let [arg, tail @ ..] = rest {
            rest = tail;
            let condition = if is(arg, "NX") {
                Some(Condition::Absent)
            } else if is(arg, "XX") {
                Some(Condition::Present)
            } else {
                None
            };
            if condition.is_some() {
                if options
                    .condition
                    .is_some_and(|other| Some(other) != condition)
                {
                    return Err(SYNTAX);
                }
                options.condition = condition;
            } else if is(arg, "GET") {
                options.get = true;
            } else {
                Lifetime::parse(
                    &mut options.lifetime,
                    arg,
                    &mut rest,
                    "KEEPTTL",
                    Lifetime::Keep,
                )?;
            }
        }
        Ok(options)
    }
}

impl<'a> Lifetime<'a> {
    /// Reads what follows the key of GETEX.
    pub(crate) fn of_getex(args: &[&'a [u8]]) -> Result<Option<Lifetime<'a>>, Reply<'static>> {
        let mut lifetime = None;
        let mut rest = args;
        while let [arg, tail @ ..] = rest {
            rest = tail;
            Lifetime::parse(&mut lifetime, arg, &mut rest, "PERSIST", Lifetime::Persist)?;
        }
        Ok(lifetime)
    }

    /// Reads one option, and from `rest` its value. The same one may come again, and the last one
    /// counts; different ones exclude each other.
    fn parse(
        lifetime: &mut Option<Lifetime<'a>>,
        arg: &'a [u8],
        rest: &mut &[&'a [u8]],
        word: &str,
        meaning: Lifetime<'a>,
    ) -> Result<(), Reply<'static>> {
        let parsed = if is(arg, word) {
            meaning
        } else {
            let unit = Unit::of_option(arg).ok_or(SYNTAX)?;
            let (value, tail) = rest.split_first().ok_or(SYNTAX)?;
            *rest = tail;
            Lifetime::Until(unit, value)
        };
        let same_kind = match (*lifetime, parsed) {
            (None, _) | (Some(Lifetime::Keep), Lifetime::Keep) => true,
            (Some(Lifetime::Persist), Lifetime::Persist) => true,
            (Some(Lifetime::Until(before, _)), Lifetime::Until(unit, _)) => before == unit,
            _ => false,
        };
        if !same_kind {
            return Err(SYNTAX);
        }
        *lifetime = Some(parsed);
        Ok(())
    }
}

/// The moment of expiry that SET and its kin are given; it must be positive.
pub(crate) fn positive_expiry(
    unit: Unit,
    arg: &[u8],
    stamp: Timestamp,
    command: &str,
) -> Result<Timestamp, Reply<'static>> {
    let time = integer(arg)?;
    let refusal = || invalid_expire_time(command);
    if time <= 0 {
        return Err(refusal());
    }
    let at = absolute(unit, time, stamp).ok_or_else(refusal)?;
    Ok(Timestamp::from_millis(at.unsigned_abs()))
}

/// Milliseconds since 1970, which may be negative; none where 64 bits cannot hold them.
pub(crate) fn absolute(unit: Unit, time: i64, stamp: Timestamp) -> Option<i64> {
    let millis = if unit.in_seconds() {
        time.checked_mul(1000)?
    } else {
        time
    };
    if unit.is_relative() {
        millis.checked_add(i64::try_from(stamp.millis()).ok()?)
    } else {
        Some(millis)
    }
}

/// The refusal of an expiry that is not positive or does not fit.
pub(crate) fn invalid_expire_time(command: &str) -> Reply<'static> {
    Reply::error(format_args!(
        "ERR invalid expire time in '{command}' command"
    ))
}
