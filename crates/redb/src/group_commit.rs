//! One commit for everybody who waits for one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lets callers on several threads share commits, without a thread of its own.
///
/// Whoever comes while nobody commits becomes the leader: it takes all that has gathered, its own piece among it, and
/// commits it. Whoever comes while somebody commits gathers, and either the leader takes their work too, as long as it
/// has not finished, or one of them leads next. So a lone caller waits for one commit and never for company, and `n`
/// callers wait for two at most, however many they are.
#[derive(Debug)]
pub(crate) struct GroupCommit<W> {
    gate: Mutex<Gate<W>>,
    /// A commit is done, or nobody can lead any more.
    turn: Condvar,
}

#[derive(Debug)]
struct Gate<W> {
    /// The work that nobody has taken, in the order of its numbers, which end before `submitted`.
    gathered: Vec<W>,
    /// How many pieces of work there were; the number of the next one.
    submitted: u64,
    /// How many of them are done: all with a lower number than this.
    done: u64,
    leading: bool,
    /// A leader has panicked, and what it had taken is lost.
    broken: bool,
}

/// What has gathered, as the leader sees it.
#[derive(Debug)]
pub(crate) struct Gathered<'a, W> {
    group: &'a GroupCommit<W>,
    /// All with a lower number than this are taken.
    taken: u64,
}

/// A leader has panicked: whether the work was committed, nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl<W> GroupCommit<W> {
    pub(crate) fn new() -> Self {
        GroupCommit {
            gate: Mutex::new(Gate {
                gathered: Vec::new(),
                submitted: 0,
                done: 0,
                leading: false,
                broken: false,
            }),
            turn: Condvar::new(),
        }
    }

    /// Returns when `work` has been taken by a call of `commit`, of this caller's or another's, and that call has
    /// returned. No two calls of `commit` overlap. Each must take at least once; the first time there is something.
    pub(crate) fn submit(
        &self,
        work: W,
        commit: impl FnOnce(&mut Gathered<'_, W>),
    ) -> Result<(), Broken> {
        let mut gate = self.gate();
        if gate.broken {
            return Err(Broken);
        }
        let number = gate.submitted;
        gate.submitted += 1;
        gate.gathered.push(work);
        while !gate.broken && gate.leading {
            gate = self.turn.wait(gate).unwrap_or_else(PoisonError::into_inner);
            if gate.done > number {
                return Ok(());
            }
        }
        if gate.broken {
            return Err(Broken);
        }
        // Nobody leads and our work is not done, so it is among what has gathered.
        gate.leading = true;
        let taken = gate.done;
        drop(gate);

        let leader = Leader { group: self };
        let mut gathered = Gathered { group: self, taken };
        commit(&mut gathered);
        leader.step_down(gathered.taken);
        Ok(())
    }

    fn gate(&self) -> MutexGuard<'_, Gate<W>> {
        // Nothing that can panic happens under this lock, so the gate is whole even if it is poisoned.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Gathered<'_, W> {
    /// All that has gathered since the last call, or since the last commit. Nothing, if nothing has.
    pub(crate) fn take(&mut self) -> Vec<W> {
        let mut gate = self.group.gate();
        self.taken = gate.submitted;
        std::mem::take(&mut gate.gathered)
    }
}

/// Leads until it steps down. One that is dropped without has panicked.
struct Leader<'a, W> {
    group: &'a GroupCommit<W>,
}

impl<W> Leader<'_, W> {
    fn step_down(self, done: u64) {
        {
            let mut gate = self.group.gate();
            gate.done = done;
            gate.leading = false;
        }
        self.group.turn.notify_all();
        std::mem::forget(self);
    }
}

