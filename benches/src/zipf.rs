//! Zipf's law: the thing of rank `r` is asked for in proportion to `1 / r^s`.

use purlin_core::Rng;

/// A choice of `n` things by Zipf's law.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// The running sum of the weights.
    sums: Vec<f64>,
}

impl Zipf {
    /// The law over the ranks `0..n` with exponent `s`; about 1 for most real traffic.
    ///
    /// # Panics
    ///
    /// For `n` of 0: there is nothing to choose.
    pub fn new(n: usize, s: f64) -> Self {
        assert!(n > 0, "a choice among nothing");
        let weights = (1..=n).map(|rank| (rank as f64).powf(-s));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf {
            sums: sums.collect(),
        }
    }

    /// A rank, from 0 for the most wanted. Costs a binary search.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let last = self.sums.len() - 1;
        let point = rng.unit() * self.sums[last];
        self.sums.partition_point(|&sum| sum <= point).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_twice_as_often_as_the_second() {
        let (zipf, mut rng) = (Zipf::new(100, 1.0), Rng::from_seed(3));
        let mut counts = [0u32; 100];
        for _ in 0..100_000 {
            counts[zipf.draw(&mut rng)] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|&count| count > 0));
    }
}
