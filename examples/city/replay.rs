//! An access trace as the city's traffic.
//!
//! A trace is a list of bare ids: it says what was asked for, and neither by whom nor why. The city reads it
//! like this, and every key of a run is one of its ids, in its order:
//!
//! - **product**: request `i` is about product `ids[i]`.
//! - **user**: the requests are dealt to [512 lanes](crate::settings::Settings::lanes) in turn. In each lane, [`VISIT`] requests in a row
//!   are one visit, and the first id of the visit is also the number of the user who comes. So users are as
//!   unequal as the trace's ids are, one user sees what stood close together in the trace, and one product
//!   is seen by many users.
//! - **session**: a user has one session at a time, however many visits of his go on. The driver opens it at
//!   his first request and closes it after a number of requests (see [`browser`](crate::browser)).
//! - **action**: fixed by the place in the visit: [`SCRIPT`].

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::traffic::{Action, Step, Traffic};

/// Requests of one visit.
pub const VISIT: usize = SCRIPT.len();

/// What a visit does, request by request: two products in the cart, and one bought at the end.
pub const SCRIPT: [Action; 8] = [
    Action::View,
    Action::View,
    Action::AddToCart,
    Action::View,
    Action::View,
    Action::AddToCart,
    Action::View,
    Action::CheckOut,
];

/// A trace being replayed.
#[derive(Debug)]
pub struct Replay {
    ids: Vec<u32>,
    next: usize,
    /// The user of the visit that goes on in each lane.
    users: Vec<u32>,
}

impl Replay {
    /// The traffic of a trace's ids, dealt to so many lanes.
    pub fn new(ids: Vec<u32>, lanes: NonZeroUsize) -> Self {
        Replay {
            ids,
            next: 0,
            users: vec![0; lanes.get()],
        }
    }
}

impl Traffic for Replay {
    fn next_step(&mut self) -> Option<Step> {
        let product = *self.ids.get(self.next)?;
        let lanes = self.users.len();
        let (lane, place) = (self.next % lanes, self.next / lanes % VISIT);
        self.next += 1;
        if place == 0 {
            self.users[lane] = product;
        }
        Some(Step {
            user: Some(self.users[lane]),
            product,
            action: SCRIPT[place],
        })
    }

    fn pace(&self, _since_start: Duration) -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: usize = 48;

    fn replay(ids: Vec<u32>) -> Replay {
        Replay::new(ids, NonZeroUsize::new(LANES).unwrap())
    }

    #[test]
    fn every_id_comes_once_and_in_order() {
        let ids: Vec<u32> = (0..10_000).map(|i| i * 7 % 1_009).collect();
        let mut replay = replay(ids.clone());
        let products: Vec<u32> = std::iter::from_fn(|| replay.next_step())
            .map(|step| step.product)
            .collect();
        assert_eq!(products, ids);
    }

    #[test]
    fn a_visit_belongs_to_the_user_its_first_id_names_and_follows_the_script() {
        let ids: Vec<u32> = (0..(2 * LANES * VISIT) as u32).collect();
        let mut replay = replay(ids);
        let steps: Vec<Step> = std::iter::from_fn(|| replay.next_step()).collect();
        for lane in 0..LANES {
            for visit in 0..2 {
                let at = |place: usize| lane + LANES * (visit * VISIT + place);
                let user = steps[at(0)].product;
                for (place, action) in SCRIPT.into_iter().enumerate() {
                    let step = steps[at(place)];
                    assert_eq!((step.user, step.action), (Some(user), action));
                }
            }
        }
    }
}
