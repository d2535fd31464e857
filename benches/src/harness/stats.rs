//! Medians and quartiles.

/// The middle of a set of figures and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// A quarter of the figures lie below this.
    pub low: f64,
    /// Half of the figures lie below this.
    pub median: f64,
    /// Three quarters of the figures lie below this.
    pub high: f64,
}

impl Summary {
    /// Of `figures`; none when there are none.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share);
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }

    /// Of the ratios `ours[i] / theirs[i]`: figures taken in the same round are divided, nothing else.
    #[must_use]
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::of(
            ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0).map(|(ours, theirs)| ours / theirs),
        )
    }
}

/// Linear between the two nearest figures of a sorted, non-empty slice.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_figures() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(summary, Summary { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(Summary::of([7.0]).unwrap().high, 7.0);
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn ratios_pair_by_round() {
        // The machine got twice as fast from one round to the next; the ratio must not notice.
        let summary = Summary::of_ratios(&[110.0, 220.0], &[100.0, 200.0]).unwrap();
        assert!((summary.median - 1.1).abs() < 1e-12 && (summary.high - summary.low).abs() < 1e-12);
    }
}
