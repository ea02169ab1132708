use purlin_core::Retry;

use crate::{Assignment, MapError, MapVersion, ShardId, ShardMap, Slot};

/// Moves slots from one shard to another while both are in service. A state machine without I/O: it says
/// what to do next, the driver does it and reports.
///
/// The published map decides, and it is published by compare-and-swap on its version: a store replaces map
/// `n` by the proposed map `n + 1` only if `n` is still its newest. What shards do follows from the map they
/// have installed. The order of the [`Step`]s is the proof:
///
/// 1. **Freeze.** Publish a map in which the slots are on their way. Under it neither shard serves them.
/// 2. **Drain.** Both shards install it, and everything they admitted to these slots before has ended.
/// 3. **Copy** the slots' data, each batch under an [`admit_import`](crate::Guard::admit_import) at the target with
///    this move's epoch. Begin by emptying the slots at the target, or rows deleted since an earlier, aborted copy
///    come back to life.
/// 4. **Commit.** Publish a map in which the target owns the slots. This one compare-and-swap is the decision.
/// 5. **Open.** The target installs it, and serves.
/// 6. **Release.** The source installs it, and knows that the slots are gone. Then the move is **Done**, and what the
///    source still has can be removed under [`admit_cleanup`](crate::Guard::admit_cleanup).
///
/// Until the commit, [`abort`](SlotMove::abort) turns back: a map is published in which the source serves the slots
/// again. After it, going back is a move the other way, since the target has taken writes.
///
/// The driver may crash at any point: what matters is in the published map. Another one
/// [takes over](SlotMove::take_over), which dates the slots anew and thereby stops the first, should it still be
/// alive: its imports are refused and its commit does not follow from the newest map.
///
/// The slots are served by nobody from 2 to 5, so the pause is as long as the copy. Move few slots at a time.
/// Catching up with a source that is still serving is not in this version.
///
/// ```
/// use purlin_shard_router::{Guard, Shard, ShardId, ShardMap, Slot, SlotMove, Step};
///
/// let (source, target) = (ShardId(1), ShardId(2));
/// let shards = [source, target].map(|id| Shard::new(id, format!("db-{}", id.0)));
/// // Stands for a store that many processes share: its newest map, replaced by compare-and-swap.
/// let mut newest = ShardMap::even_split(shards)?;
/// let at_source = Guard::new(source, newest.clone());
/// let at_target = Guard::new(target, newest.clone());
///
/// let mut moving = SlotMove::plan(&newest, [Slot(5)], target)?;
/// loop {
///     match moving.step() {
///         Step::Freeze | Step::Commit | Step::Thaw => {
///             if let Some(next) = moving.propose(&newest)? {
///                 newest = next; // A real store compares versions first, and may say no.
///                 moving.published()?;
///             }
///         }
///         Step::Drain { .. } => {
///             for guard in [&at_source, &at_target] {
///                 guard.install(newest.clone())?;
///                 assert!(guard.is_drained(moving.slots())); // A real driver waits until it is.
///                 moving.drained(guard.shard(), guard.version())?;
///             }
///         }
///         Step::Copy { epoch } => {
///             for &slot in moving.slots() {
///                 let _admit = at_target.admit_import(slot, epoch)?;
///                 // Empty the slot at the target, then copy its rows.
///             }
///             moving.copied()?;
///         }
///         Step::Open { .. } => {
///             at_target.install(newest.clone())?;
///             moving.installed(target, at_target.version())?;
///         }
///         Step::Release { .. } | Step::Reopen { .. } => {
///             at_source.install(newest.clone())?;
///             moving.installed(source, at_source.version())?;
///         }
///         Step::Done | Step::Aborted => break,
///     }
/// }
/// assert_eq!(newest.assignment(Slot(5)).map(|slot| slot.owner), Some(target));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMove {
    /// Sorted, without repetition, at least one.
    slots: Box<[Slot]>,
    from: ShardId,
    to: ShardId,
    step: Step,
    /// The epoch under which the slots were closed, by this driver or the one it took over from; `None` while
    /// this move is not known to have closed them.
    closed_at: Option<MapVersion>,
    /// The last proposal of each kind. Whether the store took it may be unknown. Two proposals made from one
    /// newest map have one version, and the store takes one of them at most; those made from older maps are
    /// dead by then. So the last of each kind is all there is to remember.
    freeze: Option<MapVersion>,
    commit: Option<MapVersion>,
    thaw: Option<MapVersion>,
    source_drained: bool,
    target_drained: bool,
}

