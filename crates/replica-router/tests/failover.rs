//! Promotions: who gets the writes, what becomes of tokens, and which logs are still one log.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use purlin_core::{Clock, ManualClock, Safety};
use purlin_replica_router::{
    Consistency, GroupId, Health, Node, NodeId, Observation, PromoteError, Read, ReadError, Reason,
    Router, Standing, Token, TokenSet, WriteError,
};

const GROUP: GroupId = GroupId(1);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

struct Group {
    clock: ManualClock,
    router: Router<ManualClock>,
}

impl Group {
    /// `A` is the primary of epoch 1, at position 60 and ten milliseconds ago at 50; `B` has come to 50 and `C` to
    /// 55.
    fn new() -> Self {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(10));
        let node = |id: NodeId| Node::new(id, format!("db-{}", id.0));
        let router = Router::builder(GROUP)
            .clock(clock.clone())
            .seed(4)
            .build(node(A), [node(B), node(C)])
            .unwrap();
        let group = Group { clock, router };
        group.observe(A, 1, 50);
        group.clock.advance(Duration::from_millis(10));
        group.observe(A, 1, 60);
        group.observe(B, 1, 50);
        group.observe(C, 1, 55);
        group
    }

    fn observe(&self, node: NodeId, epoch: u64, position: u64) -> Standing {
        let at = self.clock.now();
        self.router
            .observe(
                node,
                Observation::Position {
                    epoch,
                    position,
                    at,
                },
            )
            .unwrap()
    }

    fn writer(&self) -> Result<(NodeId, u64), WriteError> {
        self.router
            .route_write()
            .map(|route| (route.id(), route.epoch()))
    }

    fn read(&self, epoch: u64, position: u64) -> Result<(NodeId, bool), ReadError> {
        let token = Token::new(GROUP, epoch, position);
        let route = self.router.route_read(Consistency::AtLeast(token))?;
        Ok((route.id(), route.reason() == Reason::Replica))
    }
}

#[test]
fn a_promotion_moves_the_writes_and_must_be_of_a_later_epoch() {
    let group = Group::new();
    assert_eq!(group.writer(), Ok((A, 1)));
    group.router.promote(B, 2, 50).unwrap();
    assert_eq!(group.writer(), Ok((B, 2)));
    for (node, epoch) in [(C, 2), (B, 2), (A, 1), (C, 0)] {
        let error = group.router.promote(node, epoch, 50).unwrap_err();
        assert_eq!(
            error,
            PromoteError::NotLater {
                claimed: epoch,
                epoch: 2,
                primary: B
            }
        );
        assert_eq!(error.retry().safety, Safety::Never);
    }
    assert_eq!(
        group.router.promote(NodeId(9), 3, 50),
        Err(PromoteError::UnknownNode(NodeId(9)))
    );
    assert_eq!(group.writer(), Ok((B, 2)));
}

/// Regression list P3: two nodes claim to be the primary. The later epoch gets the writes, in whichever order the
/// claims are heard.
#[test]
fn regress_p3_of_two_claims_the_later_epoch_wins() {
    let claims = [(A, 1, 60), (B, 2, 50), (C, 3, 45)];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let group = Group::new();
        let mut highest = 1;
        for claim in order {
            let (node, epoch, position) = claims[claim];
            let believed = group.router.promote(node, epoch, position).is_ok();
            assert_eq!(believed, epoch > highest);
            highest = highest.max(epoch);
            assert_eq!(group.writer().unwrap().1, highest);
        }
        assert_eq!(group.writer(), Ok((C, 3)));
    }
}

/// Regression list P3: no write goes to a primary after the first evidence that it was deposed.
#[test]
fn regress_p3_a_node_seen_in_a_later_epoch_fences_the_old_primary() {
    let group = Group::new();
    assert_eq!(group.observe(C, 2, 56), Standing::EpochAhead { epoch: 2 });
    let fenced = WriteError::Fenced { epoch: 1, seen: 2 };
    assert_eq!(group.writer(), Err(fenced));
    assert_eq!(fenced.retry().safety, Safety::Safe);
    let refused = ReadError::Fenced { epoch: 1, seen: 2 };
    let bounded = Consistency::BoundedStaleness(Duration::MAX);
    assert_eq!(
        group.router.route_read(Consistency::Primary).unwrap_err(),
        refused
    );
    assert_eq!(
        group.router.route_read(bounded).unwrap_err(),
        refused,
        "nobody knows what is committed now"
    );
    assert_eq!(
        group.read(1, 60).unwrap_err(),
        refused,
        "no replica has it, and the primary is none"
    );
    assert_eq!(
        group.read(1, 50),
        Ok((B, true)),
        "a log that has the write still has it"
    );
    assert!(group.router.stats().is_fenced);
    // The old primary's word does not lift it, nor does a promotion that is itself out of date.
    group.observe(A, 1, 61);
    assert_eq!(group.writer(), Err(fenced));
    group.observe(B, 4, 70);
    group.router.promote(B, 3, 50).unwrap();
    assert_eq!(
        group.writer(),
        Err(WriteError::Fenced { epoch: 3, seen: 4 })
    );
    group.router.promote(B, 4, 50).unwrap();
    assert_eq!(group.writer(), Ok((B, 4)));
}

