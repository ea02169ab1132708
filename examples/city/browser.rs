//! The visitors' end: cookie jars, and what a user can do given what is in his.
//!
//! A user has one jar, shared by all of his visits that go on at the same time. What he wants to do becomes
//! what he can do by these rules:
//!
//! - Without a session, his request becomes a login; while a login is under way, a look as a guest.
//! - A session is used for [`SESSION_LENGTH`] requests. Then he is leaving: his requests become looks as a guest
//!   until all answers that he waits for have come, and the next one becomes the logout. So nothing that one
//!   session has begun is still going on under the next.

use std::collections::HashMap;

use crate::traffic::{Action, Step};

/// Requests for which a session is used.
pub const SESSION_LENGTH: u32 = 32;

/// What is asked of the city for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "what a client can ask of the city; code that asks should notice a new one"
)]
pub enum Errand {
    /// See a product without a session.
    Look,
    /// Open a session.
    LogIn,
    /// See a product.
    View,
    /// Put a product into the cart.
    AddToCart,
    /// Buy a product.
    CheckOut,
    /// Close the session.
    LogOut,
    /// See the session: the closing check.
    Review,
}

/// What a user carries with a request.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// The session's label and cookie.
    pub session: Option<(u64, String)>,
    /// The sticky cookie, and the app node that gave it.
    pub sticky: Option<(usize, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete, from a jar's point of view"
)]
pub enum Outcome {
    /// The errand was done.
    Done {
        /// A session that was opened: its label and cookie.
        opened: Option<(u64, String)>,
        /// A new sticky cookie.
        sticky: Option<String>,
        /// The app node that served it.
        node: usize,
    },
    /// There is no such session, it was told.
    Denied,
    /// Anything else.
    Failed,
}

/// All the jars.
#[derive(Debug, Default)]
pub struct Browsers {
    jars: HashMap<u32, Jar>,
}

#[derive(Debug, Default)]
struct Jar {
    session: Session,
    sticky: Option<(usize, String)>,
    /// Requests under the session that are not answered yet.
    in_flight: u32,
}

#[derive(Debug, Default)]
enum Session {
    #[default]
    None,
    Opening,
    Open {
        label: u64,
        cookie: String,
        uses: u32,
    },
    Closing,
}

impl Browsers {
    /// Makes an errand of a step, and says what goes with it. Each call is followed by one of
    /// [`finish`](Browsers::finish).
    pub fn start(&mut self, step: &Step) -> (Errand, Carried) {
        match step.user {
            None => (Errand::Look, Carried::default()),
            Some(user) => self.jars.entry(user).or_default().start(step.action),
        }
    }

    /// Whoever still has a session reviews it, once his last answers have come.
    pub fn start_review(&mut self, user: u32) -> Option<Carried> {
        let jar = self.jars.get_mut(&user)?;
        let Session::Open { .. } = &jar.session else {
            return None;
        };
        jar.in_flight += 1;
        Some(jar.carried())
    }

    /// The users, in no order.
    pub fn users(&self) -> Vec<u32> {
        self.jars.keys().copied().collect()
    }

    /// What came of an errand that was started for a user.
    pub fn finish(&mut self, user: u32, errand: Errand, outcome: Outcome) {
        let Some(jar) = self.jars.get_mut(&user) else {
            return;
        };
        jar.finish(errand, outcome);
    }
}

impl Jar {
    fn start(&mut self, action: Action) -> (Errand, Carried) {
        let errand = match &mut self.session {
            Session::None => {
                self.session = Session::Opening;
                Errand::LogIn
            }
            Session::Opening | Session::Closing => Errand::Look,
            Session::Open { uses, .. } if *uses < SESSION_LENGTH => {
                *uses += 1;
                match action {
                    Action::View => Errand::View,
                    Action::AddToCart => Errand::AddToCart,
                    Action::CheckOut => Errand::CheckOut,
                }
            }
            Session::Open { .. } if self.in_flight == 0 => Errand::LogOut,
            Session::Open { .. } => Errand::Look,
        };
        let mut carried = self.carried();
        match errand {
            Errand::Look | Errand::LogIn => carried.session = None,
            Errand::LogOut => {
                self.session = Session::Closing;
                self.in_flight += 1;
            }
            _ => self.in_flight += 1,
        }
        (errand, carried)
    }