/// What to do next in a [`SlotMove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a driver must know what to do at each step, so a new one is a breaking change"
)]
pub enum Step {
    /// Publish the map that [`propose`](SlotMove::propose) gives, which closes the slots.
    Freeze,
    /// Have source and target install a map of at least this version, wait until each is drained of the slots, and report
    /// [`drained`](SlotMove::drained) for each.
    Drain {
        /// The version of the map that closed the slots.
        at: MapVersion,
    },
    /// Empty the slots at the target and copy them there, under imports of this epoch, then report
    /// [`copied`](SlotMove::copied).
    Copy {
        /// The epoch of the slots in this move.
        epoch: MapVersion,
    },
    /// Publish the map that [`propose`](SlotMove::propose) gives, which makes the target the owner.
    Commit,
    /// Have the target install a map of at least this version and report [`installed`](SlotMove::installed).
    Open {
        /// The version of the map that gave the slots to the target.
        at: MapVersion,
    },
    /// Have the source install a map of at least this version and report [`installed`](SlotMove::installed).
    Release {
        /// The version of the map that gave the slots to the target.
        at: MapVersion,
    },
    /// Nothing: the target has the slots. What the source still has of them may be removed.
    Done,
    /// Publish the map that [`propose`](SlotMove::propose) gives, which opens the slots at the source again.
    Thaw,
    /// Have the source install a map of at least this version and report [`installed`](SlotMove::installed).
    Reopen {
        /// The version of the map that opened the slots again.
        at: MapVersion,
    },
    /// Nothing: the source has kept the slots. What the target got of them may be removed.
    Aborted,
}

impl SlotMove {
    /// A move of these slots, all of one shard, to another.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if there are no slots, the map does not have one of them or the target, they are not all
    /// of one shard, one is the target's already, or one is being moved.
    pub fn plan(
        map: &ShardMap,
        slots: impl IntoIterator<Item = Slot>,
        to: ShardId,
    ) -> Result<SlotMove, MoveError> {
        map.known(to)?;
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        let &first = slots.first().ok_or(MoveError::NoSlots)?;
        let from = held(map, first)?.owner;
        for &slot in &slots {
            let now = held(map, slot)?;
            if now.moving_to.is_some() {
                return Err(MapError::SlotMoving { slot }.into());
            }
            if now.owner == to {
                return Err(MapError::MovesToItself { slot }.into());
            }
            if now.owner != from {
                return Err(MoveError::ManySources { slot });
            }
        }
        Ok(SlotMove::new(slots, from, to, None))
    }

    /// The move that a slot is in, for a driver that carries on after another one, or itself, has stopped
    /// half-way: all slots that were closed by the same map for the same journey. It begins at
    /// [`Step::Freeze`] again, to date the slots anew; from there it may be driven to its end or
    /// [aborted](SlotMove::abort).
    ///
    /// # Errors
    ///
    /// [`MoveError::NotMoving`] if the slot is not being moved.
    pub fn take_over(map: &ShardMap, slot: Slot) -> Result<SlotMove, MoveError> {
        let wanted = held(map, slot)?;
        let to = wanted.moving_to.ok_or(MoveError::NotMoving { slot })?;
        let companions = map.moving().map(|(slot, _)| slot);
        let slots = companions.filter(|&slot| map.assignment(slot) == Some(wanted));
        let closed_at = Some(wanted.epoch);
        Ok(SlotMove::new(slots.collect(), wanted.owner, to, closed_at))
    }

    fn new(slots: Vec<Slot>, from: ShardId, to: ShardId, closed_at: Option<MapVersion>) -> Self {
        SlotMove {
            slots: slots.into(),
            from,
            to,
            step: Step::Freeze,
            closed_at,
            freeze: None,
            commit: None,
            thaw: None,
            source_drained: false,
            target_drained: false,
        }
    }

    /// The slots, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The shard that gives them.
    pub fn from(&self) -> ShardId {
        self.from
    }

    /// The shard that gets them.
    pub fn to(&self) -> ShardId {
        self.to
    }

