use core::time::Duration;

use crate::insertion::Inserted;
use crate::tags::Moment;
use crate::terms::Terms;

/// What is to become of a key, by one who has seen its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision<V> {
    /// Leaves the value as it is, or the key without one.
    Keep,
    /// Stores this one, whose time begins now.
    Put(V),
    /// Stores this one for so long, as [`insert_for`](crate::unsync::Cache::insert_for) does.
    PutFor(V, Duration),
    /// Stores this one on terms of its own, as [`insert_on`](crate::unsync::Cache::insert_on) does. Tags hold from the look that the
    /// decision was made on, unless the terms say otherwise: if one is invalidated meanwhile, the value is refused.
    PutOn(V, Terms),
    /// Stores this one for what is left of the older one's time to live; as `Put`, if there was none.
    Change(V),
    /// Takes it out.
    Remove,
}

/// What a decision has done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Computed<K, V> {
    /// Nothing. The value that was seen.
    Kept(Option<V>),
    /// Stored the value, or gave it back.
    Stored(Inserted<K, V>),
    /// Taken this out.
    Removed(Option<(K, V)>),
}

impl<K, V> Computed<K, V> {
    /// The value on which the decision was made.
    pub fn into_previous(self) -> Option<V> {
        match self {
            Computed::Kept(value) => value,
            Computed::Stored(inserted) => inserted.into_previous(),
            Computed::Removed(entry) => entry.map(|(_, value)| value),
        }
    }
}

impl<V> Decision<V> {
    /// The value that is to be stored, if any, and for how long.
    pub(crate) fn into_parts(self) -> Option<(Option<V>, Time)> {
        Some(match self {
            Decision::Keep => return None,
            Decision::Remove => (None, Time::On(Terms::new())),
            Decision::Put(value) => (Some(value), Time::On(Terms::new())),
            Decision::PutFor(value, lasts) => (Some(value), Time::On(Some(lasts).into())),
            Decision::PutOn(value, terms) => (Some(value), Time::On(terms)),
            Decision::Change(value) => (Some(value), Time::Left),
        })
    }
}

/// How long a value is to live that was decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    On(Terms),
    /// As long as the one before it.
    Left,
}

impl Time {
    /// Whether it may bring a deadline where there was none.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Time::On(terms) if terms.lasts().is_some())
    }

    /// The terms of what is to be stored, decided on at a moment, where the older one has so much left.
    pub(crate) fn terms(self, moment: Moment, left: Option<Duration>) -> Terms {
        match self {
            Time::On(terms) => terms.read_at(moment),
            Time::Left => left.into(),
        }
    }
}
