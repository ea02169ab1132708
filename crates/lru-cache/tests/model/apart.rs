//! What only one kind of cache offers. The other does the same by hand, or says that it cannot.

use purlin_lru_cache::{Terms, unsync};

use crate::common::HandClock;
use crate::ops::{Load, Value, Way, id_of, lasts, overtaking};
use crate::subject::Hasher;

pub(crate) trait Apart {
    /// The answer, where there is such a call.
    fn pop_oldest(&mut self) -> Option<Option<(u8, u32)>>;
    fn remove_if(&mut self, key: u8, goes: bool) -> Option<u32>;
    /// Whether a load that begins has the cache see what time it is, even where nothing has a deadline.
    fn tells_time_by_loads(&self) -> bool;
    /// What the caller gets; nothing from a load that fails.
    fn load(&mut self, key: u8, value: Value, load: Load, way: Way) -> Option<u32>;
    fn get_many(&mut self, keys: [u8; 3]) -> Vec<Option<u32>>;
    fn load_many(
        &mut self,
        keys: [u8; 3],
        left_out: u8,
        value: Value,
        way: Way,
    ) -> Vec<Option<u32>>;
    /// Where there is such a call: what is given out, and whether it is due. If it is, and there is a value, that is loaded.
    fn refresh(&mut self, key: u8, ahead: u64, value: Option<Value>, way: Way) -> Option<Served>;
}

pub(crate) type Served = Option<(u32, bool)>;

impl Apart for unsync::Cache<u8, Value, Hasher, HandClock> {
    fn pop_oldest(&mut self) -> Option<Option<(u8, u32)>> {
        let popped = Self::pop_oldest(self);
        Some(popped.map(|(key, value)| (key, id_of(&value))))
    }

    fn remove_if(&mut self, key: u8, goes: bool) -> Option<u32> {
        let removed = goes.then(|| self.remove(&key))?;
        removed.map(|value| id_of(&value))
    }

    fn tells_time_by_loads(&self) -> bool {
        false
    }

    fn load(&mut self, key: u8, value: Value, load: Load, _: Way) -> Option<u32> {
        if let Some(found) = self.get(&key) {
            return Some(id_of(found));
        }
        let _ = match load {
            Load::Fails | Load::IsGivenUp => return None,
            Load::Lands => self.insert(key, value),
            Load::LandsFor(steps) => self.insert_for(key, value, lasts(steps)),
            Load::LandsOn(tag) => self.insert_on(key, value, Terms::new().tag(&tag)),
            Load::IsOvertaken => self.insert(key, overtaking(&value)),
        };
        Some(id_of(&value))
    }

    fn get_many(&mut self, keys: [u8; 3]) -> Vec<Option<u32>> {
        let get = |key| self.get(&key).map(id_of);
        keys.into_iter().map(get).collect()
    }

    fn load_many(&mut self, keys: [u8; 3], left_out: u8, value: Value, _: Way) -> Vec<Option<u32>> {
        let mut found = [None; 3];
        let first = |key| keys.iter().position(|&its| its == key).unwrap();
        for at in (0..3).filter(|&at| first(keys[at]) == at) {
            found[at] = self.get(&keys[at]).map(id_of);
        }
        for at in (0..3).filter(|&at| first(keys[at]) == at) {
            if found[at].is_none() && keys[at] != left_out {
                self.insert(keys[at], value);
                found[at] = Some(id_of(&value));
            }
        }
        keys.iter().map(|&key| found[first(key)]).collect()
    }

    fn refresh(&mut self, _: u8, _: u64, _: Option<Value>, _: Way) -> Option<Served> {
        None
    }
}

#[cfg(feature = "std")]
mod shared {
    use std::future::{Future, pending};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use purlin_lru_cache::{Cache, Due, Terms};

    use super::{Apart, Served};
    use crate::common::{HandClock, poll};
    use crate::ops::{Load, STEP, Value, Way, id_of, lasts, overtaking};
    use crate::subject::Hasher;

    impl Apart for Cache<u8, Value, Hasher, HandClock> {
        fn pop_oldest(&mut self) -> Option<Option<(u8, u32)>> {
            None
        }

        fn remove_if(&mut self, key: u8, goes: bool) -> Option<u32> {
            Self::remove_if(self, &key, |_| goes).map(|value| id_of(&value))
        }

        fn tells_time_by_loads(&self) -> bool {
            true
        }