/// The primary itself may be the one who is seen in a later epoch: demoted and following somebody.
#[test]
fn the_primary_in_a_later_epoch_is_no_primary() {
    let group = Group::new();
    assert_eq!(
        group.observe(A, 2, 50),
        Standing::Primary,
        "as far as this router was told"
    );
    assert_eq!(
        group.writer(),
        Err(WriteError::Fenced { epoch: 1, seen: 2 })
    );
}

/// The write of a token was acknowledged by the old primary and never came to the new one. Satisfying the token
/// with what there is would hide the loss.
#[test]
fn a_token_behind_the_fork_is_told_that_its_write_is_lost() {
    let group = Group::new();
    let lost = Token::new(GROUP, 1, 51);
    group.router.promote(B, 2, 50).unwrap();
    group.observe(B, 2, 80);
    group.observe(C, 2, 80);
    let error = group.read(1, 51).unwrap_err();
    assert_eq!(
        error,
        ReadError::WriteLost {
            token: lost,
            kept: 50,
            epoch: 2
        }
    );
    assert_eq!(error.retry().safety, Safety::Never);
    assert_eq!(
        error.to_string(),
        "the write at 51 of epoch 1 was lost: epoch 2 kept 50"
    );
    let replicas = Read::from(Consistency::AtLeast(lost)).replicas_only();
    assert!(
        group.router.route_read(replicas).is_err(),
        "whatever the position of anybody"
    );
    assert_eq!(group.read(1, 50), Ok((C, true)), "what was kept is kept");

    // Told of it, the client goes on from where the new epoch began.
    let mut session = TokenSet::new();
    session.record(lost);
    session.record(group.router.epoch_start());
    assert_eq!(
        group
            .router
            .route_read(Consistency::ReadYourWrites(&session))
            .unwrap()
            .id(),
        C
    );
    assert_eq!(group.router.stats().reads_of_lost_writes, 2);
}

#[test]
fn a_token_from_an_instance_that_knows_more_waits_for_the_news() {
    let group = Group::new();
    let ahead = Token::new(GROUP, 2, 51);
    let error = group.read(2, 51).unwrap_err();
    assert_eq!(
        error,
        ReadError::EpochAhead {
            token: ahead,
            epoch: 1
        }
    );
    assert!(error.retry().delay(false) > Some(Duration::ZERO));
    assert_eq!(
        group.writer(),
        Ok((A, 1)),
        "a token may be forged: it stops its own read and nothing else"
    );
    group.router.promote(B, 2, 50).unwrap();
    group.observe(C, 2, 51);
    assert_eq!(group.read(2, 51), Ok((C, true)));
}

#[test]
fn a_token_of_an_epoch_nobody_told_of_is_not_guessed_at() {
    let group = Group::new();
    group.router.promote(B, 4, 50).unwrap();
    let token = Token::new(GROUP, 3, 10);
    assert_eq!(
        group.read(3, 10).unwrap_err(),
        ReadError::EpochUnknown { token, epoch: 4 }
    );
    assert_eq!(
        group.read(1, 10).unwrap(),
        (B, false),
        "known, kept, and nobody but the primary to serve it"
    );
}

/// `C` had come further than `B`, which was promoted. Equal numbers mean different writes from then on.
#[test]
fn a_replica_behind_the_fork_serves_nothing_until_it_is_rewound() {
    let group = Group::new();
    group.router.promote(B, 2, 50).unwrap();
    let standing = |node: NodeId| {
        group
            .router
            .members()
            .iter()
            .find(|member| member.id == node)
            .unwrap()
            .standing
    };
    assert_eq!(standing(C), Standing::Diverged);
    group.observe(B, 2, 54);
    assert_eq!(
        group.read(2, 54),
        Ok((B, false)),
        "55 of the old log is not 54 of the new"
    );
    let eventual = Read::from(Consistency::Eventual).replicas_only();
    let error = group.router.route_read(eventual).unwrap_err();
    assert!(
        matches!(error, ReadError::NoneFresh(replicas) if replicas.diverged == 1 && replicas.unknown == 1)
    );
    // Still in the old epoch and before the fork: a shorter, true beginning of the present log. Having been
    // wrong, it owes three good observations.
    group.observe(C, 1, 57);
    assert_eq!(standing(C), Standing::Diverged);
    let regained: Vec<Standing> = (0..3).map(|_| group.observe(C, 2, 54)).collect();
    let recovering = |owed| Standing::Recovering { owed };
    assert_eq!(
        regained,
        [recovering(2), recovering(1), Standing::Following]
    );
    assert_eq!(group.read(2, 54), Ok((C, true)));
}

