use std::time::Duration;

use purlin_core::{Clock, SystemClock};

use crate::Error;

/// How long anything may take. Far beyond what a healthy machine needs, so that only a real failure gets here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition. Short against the start of a server, long against the cost of a look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks at a condition until it holds, for a minute at most. `what` completes "… did not happen" in the error.
///
/// This is the only place in the test kit that sleeps, and it never sleeps for its own sake: the first look that
/// finds the condition ends the wait.
///
/// ```
/// # fn main() -> Result<(), purlin_testkit::Error> {
/// let mut looks = 0;
/// let found = purlin_testkit::wait_until("the third look", || {
///     looks += 1;
///     Ok((looks == 3).then_some("here it is"))
/// })?;
/// assert_eq!(found, "here it is");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Timeout`] if the condition did not come to hold, and whatever `look` fails with, at once.
pub fn wait_until<T>(
    what: &str,
    look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    match within(PATIENCE, look)? {
        Some(found) => Ok(found),
        None => Err(Error::Timeout {
            what: what.to_owned(),
            after: PATIENCE,
            log: String::new(),
        }),
    }
}

/// Like [`wait_until`] with a deadline of the caller's, and `None` when it passes.
pub(crate) fn within<T>(
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let clock = SystemClock::new();
    let deadline = clock.now().after(patience);
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if clock.now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_ends_the_wait() {
        let found =
            within(Duration::from_millis(1), || Ok(None::<()>)).expect("the look does not fail");
        assert_eq!(found, None);
    }

    #[test]
    fn a_failing_look_ends_the_wait_at_once() {
        let mut looks = 0;
        let failed = within(PATIENCE, || -> Result<Option<()>, Error> {
            looks += 1;
            Err(Error::NoFreePort {
                server: "none",
                tries: 0,
            })
        });
        assert!(matches!(failed, Err(Error::NoFreePort { .. })));
        assert_eq!(looks, 1);
    }
}
