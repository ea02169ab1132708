//! Who comes, and what he wants: the traffic of a run as a list of steps.

use std::time::Duration;

/// One request that somebody makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who makes it; `None` for a crawler, which has no session.
    pub user: Option<u32>,
    /// The product it is about.
    pub product: u32,
    /// What it wants with the product.
    pub action: Action,
}

/// What a step wants with its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "what one can do in this shop; code that acts on it should notice a new one"
)]
pub enum Action {
    /// See its page.
    View,
    /// Put it into the cart: a session write.
    AddToCart,
    /// Buy it: a write to the database, a session write and a job.
    CheckOut,
}

/// A source of steps.
pub trait Traffic: Send {
    /// The next step, or `None` at the end.
    fn next_step(&mut self) -> Option<Step>;

    /// How the rate at a time of the run compares with the average rate. More than zero.
    fn pace(&self, since_start: Duration) -> f64;
}