impl<W> Drop for Leader<'_, W> {
    fn drop(&mut self) {
        let gathered = {
            let mut gate = self.group.gate();
            gate.broken = true;
            gate.leading = false;
            std::mem::take(&mut gate.gathered)
        };
        self.group.turn.notify_all();
        drop(gathered);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Waits on a condition, not on a clock.
    fn wait_for_gathered(group: &GroupCommit<u32>, count: usize) {
        while group.gate().gathered.len() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn who_comes_while_another_commits_shares_the_next_commit() {
        let group = GroupCommit::new();
        let batches = Mutex::new(Vec::new());
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (group, batches) = (&group, &batches);
            scope.spawn(move || {
                group.submit(0, |gathered| {
                    let batch = gathered.take();
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    batches.lock().unwrap().push(batch);
                })
            });
            has_begun.recv().unwrap();
            for work in 1..=8 {
                scope.spawn(move || {
                    let commit = |gathered: &mut Gathered<'_, u32>| {
                        batches.lock().unwrap().push(gathered.take());
                    };
                    assert_eq!(group.submit(work, commit), Ok(()));
                    let batches = batches.lock().unwrap();
                    assert!(batches.iter().flatten().any(|done| *done == work));
                });
            }
            wait_for_gathered(group, 8);
            go.send(()).unwrap();
        });
        let mut batches = batches.into_inner().unwrap();
        assert_eq!(batches.len(), 2, "{batches:?}");
        assert_eq!(batches[0], [0]);
        batches[1].sort();
        assert_eq!(batches[1], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_leader_takes_what_comes_until_it_is_done_and_leaves_the_rest_to_the_next() {
        let group = GroupCommit::new();
        let batches = Mutex::new(Vec::new());
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (group, batches) = (&group, &batches);
            scope.spawn(move || {
                group.submit(0, |gathered| {
                    let mut batch = gathered.take();
                    for _ in 0..2 {
                        begun.send(()).unwrap();
                        may_go.recv().unwrap();
                        batch.extend(gathered.take());
                    }
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    batches.lock().unwrap().push(batch);
                })
            });
            for work in 1..=3 {
                has_begun.recv().unwrap();
                scope.spawn(move || {
                    let commit = |gathered: &mut Gathered<'_, u32>| {
                        batches.lock().unwrap().push(gathered.take());
                    };
                    assert_eq!(group.submit(work, commit), Ok(()));
                    let batches = batches.lock().unwrap();
                    assert!(batches.iter().flatten().any(|done| *done == work));
                });
                wait_for_gathered(group, 1);
                go.send(()).unwrap();
            }
        });
        assert_eq!(batches.into_inner().unwrap(), [vec![0, 1, 2], vec![3]]);
    }

    #[test]
    fn work_of_many_threads_is_committed_once_each_and_never_side_by_side() {
        let group = GroupCommit::new();
        let (total, alone) = (Mutex::new(Vec::new()), Mutex::new(()));
        thread::scope(|scope| {
            for thread_idx in 0..8_u32 {
                let (group, total, alone) = (&group, &total, &alone);
                scope.spawn(move || {
                    for i in 0..200 {
                        let commit = |gathered: &mut Gathered<'_, u32>| {
                            let _guard = alone.try_lock().expect("commits do not overlap");
                            // Every other one takes what came meanwhile, too.
                            for _ in 0..=i % 2 {
                                total.lock().unwrap().extend(gathered.take());
                            }
                        };
                        assert_eq!(group.submit(thread_idx * 200 + i, commit), Ok(()));
                    }
                });
            }
        });
        let mut total = total.into_inner().unwrap();
        total.sort();
        assert_eq!(total, (0..1600).collect::<Vec<u32>>());
    }

    #[test]
    fn a_leader_that_panics_releases_everyone_with_an_error() {
        let group = GroupCommit::new();
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let group = &group;
            let leader = scope.spawn(move || {
                group.submit(0, |gathered| {
                    gathered.take();
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    panic!("on purpose");
                })
            });
            has_begun.recv().unwrap();
            let followers: Vec<_> = (1..=4)
                .map(|work| scope.spawn(move || group.submit(work, |_| unreachable!("broken"))))
                .collect();
            wait_for_gathered(group, 4);
            go.send(()).unwrap();
            assert!(leader.join().is_err());
            for follower in followers {
                assert_eq!(follower.join().unwrap(), Err(Broken));
            }
        });
        assert_eq!(group.submit(9, |_| unreachable!("broken")), Err(Broken));
        assert!(group.gate().gathered.is_empty());
    }
}
