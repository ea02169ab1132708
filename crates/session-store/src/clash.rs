//! What becomes of a field that two requests changed.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::fields::{Changes, Fields};

/// What a commit does with a field that it changed and somebody else changed first. See
/// [`Policy::on_clash`](crate::Policy::on_clash).
///
/// Changes of different fields never clash.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnClash {
    /// The later commit's change stays.
    #[default]
    LastWriter,
    /// The earlier commit's change stays, and the later one is dropped without a word.
    FirstWriter,
    /// The later commit fails, and nothing of it is stored.
    Fail,
    /// A function says what stays.
    Merge(Merge),
}

/// Says what stays of a field that two requests changed; none removes it. It may run again for each attempt
/// at a commit.
pub type Merge = Arc<dyn Fn(Clash<'_>) -> Option<Bytes> + Send + Sync>;

impl OnClash {
    /// A function says what stays; none removes the field.
    ///
    /// ```
    /// use purlin_session_store::{OnClash, Policy};
    ///
    /// // Whoever counted higher.
    /// let highest = OnClash::merge(|clash| clash.ours.max(clash.theirs).cloned());
    /// let policy = Policy::default().on_clash("high_score", highest);
    /// # let _ = policy;
    /// ```
    pub fn merge(merge: impl Fn(Clash<'_>) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        OnClash::Merge(Arc::new(merge))
    }
}

/// One field as three knew it; none where it was not there.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "complete: the three sides of a merge"
)]
pub struct Clash<'a> {
    /// What this request read.
    pub base: Option<&'a Bytes>,
    /// What this request made of it.
    pub ours: Option<&'a Bytes>,
    /// What somebody else made of it, and the store has now.
    pub theirs: Option<&'a Bytes>,
}

impl fmt::Debug for OnClash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnClash::LastWriter => "LastWriter",
            OnClash::FirstWriter => "FirstWriter",
            OnClash::Fail => "Fail",
            OnClash::Merge(_) => "Merge(..)",
        })
    }
}

/// The rules of a policy, by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    by_name: std::collections::BTreeMap<Box<str>, OnClash>,
    others: OnClash,
}

impl Rules {
    pub(crate) fn set(&mut self, name: Box<str>, rule: OnClash) {
        self.by_name.insert(name, rule);
    }

    pub(crate) fn set_others(&mut self, rule: OnClash) {
        self.others = rule;
    }

    /// Settles the changes that clash with what somebody else did between `base` and `theirs`. An error is
    /// the name of a field that may not clash.
    pub(crate) fn settle(
        &self,
        changes: &mut Changes,
        base: &Fields,
        theirs: &Fields,
    ) -> Result<(), Box<str>> {
        if self.by_name.is_empty() && matches!(self.others, OnClash::LastWriter) {
            return Ok(());
        }
        for name in changes.changed_names(base) {
            let (before, now) = (base.get(&name), theirs.get(&name));
            if before == now {
                continue;
            }
            let ours = base.get_changed(changes, &name);
            if ours == now {
                continue;
            }
            match self.by_name.get(&name).unwrap_or(&self.others) {
                OnClash::LastWriter => {}
                OnClash::FirstWriter => changes.set(&name, now),
                OnClash::Fail => return Err(name),
                OnClash::Merge(merge) => {
                    let merged = merge(Clash {
                        base: before.as_ref(),
                        ours: ours.as_ref(),
                        theirs: now.as_ref(),
                    });
                    changes.set(&name, merged);
                }
            }
        }
        Ok(())
    }
}
