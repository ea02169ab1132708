//! The city's own traffic, for when no trace is given: a shop in miniature.
//!
//! Users and products are chosen by Zipf's law. A visit looks at some products, puts some into the cart and
//! sometimes buys; one request in twenty is a crawler's, which walks the whole catalogue in order and is what
//! a cache dislikes most. The rate goes up and down like a day that lasts a minute.

use std::f64::consts::TAU;
use std::num::NonZeroUsize;
use std::time::Duration;

use purlin_core::Rng;
use workloads::zipf::Zipf;

use crate::traffic::{Action, Step, Traffic};

const USERS: usize = 10_000;
const PRODUCTS: usize = 50_000;

/// One request in this many is the crawler's.
const CRAWLER: u64 = 20;

/// Length of the shop's day.
const DAY: Duration = Duration::from_secs(60);

/// How far the rate goes above and below its average within a day.
const TIDE: f64 = 0.5;

/// Seeded shop traffic without an end.
#[derive(Debug)]
pub struct Shop {
    rng: Rng,
    users: Zipf,
    products: Zipf,
    lanes: Vec<Visit>,
    next_lane: usize,
    /// Where the crawler is.
    crawled: u32,
}

/// One user's visit.
#[derive(Clone, Debug, Default)]
struct Visit {
    user: u32,
    looks_left: u64,
    in_cart: u32,
}

impl Shop {
    /// The traffic of a seed, in so many lanes: the same seed, the same steps.
    pub fn new(seed: u64, lanes: NonZeroUsize) -> Self {
        Shop {
            rng: Rng::from_seed(seed),
            users: Zipf::new(USERS, 1.0),
            products: Zipf::new(PRODUCTS, 1.0),
            lanes: vec![Visit::default(); lanes.get()],
            next_lane: 0,
            crawled: 0,
        }
    }

    fn crawl(&mut self) -> Step {
        let product = self.crawled;
        self.crawled = (self.crawled + 1) % PRODUCTS as u32;
        Step {
            user: None,
            product,
            action: Action::View,
        }
    }
}

impl Traffic for Shop {
    fn next_step(&mut self) -> Option<Step> {
        if self.rng.below(CRAWLER) == 0 {
            return Some(self.crawl());
        }
        let n_lanes = self.lanes.len();
        let lane = &mut self.lanes[self.next_lane];
        self.next_lane = (self.next_lane + 1) % n_lanes;
        if lane.looks_left == 0 {
            *lane = Visit {
                user: self.users.draw(&mut self.rng) as u32,
                looks_left: self.rng.in_range(3..12),
                in_cart: 0,
            };
        }
        lane.looks_left -= 1;
        let buys = lane.looks_left == 0 && lane.in_cart > 0 && self.rng.chance(0.8);
        let action = if buys {
            Action::CheckOut
        } else if self.rng.chance(0.25) {
            lane.in_cart += 1;
            Action::AddToCart
        } else {
            Action::View
        };
        Some(Step {
            user: Some(lane.user),
            product: self.products.draw(&mut self.rng) as u32,
            action,
        })
    }

    /// Lowest at the start of the day, so that a run warms up before its peak.
    fn pace(&self, since_start: Duration) -> f64 {
        1.0 - TIDE * (TAU * since_start.as_secs_f64() / DAY.as_secs_f64()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: NonZeroUsize = NonZeroUsize::new(512).unwrap();

    fn steps(seed: u64, n: usize) -> Vec<Step> {
        let mut shop = Shop::new(seed, LANES);
        std::iter::from_fn(|| shop.next_step()).take(n).collect()
    }

    #[test]
    fn a_seed_is_a_run() {
        assert_eq!(steps(7, 5_000), steps(7, 5_000));
        assert_ne!(steps(7, 5_000), steps(8, 5_000));
    }

    #[test]
    fn everything_a_shop_does_happens() {
        let steps = steps(1, 50_000);
        let share = |wanted: fn(&Step) -> bool| {
            steps.iter().filter(|step| wanted(step)).count() as f64 / steps.len() as f64
        };
        let crawler = share(|step| step.user.is_none());
        let carts = share(|step| step.action == Action::AddToCart);
        let sales = share(|step| step.action == Action::CheckOut);
        assert!((0.04..0.06).contains(&crawler), "{crawler}");
        assert!((0.15..0.30).contains(&carts), "{carts}");
        assert!((0.05..0.15).contains(&sales), "{sales}");
    }

    #[test]
    fn a_day_averages_out() {
        let shop = Shop::new(1, LANES);
        let day = 600;
        let sum: f64 = (0..day)
            .map(|i| shop.pace(DAY * i / day))
            .inspect(|&pace| assert!(pace > 0.0))
            .sum();
        assert!((sum / f64::from(day) - 1.0).abs() < 0.01);
    }
}
