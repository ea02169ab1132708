//! A move, step by step. `moves` has it in a fleet where things go wrong.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixtures;

use fixtures::*;
use purlin_shard_router::{MapError, MapVersion, MoveError, Shard, ShardMap, Slot, SlotMove, Step};

#[test]
fn a_move_is_planned_only_where_it_makes_sense() {
    let map = small_map();
    let plan = |map: &ShardMap, slots: &[u32], to| {
        SlotMove::plan(map, slots.iter().copied().map(Slot), to).map(drop)
    };
    assert_eq!(plan(&map, &[0, 3, 0], TWO), Ok(()));
    assert_eq!(plan(&map, &[], TWO), Err(MoveError::NoSlots));
    let slot = Slot(4);
    assert_eq!(
        plan(&map, &[0, 4], TWO),
        Err(MapError::MovesToItself { slot }.into())
    );
    let id = THREE;
    assert_eq!(
        plan(&map, &[0], id),
        Err(MapError::UnknownShard { id }.into())
    );
    let slot = Slot(8);
    assert_eq!(
        plan(&map, &[0, 8], TWO),
        Err(MapError::UnknownSlot { slot }.into())
    );
    let grown = map.with_shard(Shard::new(THREE, "db-3")).unwrap();
    let slot = Slot(4);
    assert_eq!(
        plan(&grown, &[0, 4], THREE),
        Err(MoveError::ManySources { slot })
    );
    let (_, frozen) = freeze(&map, 0, TWO);
    let slot = Slot(0);
    assert_eq!(
        plan(&frozen, &[0], TWO),
        Err(MapError::SlotMoving { slot }.into())
    );
    assert_eq!(
        frozen.with_move([slot], TWO),
        Err(MapError::SlotMoving { slot })
    );
    let slot = Slot(1);
    assert_eq!(
        SlotMove::take_over(&frozen, slot),
        Err(MoveError::NotMoving { slot })
    );
}

/// Drives a move by its own map until it is at a step.
fn drive(moving: &mut SlotMove, newest: &mut ShardMap, until: fn(Step) -> bool) {
    for _ in 0..20 {
        let version = newest.version();
        match moving.step() {
            step if until(step) => return,
            Step::Freeze | Step::Commit | Step::Thaw => {
                if let Some(next) = moving.propose(newest).unwrap() {
                    *newest = next;
                    moving.published().unwrap();
                }
            }
            Step::Drain { .. } => {
                moving.drained(moving.from(), version).unwrap();
                moving.drained(moving.to(), version).unwrap();
            }
            Step::Copy { .. } => drop(moving.copied().unwrap()),
            Step::Open { .. } => drop(moving.installed(moving.to(), version).unwrap()),
            Step::Release { .. } | Step::Reopen { .. } => {
                moving.installed(moving.from(), version).unwrap();
            }
            Step::Done | Step::Aborted => panic!("ended at {:?}", moving.step()),
        }
    }
    panic!("never got there");
}

const STEPS: [fn(Step) -> bool; 10] = [
    |step| step == Step::Freeze,
    |step| matches!(step, Step::Drain { .. }),
    |step| matches!(step, Step::Copy { .. }),
    |step| step == Step::Commit,
    |step| matches!(step, Step::Open { .. }),
    |step| matches!(step, Step::Release { .. }),
    |step| step == Step::Done,
    |step| step == Step::Thaw,
    |step| matches!(step, Step::Reopen { .. }),
    |step| step == Step::Aborted,
];

/// A move at each of its steps, with the newest map then.
fn at_each_step() -> Vec<(SlotMove, ShardMap)> {
    let at = |reached: usize| {
        let mut newest = small_map();
        let mut moving = SlotMove::plan(&newest, [Slot(0), Slot(2)], TWO).unwrap();
        if reached >= 7 {
            drive(&mut moving, &mut newest, STEPS[2]);
            moving.abort().unwrap();
        }
        drive(&mut moving, &mut newest, STEPS[reached]);
        (moving, newest)
    };
    (0..STEPS.len()).map(at).collect()
}

#[test]
fn each_step_takes_its_own_reports_and_no_others() {
    let far = MapVersion(1_000);
    for (n, (moving, newest)) in at_each_step().into_iter().enumerate() {
        let step = moving.step();
        let tried = |report: &dyn Fn(&mut SlotMove) -> Result<(), MoveError>| {
            let mut copy = moving.clone();
            let result = report(&mut copy);
            if result.is_err() {
                assert_eq!(
                    copy, moving,
                    "a refused report changed the move at {step:?}"
                );
            }
            result
        };
        let out_of_order = Err(MoveError::OutOfOrder { step });
        let expect = |accepting: &[usize]| {
            if accepting.contains(&n) {
                Ok(())
            } else {
                out_of_order.clone()
            }
        };
        assert_eq!(
            tried(&|it| it.propose(&newest).map(drop)),
            expect(&[0, 3, 7])
        );
        // Nothing was proposed at this step yet.
        assert_eq!(tried(&|it| it.published().map(drop)), out_of_order);
        assert_eq!(tried(&|it| it.drained(ONE, far).map(drop)), expect(&[1]));
        assert_eq!(tried(&|it| it.drained(TWO, far).map(drop)), expect(&[1]));
        assert_eq!(tried(&|it| it.copied().map(drop)), expect(&[2]));
        assert_eq!(
            tried(&|it| it.abort().map(drop)),
            expect(&[0, 1, 2, 3, 7, 8, 9])
        );
        for (shard, accepting) in [(ONE, &[5, 8][..]), (TWO, &[4]), (THREE, &[])] {
            let result = tried(&|it| it.installed(shard, far).map(drop));
            if [4, 5, 8].contains(&n) && !accepting.contains(&n) {
                assert_eq!(result, Err(MoveError::OtherShard { shard }));
            } else {
                assert_eq!(result, expect(accepting), "{shard} at {step:?}");
            }
        }
        // Reports of shards that have not got the map of the step.
        let version = MapVersion(1);
        if let Step::Drain { at } | Step::Open { at } | Step::Release { at } | Step::Reopen { at } =
            step
        {
            let shard = if n == 4 { TWO } else { ONE };
            let too_old = Err(MoveError::TooOld {
                shard,
                version,
                needed: at,
            });
            let report = |it: &mut SlotMove| match n {
                1 => it.drained(shard, version).map(drop),
                _ => it.installed(shard, version).map(drop),
            };
            assert_eq!(tried(&report), too_old);
        }
    }
}