    /// What to do next.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The map to publish at [`Step::Freeze`], [`Step::Commit`] and [`Step::Thaw`], made from the newest map in
    /// the store. If the store takes it, report [`published`](SlotMove::published). If it does not, or nobody
    /// knows whether it did, read the newest map and ask again: `None` means that the map shows an earlier
    /// proposal of this move to have gone through after all, and [`step`](SlotMove::step) has advanced.
    ///
    /// # Errors
    ///
    /// [`MoveError::Overtaken`] if another driver, or somebody by hand, has changed the slots. The move is no
    /// longer this driver's: stop copying and drop it. [`MoveError::OutOfOrder`] at other steps.
    pub fn propose(&mut self, newest: &ShardMap) -> Result<Option<ShardMap>, MoveError> {
        let seen = self.see(newest);
        match (self.step, seen) {
            (Step::Freeze, Seen::AtSource(_)) if self.closed_at.is_none() => {}
            // Closing closed slots again is how a driver makes sure that the move is its own: the one whose
            // first proposal may or may not have gone through, and the one that takes over.
            (Step::Freeze | Step::Thaw, Seen::Closed(epoch)) if self.may_have_closed(epoch) => {
                self.closed_at = Some(epoch);
            }
            (Step::Commit, Seen::Closed(epoch)) if self.closed_at == Some(epoch) => {}
            (Step::Commit | Step::Thaw, Seen::AtTarget(epoch)) if self.commit == Some(epoch) => {
                self.step = Step::Open { at: epoch };
                return Ok(None);
            }
            (Step::Thaw, Seen::AtSource(Some(epoch))) if self.thaw == Some(epoch) => {
                self.step = Step::Reopen { at: epoch };
                return Ok(None);
            }
            // Our freeze may still be on its way to the store. A newer version makes sure that it fails.
            (Step::Thaw, Seen::AtSource(_)) if self.closed_at.is_none() => {}
            (Step::Freeze | Step::Commit | Step::Thaw, _) => return Err(MoveError::Overtaken),
            (step, _) => return Err(MoveError::OutOfOrder { step }),
        }
        let (proposal, owner, moving_to) = match self.step {
            Step::Freeze => (&mut self.freeze, self.from, Some(self.to)),
            Step::Commit => (&mut self.commit, self.to, None),
            _ => (&mut self.thaw, self.from, None),
        };
        newest.known(self.to)?;
        let map = newest.with_slots(&self.slots, owner, moving_to)?;
        *proposal = Some(map.version());
        Ok(Some(map))
    }

    /// The store has taken the map last proposed. Only for when it certainly has.
    ///
    /// # Errors
    ///
    /// [`MoveError::OutOfOrder`] if nothing was proposed at this step.
    pub fn published(&mut self) -> Result<Step, MoveError> {
        let out_of_order = MoveError::OutOfOrder { step: self.step };
        self.step = match (self.step, self.freeze, self.commit, self.thaw) {
            (Step::Freeze, Some(at), _, _) => {
                self.closed_at = Some(at);
                Step::Drain { at }
            }
            (Step::Commit, _, Some(at), _) => Step::Open { at },
            (Step::Thaw, _, _, Some(at)) => Step::Reopen { at },
            _ => return Err(out_of_order),
        };
        Ok(self.step)
    }

    /// At [`Step::Drain`]: a shard has installed a map of this version, and *afterwards* was found
    /// [drained](crate::Guard::is_drained) of the slots. Where several processes serve one shard, all of them.
    ///
    /// # Errors
    ///
    /// [`MoveError`] at other steps, for a shard that is neither source nor target, or a version that is too
    /// old.
    pub fn drained(&mut self, shard: ShardId, version: MapVersion) -> Result<Step, MoveError> {
        let Step::Drain { at } = self.step else {
            return Err(MoveError::OutOfOrder { step: self.step });
        };
        if shard != self.from && shard != self.to {
            return Err(MoveError::OtherShard { shard });
        }
        new_enough(shard, version, at)?;
        self.source_drained |= shard == self.from;
        self.target_drained |= shard == self.to;
        if self.source_drained && self.target_drained {
            self.step = Step::Copy { epoch: at };
        }
        Ok(self.step)
    }

    /// At [`Step::Copy`]: the target has all the data of the slots, and none that the source has not, durably.
    ///
    /// # Errors
    ///
    /// [`MoveError::OutOfOrder`] at other steps.
    pub fn copied(&mut self) -> Result<Step, MoveError> {
        match self.step {
            Step::Copy { .. } => self.step = Step::Commit,
            step => return Err(MoveError::OutOfOrder { step }),
        }
        Ok(self.step)
    }

    /// At [`Step::Open`], [`Step::Release`] and [`Step::Reopen`]: the shard of that step has installed a map of
    /// this version.
    ///
    /// # Errors
    ///
    /// [`MoveError`] at other steps, for another shard than that of the step, or a version that is too old.
    pub fn installed(&mut self, shard: ShardId, version: MapVersion) -> Result<Step, MoveError> {
        let (awaited, at, next) = match self.step {
            Step::Open { at } => (self.to, at, Step::Release { at }),
            Step::Release { at } => (self.from, at, Step::Done),
            Step::Reopen { at } => (self.from, at, Step::Aborted),
            step => return Err(MoveError::OutOfOrder { step }),
        };
        if shard != awaited {
            return Err(MoveError::OtherShard { shard });
        }
        new_enough(shard, version, at)?;
        self.step = next;
        Ok(self.step)
    }