        fn load(&mut self, key: u8, value: Value, load: Load, way: Way) -> Option<u32> {
            let (cache, key) = (&*self, &key);
            let got = match load {
                Load::Lands => land(cache, key, value, way, || ()),
                Load::IsOvertaken => land(cache, key, value, way, || {
                    cache.insert(*key, overtaking(&value));
                }),
                Load::Fails if way.is_async() => {
                    let load = |_| async { Err::<Value, ()>(()) };
                    ready(cache.try_get_or_load_async(key, load)).ok()
                }
                Load::Fails => cache.try_get_or_load(key, |_| Err::<Value, ()>(())).ok(),
                Load::LandsFor(steps) => {
                    let loaded = Ok::<_, ()>((value, lasts(steps)));
                    if way.is_async() {
                        ready(cache.try_get_or_load_for_async(key, |_| async { loaded })).ok()
                    } else {
                        cache.try_get_or_load_for(key, |_| loaded).ok()
                    }
                }
                Load::LandsOn(tag) => {
                    let loaded = Ok::<_, ()>((value, Terms::new().tag(&tag)));
                    if way.is_async() {
                        ready(cache.try_get_or_load_on_async(key, |_| async { loaded })).ok()
                    } else {
                        cache.try_get_or_load_on(key, |_| loaded).ok()
                    }
                }
                Load::IsGivenUp if way.is_async() => {
                    match poll(pin!(cache.get_or_load_async(key, |_| pending()))) {
                        Poll::Ready(value) => Some(value),
                        Poll::Pending => None,
                    }
                }
                Load::IsGivenUp => {
                    let load = || cache.get_or_load(key, |_| resume_unwind(Box::new(())));
                    catch_unwind(AssertUnwindSafe(load)).ok()
                }
            };
            got.map(|value| id_of(&value))
        }

        fn get_many(&mut self, keys: [u8; 3]) -> Vec<Option<u32>> {
            let found = Self::get_many(self, &keys).into_iter();
            found.map(|value| Some(id_of(&value?))).collect()
        }

        fn load_many(
            &mut self,
            keys: [u8; 3],
            left_out: u8,
            value: Value,
            way: Way,
        ) -> Vec<Option<u32>> {
            let load = |asked: &[&u8]| -> Vec<(u8, Value)> {
                let asked = asked.iter().map(|&&key| key);
                let answered = asked.filter(|&key| key != left_out);
                answered.map(|key| (key, value)).collect()
            };
            let loaded = match way {
                Way::Plain => self.get_or_load_many(&keys, load),
                Way::Try => {
                    let loaded = self.try_get_or_load_many(&keys, |keys| Ok::<_, ()>(load(keys)));
                    loaded.unwrap()
                }
                Way::Async => ready(self.get_or_load_many_async(&keys, |keys| {
                    let loaded = load(&keys);
                    async { loaded }
                })),
                Way::TryAsync => {
                    let loaded = ready(self.try_get_or_load_many_async(&keys, |keys| {
                        let loaded = load(&keys);
                        async { Ok::<_, ()>(loaded) }
                    }));
                    loaded.unwrap()
                }
            };
            let id = |value: Option<Value>| Some(id_of(&value?));
            loaded.into_iter().map(id).collect()
        }

        fn refresh(
            &mut self,
            key: u8,
            ahead: u64,
            value: Option<Value>,
            way: Way,
        ) -> Option<Served> {
            let due = Due::ahead(Duration::from_nanos(ahead * STEP));
            let Some(served) = self.get_refreshing(&key, due) else {
                return Some(None);
            };
            assert!(!served.is_stale);
            let is_due = served.refresh.is_some();
            if let (Some(refresh), Some(value)) = (served.refresh, value) {
                let loaded = match way {
                    Way::Plain => refresh.run(|_| value),
                    Way::Try => refresh.try_run(|_| Ok::<_, ()>(value)).unwrap(),
                    Way::Async => ready(refresh.run_async(async { value })),
                    Way::TryAsync => {
                        ready(refresh.try_run_async(async { Ok::<_, ()>(value) })).unwrap()
                    }
                };
                assert_eq!(loaded, Some(value));
            }
            Some(Some((id_of(&served.value), is_due)))
        }
    }

    /// A load that lands, by each of the calls for it, and what happens while it is under way.
    fn land(
        cache: &Cache<u8, Value, Hasher, HandClock>,
        key: &u8,
        value: Value,
        way: Way,
        during: impl FnOnce(),
    ) -> Option<Value> {
        let load = || {
            during();
            value
        };
        match way {
            Way::Plain => Some(cache.get_or_load(key, |_| load())),
            Way::Try => cache.try_get_or_load(key, |_| Ok::<_, ()>(load())).ok(),
            Way::Async => Some(ready(cache.get_or_load_async(key, |_| async { load() }))),
            Way::TryAsync => {
                let load = |_| async { Ok::<_, ()>(load()) };
                ready(cache.try_get_or_load_async(key, load)).ok()
            }
        }
    }

    /// What a future gives that has nothing to wait for.
    fn ready<F: Future>(future: F) -> F::Output {
        match poll(pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits for something"),
        }
    }
}