#[test]
fn a_move_needs_both_shards_drained() {
    let (moving, newest) = at_each_step().swap_remove(1);
    let version = newest.version();
    for order in [[ONE, TWO], [TWO, ONE]] {
        let mut moving = moving.clone();
        let [first, second] = order;
        for _ in 0..2 {
            let step = moving.drained(first, version).unwrap();
            assert_eq!(step, Step::Drain { at: version });
        }
        let step = moving.drained(second, version).unwrap();
        assert_eq!(step, Step::Copy { epoch: version });
    }
    let shard = THREE;
    let other = moving.clone().drained(shard, version);
    assert_eq!(other, Err(MoveError::OtherShard { shard }));
}

#[test]
fn a_finished_move_and_an_aborted_one_leave_the_map_as_they_should() {
    let before = small_map();
    let steps = at_each_step();
    let (_, done) = &steps[6];
    let (_, aborted) = &steps[9];
    for slot in [Slot(0), Slot(2)] {
        let now = done.assignment(slot).unwrap();
        assert_eq!((now.owner, now.moving_to), (TWO, None));
        assert_eq!(now.epoch, MapVersion(3), "frozen by 2, given by 3");
        let now = aborted.assignment(slot).unwrap();
        assert_eq!((now.owner, now.moving_to), (ONE, None));
        assert_eq!(now.epoch, MapVersion(3), "frozen by 2, opened by 3");
    }
    for map in [done, aborted] {
        assert_eq!(map.assignment(Slot(1)), before.assignment(Slot(1)));
        assert_eq!(map.moving().count(), 0);
    }
}

#[test]
fn a_commit_of_unknown_outcome_is_found_out_from_the_newest_map() {
    let (mut moving, newest) = at_each_step().swap_remove(3);
    let committed = moving.propose(&newest).unwrap().unwrap();
    let other = newest.with_shard(Shard::new(THREE, "db-3")).unwrap();

    // It was lost, and somebody else's change came in between: propose again.
    let mut lost = moving.clone();
    let again = lost.propose(&other).unwrap().unwrap();
    assert_eq!(again.version(), MapVersion(4));
    assert_eq!(lost.step(), Step::Commit);
    assert!(again.shard(THREE).is_some(), "made from the newest map");

    // It had gone through.
    let mut landed = moving.clone();
    assert_eq!(landed.propose(&committed), Ok(None));
    let at = committed.version();
    assert_eq!(landed.step(), Step::Open { at });

    // It had gone through, though the driver had given up and turned back.
    assert_eq!(moving.abort(), Ok(Step::Thaw));
    assert_eq!(moving.propose(&committed), Ok(None));
    assert_eq!(moving.step(), Step::Open { at });
}

#[test]
fn a_driver_that_was_overtaken_is_told() {
    for reached in [3, 7] {
        let (mut slow, newest) = at_each_step().swap_remove(reached);
        // The other driver dates the slots anew, and may go on to either end.
        let mut quick = SlotMove::take_over(&newest, Slot(0)).unwrap();
        assert_eq!(quick.slots(), slow.slots());
        let mut theirs = newest.clone();
        drive(&mut quick, &mut theirs, STEPS[1]);
        assert_eq!(slow.propose(&theirs), Err(MoveError::Overtaken));
        drive(&mut quick, &mut theirs, STEPS[6]);
        assert_eq!(slow.propose(&theirs), Err(MoveError::Overtaken));
    }
}

#[test]
fn a_move_taken_over_can_be_called_off() {
    let (_, newest) = at_each_step().swap_remove(2);
    let mut second = SlotMove::take_over(&newest, Slot(2)).unwrap();
    assert_eq!(second.abort(), Ok(Step::Thaw));
    let mut map = newest;
    drive(&mut second, &mut map, STEPS[9]);
    let now = map.assignment(Slot(0)).unwrap();
    assert_eq!((now.owner, now.moving_to), (ONE, None));
}

#[test]
fn turning_back_defeats_a_freeze_that_is_still_on_its_way() {
    let map = small_map();
    let mut moving = SlotMove::plan(&map, [Slot(0)], TWO).unwrap();
    let on_its_way = moving.propose(&map).unwrap().unwrap();
    assert_eq!(moving.abort(), Ok(Step::Thaw));
    let thawed = moving.propose(&map).unwrap().unwrap();
    assert_eq!(
        thawed.version(),
        on_its_way.version(),
        "the store takes one"
    );
    // Had the freeze been taken first, the thaw is proposed anew on top of it.
    let thawed = moving.propose(&on_its_way).unwrap().unwrap();
    assert_eq!(thawed.assignment(Slot(0)).unwrap().moving_to, None);

    // Nothing proposed, nothing to undo.
    let mut idle = SlotMove::plan(&map, [Slot(0)], TWO).unwrap();
    assert_eq!(idle.abort(), Ok(Step::Aborted));
}