    /// Turns back, which is possible until the commit is published. Stop copying first. A move that has
    /// proposed nothing is [`Step::Aborted`] at once; otherwise [`Step::Thaw`] follows. Should it turn out there
    /// that the store took the commit after all, [`propose`](SlotMove::propose) says so and leads on to
    /// [`Step::Open`]: the move has happened.
    ///
    /// # Errors
    ///
    /// [`MoveError::OutOfOrder`] once the commit is known to be published. Go on, and move the slots back
    /// afterwards.
    pub fn abort(&mut self) -> Result<Step, MoveError> {
        self.step = match self.step {
            Step::Freeze if self.closed_at.is_none() && self.freeze.is_none() => Step::Aborted,
            Step::Freeze | Step::Drain { .. } | Step::Copy { .. } | Step::Commit => Step::Thaw,
            step @ (Step::Thaw | Step::Reopen { .. } | Step::Aborted) => step,
            step @ (Step::Open { .. } | Step::Release { .. } | Step::Done) => {
                return Err(MoveError::OutOfOrder { step });
            }
        };
        Ok(self.step)
    }

    fn may_have_closed(&self, epoch: MapVersion) -> bool {
        self.closed_at == Some(epoch) || self.freeze == Some(epoch)
    }

    /// Where a map shows the slots, as far as this move can make sense of it.
    fn see(&self, map: &ShardMap) -> Seen {
        let mut all = self.slots.iter().map(|&slot| map.assignment(slot));
        let Some(Some(first)) = all.next() else {
            return Seen::Elsewhere;
        };
        let mut one_epoch = true;
        for other in all {
            let Some(other) = other else {
                return Seen::Elsewhere;
            };
            if (other.owner, other.moving_to) != (first.owner, first.moving_to) {
                return Seen::Elsewhere;
            }
            one_epoch &= other.epoch == first.epoch;
        }
        let epoch = first.epoch;
        match first.moving_to {
            None if first.owner == self.from => Seen::AtSource(one_epoch.then_some(epoch)),
            None if first.owner == self.to && one_epoch => Seen::AtTarget(epoch),
            Some(to) if first.owner == self.from && to == self.to && one_epoch => {
                Seen::Closed(epoch)
            }
            _ => Seen::Elsewhere,
        }
    }
}

/// Where the slots of a move are in some map. What a move publishes dates all its slots alike.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// Served by the source, with the epoch they share if they do.
    AtSource(Option<MapVersion>),
    /// On the way from source to target.
    Closed(MapVersion),
    /// Served by the target.
    AtTarget(MapVersion),
    /// Anything else, which this move did not do.
    Elsewhere,
}

fn held(map: &ShardMap, slot: Slot) -> Result<Assignment, MapError> {
    map.assignment(slot).ok_or(MapError::UnknownSlot { slot })
}

fn new_enough(shard: ShardId, version: MapVersion, needed: MapVersion) -> Result<(), MoveError> {
    if version < needed {
        return Err(MoveError::TooOld {
            shard,
            version,
            needed,
        });
    }
    Ok(())
}

/// Why a [`SlotMove`] cannot be made, or does not take a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The map does not allow it.
    #[error("the map does not allow the move")]
    Map(#[from] MapError),
    /// There are no slots to move.
    #[error("a move of no slots")]
    NoSlots,
    /// The slots come from more than one shard. Make a move for each.
    #[error("{slot} is not with the same shard as the others")]
    ManySources {
        /// The first that is elsewhere.
        slot: Slot,
    },
    /// There is no move to take over.
    #[error("{slot} is not being moved")]
    NotMoving {
        /// The slot.
        slot: Slot,
    },
    /// Somebody else has changed the slots. Stop copying; the move is no longer ours.
    #[error("the slots were changed by somebody else")]
    Overtaken,
    /// This is not the step for that. The move is as it was.
    #[error("out of order at {step:?}")]
    OutOfOrder {
        /// The step the move is at.
        step: Step,
    },
    /// This step does not wait for that shard.
    #[error("the step does not wait for {shard}")]
    OtherShard {
        /// The shard that was reported.
        shard: ShardId,
    },
    /// The shard has not got the map of this step.
    #[error("{shard} has {version}, where {needed} is needed")]
    TooOld {
        /// The shard that was reported.
        shard: ShardId,
        /// The version it has.
        version: MapVersion,
        /// The version it needs.
        needed: MapVersion,
    },
}

impl MoveError {
    /// Never: the move must change first, or the world.
    pub fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
