//! Sequences of keys.

use purlin_core::Rng;

use crate::zipf::Zipf;

/// `n` keys out of `0..universe` by Zipf's law with exponent `s`. Ranks are scattered over the numbers, so
/// that a table does not find the hot ones side by side.
pub fn zipf(n: usize, universe: usize, s: f64, seed: u64) -> Vec<u64> {
    let mut rng = Rng::from_seed(seed);
    let mut names: Vec<u64> = (0..universe as u64).collect();
    rng.shuffle(&mut names);
    let law = Zipf::new(universe, s);
    (0..n).map(|_| names[law.draw(&mut rng)]).collect()
}

/// `n` keys out of `0..universe`, each as likely as another.
pub fn uniform(n: usize, universe: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::from_seed(seed);
    (0..n).map(|_| rng.below(universe as u64)).collect()
}

/// A key of 24 bytes, as services name their things: `user:` and 19 digits.
pub fn text(number: u64) -> String {
    format!("user:{number:019}")
}