#[test]
fn a_replica_before_the_fork_goes_on_serving() {
    let group = Group::new();
    group.router.promote(C, 2, 55).unwrap();
    assert_eq!(group.read(1, 50), Ok((B, true)));
    assert_eq!(group.read(1, 55), Ok((C, false)));
}

#[test]
fn the_deposed_primary_is_a_replica_that_nothing_is_known_of() {
    let group = Group::new();
    group.router.promote(B, 2, 50).unwrap();
    let deposed = || group.router.members()[0];
    assert_eq!(
        (deposed().id, deposed().standing, deposed().position),
        (A, Standing::Unknown, None)
    );
    assert_eq!(group.observe(A, 1, 60), Standing::Diverged);
    for _ in 0..3 {
        group.observe(A, 2, 52);
    }
    assert_eq!(group.read(2, 52), Ok((A, true)));
    // Promoted again, and deposed again: what was known from between does not count.
    group.router.promote(A, 3, 52).unwrap();
    group.router.promote(C, 4, 52).unwrap();
    assert_eq!(
        (deposed().standing, deposed().position),
        (Standing::Unknown, None)
    );
}

/// An old primary that lived on after its fall may have said that nothing was committed while the new one was
/// committing. So ages of its time are not believed, even where its log and the new one agree.
#[test]
fn ages_are_measured_against_the_new_primary_from_its_first_word() {
    let group = Group::new();
    let bounded = || {
        let consistency = Consistency::BoundedStaleness(Duration::MAX);
        group
            .router
            .route_read(Read::from(consistency).replicas_only())
            .map(|route| route.id())
    };
    assert!(bounded().is_ok());
    group.router.promote(C, 2, 55).unwrap();
    group.observe(B, 1, 50);
    assert!(
        bounded().is_err(),
        "nobody knows what the new primary has committed"
    );
    group.observe(C, 1, 50);
    assert!(
        bounded().is_err(),
        "a primary that reports its old epoch dates nothing"
    );
    group.observe(C, 2, 50);
    assert_eq!(bounded(), Ok(B));
}

#[test]
fn a_lag_measured_against_the_old_primary_is_worth_nothing() {
    let group = Group::new();
    let at = group.clock.now();
    group
        .router
        .observe(
            C,
            Observation::Lag {
                epoch: 1,
                seconds: 0.0,
                at,
            },
        )
        .unwrap();
    group.router.promote(B, 2, 50).unwrap();
    let eventual = Read::from(Consistency::Eventual).replicas_only();
    assert!(group.router.route_read(eventual).is_err());
    let standing = group
        .router
        .observe(
            C,
            Observation::Lag {
                epoch: 1,
                seconds: 0.0,
                at,
            },
        )
        .unwrap();
    assert_eq!(standing, Standing::Unknown, "still behind the old one");
    for _ in 0..3 {
        group
            .router
            .observe(
                C,
                Observation::Lag {
                    epoch: 2,
                    seconds: 0.0,
                    at,
                },
            )
            .unwrap();
    }
    assert_eq!(group.router.route_read(eventual).unwrap().id(), C);
}

#[test]
fn a_dead_primary_takes_nothing_until_another_is_promoted() {
    let group = Group::new();
    group.router.set_health(A, Health::Down);
    assert_eq!(group.writer(), Err(WriteError::PrimaryDown { node: A }));
    assert_eq!(
        group.read(1, 55),
        Ok((C, true)),
        "reads that replicas can serve go on"
    );
    group.router.promote(C, 2, 55).unwrap();
    assert_eq!(group.writer(), Ok((C, 2)));
}

#[test]
fn the_last_epoch_there_is_can_be_reached_and_not_passed() {
    let group = Group::new();
    group.router.promote(B, u64::MAX, u64::MAX).unwrap();
    assert_eq!(group.writer(), Ok((B, u64::MAX)));
    assert!(group.router.promote(C, u64::MAX, 0).is_err());
    assert_eq!(group.read(1, u64::MAX).unwrap().0, B);
}
