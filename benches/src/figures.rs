//! From runs to the figures that are reported: the best, the median, and ratios to the first
//! contender, of the bests and of the pairs that ran in the same round.

/// Which end of a scale is good.
#[derive(Clone, Copy)]
pub(crate) enum Good {
    Small,
    Large,
}

pub(crate) fn best(values: &[f64], good: Good) -> f64 {
    values.iter().copied().fold(f64::NAN, |a, b| match good {
        Good::Small => a.min(b),
        Good::Large => a.max(b),
    })
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Of the pairs that ran in the same round: the machine's speed changes less within one.
pub(crate) fn ratios(values: &[f64], measure: &[f64]) -> Vec<f64> {
    values.iter().zip(measure).map(|(value, measure)| value / measure).collect()
}

/// `1.04 [0.99–1.10]`: the median, the smallest and the largest.
pub(crate) fn spread(values: &[f64]) -> String {
    let (low, high) = (best(values, Good::Small), best(values, Good::Large));
    format!("{:.2} [{low:.2}–{high:.2}]", median(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn ratios_pair_the_runs_of_one_round() {
        let ratios = ratios(&[2.0, 6.0, 3.0], &[1.0, 2.0, 3.0]);
        assert_eq!(spread(&ratios), "2.00 [1.00–3.00]");
        assert_eq!(best(&[2.0, 1.0], Good::Small), 1.0);
    }
}
