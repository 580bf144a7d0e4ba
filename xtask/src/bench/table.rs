//! Medians, and how figures stand in the cells of a Markdown table.

/// The middle value, or the mean of the two middle ones; none of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(match sorted.len() % 2 {
        0 => (sorted[sorted.len() / 2 - 1] + upper) / 2.0,
        _ => upper,
    })
}

/// What a ratio is held to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Target {
    /// Three cells: the ratio, the target, and whether it is reached. The ratio is the median of `ratios`, with the
    /// least and the greatest of them where there is more than one.
    pub(super) fn cells(self, ratios: &[f64]) -> String {
        self.cells_of(ratios, 2)
    }

    /// The same with so many decimals.
    pub(super) fn cells_of(self, ratios: &[f64], decimals: usize) -> String {
        let Some(ratio) = median(ratios) else {
            return format!("? | {self} | not measured");
        };
        let reached = match self {
            Target::AtLeast(bound) => ratio >= bound,
            Target::AtMost(bound) => ratio <= bound,
            Target::Below(bound) => ratio < bound,
        };
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let spread = match ratios.len() {
            1 => String::new(),
            _ => format!(" ({least:.decimals$} to {greatest:.decimals$})"),
        };
        let reached = if reached { "yes" } else { "**no**" };
        format!("{ratio:.decimals$}{spread} | {self} | {reached}")
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::AtLeast(bound) => write!(f, "at least {bound}"),
            Target::AtMost(bound) => write!(f, "at most {bound}"),
            Target::Below(bound) => write!(f, "below {bound}"),
        }
    }
}

/// A whole number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_target_is_reached_or_not() {
        let cells = Target::AtLeast(1.2).cells(&[1.3, 1.1, 1.25]);
        assert_eq!(cells, "1.25 (1.10 to 1.30) | at least 1.2 | yes");
        assert_eq!(
            Target::AtMost(0.5).cells(&[0.51]),
            "0.51 | at most 0.5 | **no**"
        );
        assert_eq!(Target::Below(1.0).cells(&[1.0]), "1.00 | below 1 | **no**");
        assert_eq!(Target::Below(1.0).cells(&[]), "? | below 1 | not measured");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