    fn carried(&self) -> Carried {
        Carried {
            session: match &self.session {
                Session::Open { label, cookie, .. } => Some((*label, cookie.clone())),
                Session::None | Session::Opening | Session::Closing => None,
            },
            sticky: self.sticky.clone(),
        }
    }

    fn finish(&mut self, errand: Errand, outcome: Outcome) {
        if !matches!(errand, Errand::Look | Errand::LogIn) {
            self.in_flight -= 1;
        }
        // An answer without a new cookie may be older than the one that is held, and says nothing about it.
        if let Outcome::Done {
            sticky: Some(cookie),
            node,
            ..
        } = &outcome
        {
            self.sticky = Some((*node, cookie.clone()));
        }
        match (errand, outcome) {
            (Errand::LogIn, Outcome::Done { opened, .. }) => {
                self.session = match opened {
                    Some((label, cookie)) => Session::Open {
                        label,
                        cookie,
                        uses: 0,
                    },
                    None => Session::None,
                };
            }
            (Errand::LogIn | Errand::LogOut, _) => self.session = Session::None,
            (_, Outcome::Denied) if matches!(self.session, Session::Open { .. }) => {
                self.session = Session::None;
            }
            (_, Outcome::Done { .. } | Outcome::Denied | Outcome::Failed) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: Action) -> Step {
        Step {
            user: Some(1),
            product: 9,
            action,
        }
    }

    fn done(opened: Option<(u64, String)>) -> Outcome {
        Outcome::Done {
            opened,
            sticky: None,
            node: 0,
        }
    }

    fn logged_in() -> Browsers {
        let mut browsers = Browsers::default();
        let (errand, _) = browsers.start(&step(Action::View));
        assert_eq!(errand, Errand::LogIn);
        browsers.finish(1, errand, done(Some((77, "sealed".to_owned()))));
        browsers
    }

    #[test]
    fn one_login_at_a_time_and_guests_meanwhile() {
        let mut browsers = Browsers::default();
        assert_eq!(browsers.start(&step(Action::View)).0, Errand::LogIn);
        assert_eq!(browsers.start(&step(Action::CheckOut)).0, Errand::Look);
        browsers.finish(1, Errand::Look, done(None));
        browsers.finish(1, Errand::LogIn, Outcome::Failed);
        assert_eq!(browsers.start(&step(Action::View)).0, Errand::LogIn);
    }

    #[test]
    fn a_session_ends_when_it_is_used_up_and_nothing_is_under_way() {
        let mut browsers = logged_in();
        for _ in 0..SESSION_LENGTH {
            let (errand, carried) = browsers.start(&step(Action::AddToCart));
            assert_eq!(errand, Errand::AddToCart);
            assert_eq!(carried.session.as_ref().map(|(label, _)| *label), Some(77));
        }
        for _ in 0..SESSION_LENGTH {
            assert_eq!(browsers.start(&step(Action::View)).0, Errand::Look);
            browsers.finish(1, Errand::Look, done(None));
            browsers.finish(1, Errand::AddToCart, done(None));
        }
        let (errand, carried) = browsers.start(&step(Action::View));
        assert_eq!(errand, Errand::LogOut);
        assert!(carried.session.is_some());
        assert_eq!(browsers.start(&step(Action::View)).0, Errand::Look);
        browsers.finish(1, Errand::LogOut, Outcome::Failed);
        assert_eq!(browsers.start(&step(Action::View)).0, Errand::LogIn);
    }

    #[test]
    fn a_session_that_is_denied_is_forgotten() {
        let mut browsers = logged_in();
        let (errand, _) = browsers.start(&step(Action::View));
        browsers.finish(1, errand, Outcome::Denied);
        assert_eq!(browsers.start(&step(Action::View)).0, Errand::LogIn);
    }
}
