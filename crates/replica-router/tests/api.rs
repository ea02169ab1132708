//! Which node a read or a write is sent to, and why.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod group;

use purlin_core::{Meter, Safety};
use purlin_replica_router::{
    Consistency, GroupId, Health, MembersError, NodeId, Policy, Read, ReadError, ReadRoute, Reason,
    Router, Standing, Token, TokenSet, Weight, WriteError, WriteRoute,
};

static_assertions::assert_impl_all!(Router: Send, Sync);
static_assertions::assert_impl_all!(ReadRoute: Send, Sync);
static_assertions::assert_impl_all!(WriteRoute: Send, Sync);

use crate::group::{FAR, GROUP, Group, NEAR, PRIMARY, fallback, node, token};

#[test]
fn a_write_goes_to_the_primary_and_its_token_to_replicas_that_have_it() {
    let group = Group::new();
    let route = group.router.route_write().unwrap();
    assert_eq!(
        (route.id(), route.epoch(), route.node().name.as_str()),
        (PRIMARY, 1, "db-1")
    );
    let mut session = TokenSet::new();
    session.record(route.token(70));
    group.observe(NEAR, 70);
    group.observe(FAR, 69);
    assert_eq!(group.readers(Consistency::ReadYourWrites(&session)), [NEAR]);
    assert_eq!(group.readers(Consistency::AtLeast(token(69))), [NEAR, FAR]);
    assert_eq!(
        group.read(Consistency::AtLeast(token(71))).unwrap(),
        (PRIMARY, fallback(|replicas| replicas.behind = 2))
    );
    assert_eq!(
        group.read(Consistency::Primary).unwrap(),
        (PRIMARY, Reason::PrimaryAsked)
    );
    assert_eq!(
        group.readers(Consistency::ReadYourWrites(&TokenSet::new())),
        [NEAR, FAR],
        "asks for nothing"
    );
}

#[test]
fn the_answers_position_makes_reads_monotonic() {
    let group = Group::new();
    group.observe(NEAR, 10);
    group.observe(FAR, 40);
    let route = group
        .router
        .route_read(Consistency::AtLeast(token(30)))
        .unwrap();
    assert_eq!((route.id(), route.epoch(), route.node().id), (FAR, 1, FAR));
    let seen = route.token(40);
    assert_eq!(group.readers(Consistency::AtLeast(seen)), [FAR]);
}

#[test]
fn a_token_of_another_group_is_a_mistake_of_the_callers() {
    let group = Group::new();
    let foreign = Token::new(GroupId(6), 1, 1);
    let error = group.read(Consistency::AtLeast(foreign)).unwrap_err();
    assert_eq!(
        error,
        ReadError::WrongGroup {
            token: foreign,
            group: GROUP
        }
    );
    assert_eq!(error.retry().safety, Safety::Never);
    let mut session = TokenSet::new();
    session.record(foreign);
    group.observe(NEAR, 0);
    assert_eq!(
        group.readers(Consistency::ReadYourWrites(&session)),
        [NEAR],
        "in a set it is just not ours"
    );
}

/// Regression list P6: every set of nodes that are up, draining or down has a defined answer.
#[test]
fn regress_p6_every_subset_of_the_dead_has_an_answer() {
    let healths = [Health::Up, Health::Draining, Health::Down];
    for combination in 0..27usize {
        let group = Group::new();
        let states = [combination % 3, combination / 3 % 3, combination / 9].map(|i| healths[i]);
        for (node, health) in [PRIMARY, NEAR, FAR].into_iter().zip(states) {
            group.observe(node, 10);
            assert_eq!(group.router.set_health(node, health), Some(Health::Up));
        }
        let up: Vec<NodeId> = [NEAR, FAR]
            .into_iter()
            .zip(&states[1..])
            .filter(|it| *it.1 == Health::Up)
            .map(|it| it.0)
            .collect();
        assert_eq!(group.readers(Consistency::Eventual), up, "{states:?}");
        let down = 2 - up.len();
        let primary_serves = states[0] != Health::Down;
        match group.read(Consistency::AtLeast(token(10))) {
            Ok((node, Reason::Replica)) => assert!(up.contains(&node)),
            Ok(primary) => {
                assert_eq!(primary, (PRIMARY, fallback(|replicas| replicas.down = 2)));
                assert!(up.is_empty() && primary_serves);
            }
            Err(error) => {
                assert!(up.is_empty() && !primary_serves);
                assert!(
                    matches!(error, ReadError::NoPrimary { node: PRIMARY, replicas } if replicas.down == down)
                );
            }
        }
        assert_eq!(group.read(Consistency::Primary).is_ok(), primary_serves);
        assert_eq!(group.router.route_write().is_ok(), primary_serves);
        if !primary_serves {
            let error = group.router.route_write().unwrap_err();
            assert_eq!(error, WriteError::PrimaryDown { node: PRIMARY });
            assert_eq!(error.retry().safety, Safety::Safe);
        }
    }
}

#[test]
fn what_was_tried_is_not_tried_again_and_replicas_only_means_it() {
    let group = Group::new();
    group.observe(NEAR, 10);
    group.observe(FAR, 10);
    let read = Read::from(Consistency::AtLeast(token(10)));
    assert_eq!(
        group
            .router
            .route_read(read.excluding(&[NEAR]))
            .unwrap()
            .id(),
        FAR
    );
    let route = group
        .router
        .route_read(read.excluding(&[NEAR, FAR]))
        .unwrap();
    assert_eq!(
        (route.id(), route.reason()),
        (PRIMARY, fallback(|replicas| replicas.excluded = 2))
    );
    let all = [PRIMARY, NEAR, FAR];
    let error = group.router.route_read(read.excluding(&all)).unwrap_err();
    assert!(matches!(error, ReadError::NoPrimary { node: PRIMARY, .. }));
    let behind = Read::from(Consistency::AtLeast(token(11)))
        .excluding(&[FAR])
        .replicas_only();
    let error = group.router.route_read(behind).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no replica is fresh enough (1 behind, 0 recovering, 0 unknown, 0 diverged, 0 down, 1 excluded)"
    );
    assert!(error.retry().delay(false).is_some());
    let asked = Read::from(Consistency::Primary).replicas_only();
    assert_eq!(
        group.router.route_read(asked).unwrap().id(),
        PRIMARY,
        "asked for outright"
    );
}

#[test]
fn reads_are_spread_by_what_is_in_flight_and_by_weight() {
    let group = Group::new();
    group
        .router
        .set_members([node(PRIMARY), node(NEAR).with_weight(Weight(3)), node(FAR)])
        .unwrap();
    group.observe(NEAR, 1);
    group.observe(FAR, 1);
    let held: Vec<ReadRoute> = (0..400)
        .map(|_| group.router.route_read(Consistency::Eventual).unwrap())
        .collect();
    let in_flight: Vec<u64> = group
        .router
        .members()
        .iter()
        .map(|member| member.in_flight)
        .collect();
    assert_eq!(in_flight[0], 0);
    assert!(
        in_flight[1].abs_diff(300) <= 2 && in_flight[2].abs_diff(100) <= 2,
        "{in_flight:?}"
    );
    drop(held);
    assert_eq!(group.router.stats().in_flight, 0);
}

/// The primary's turns go to nobody in particular, so the replicas share evenly.
#[test]
fn round_robin_takes_replicas_in_turn() {
    let group = Group::with(|builder| builder.policy(Policy::RoundRobin));
    group.observe(NEAR, 1);
    group.observe(FAR, 1);
    let order: Vec<u64> = (0..6)
        .map(|_| group.read(Consistency::Eventual).unwrap().0.0)
        .collect();
    assert!(
        order == [2, 3, 2, 3, 2, 3] || order == [3, 2, 3, 2, 3, 2],
        "{order:?}"
    );
}

#[test]
fn members_come_and_go_and_those_who_stay_are_known() {
    let group = Group::new();
    group.observe(PRIMARY, 10);
    group.observe(NEAR, 10);
    group.observe(FAR, 10);
    let newcomer = NodeId(4);
    group
        .router
        .set_members([node(newcomer), node(PRIMARY), node(NEAR)])
        .unwrap();
    assert_eq!(group.readers(Consistency::AtLeast(token(10))), [NEAR]);
    assert_eq!(group.observe(newcomer, 10), Standing::Following);
    assert_eq!(group.router.set_health(FAR, Health::Up), None);
    let twice = [node(PRIMARY), node(NEAR), node(NEAR)];
    assert_eq!(
        group.router.set_members(twice),
        Err(MembersError::DuplicateNode(NEAR))
    );
    assert_eq!(
        group.router.set_members([node(NEAR)]),
        Err(MembersError::PrimaryMissing(PRIMARY))
    );
    let many = (1..=65).map(|id| node(NodeId(id)));
    assert_eq!(
        group.router.set_members(many),
        Err(MembersError::TooMany(65))
    );
    assert_eq!(
        group.router.members().len(),
        3,
        "a bad list changes nothing"
    );
    group.router.set_members([node(PRIMARY)]).unwrap();
    assert_eq!(
        group.read(Consistency::Eventual).unwrap(),
        (PRIMARY, fallback(|_| {})),
        "no replicas at all"
    );
}

#[test]
fn a_group_can_start_from_its_history() {
    let build = |promotions: &[(u64, u64)]| {
        Router::builder(GROUP)
            .epoch(2)
            .history(promotions.iter().copied())
            .build(node(PRIMARY), [node(NEAR)])
    };
    let router = build(&[(5, 100), (6, 90)]).unwrap();
    assert_eq!(router.primary(), (6, PRIMARY));
    assert_eq!(router.history(), [(2, 0), (5, 100), (6, 90)]);
    assert_eq!(router.epoch_start(), Token::new(GROUP, 6, 90));
    let old = |position| Consistency::AtLeast(Token::new(GROUP, 2, position));
    assert_eq!(router.route_read(old(90)).unwrap().id(), PRIMARY);
    assert!(matches!(
        router.route_read(old(91)),
        Err(ReadError::WriteLost { kept: 90, .. })
    ));
    assert_eq!(
        build(&[(5, 1), (5, 2)]).err(),
        Some(MembersError::HistoryOutOfOrder(5))
    );
    assert_eq!(
        build(&[(2, 1)]).err(),
        Some(MembersError::HistoryOutOfOrder(2))
    );
    let doubled = Router::new(GROUP, node(PRIMARY), [node(PRIMARY)]);
    assert_eq!(doubled.err(), Some(MembersError::DuplicateNode(PRIMARY)));
}

#[test]
fn counters_can_be_pulled() {
    let group = Group::new();
    group.observe(NEAR, 1);
    let _write = group.router.route_write().unwrap();
    let _replica = group
        .router
        .route_read(Consistency::AtLeast(token(1)))
        .unwrap();
    let _primary = group.router.route_read(Consistency::Primary).unwrap();
    let _fallback = group
        .router
        .route_read(Consistency::AtLeast(token(2)))
        .unwrap();
    group.router.promote(NEAR, 2, 0).unwrap();
    group.router.promote(FAR, 2, 0).unwrap_err();
    group
        .router
        .route_read(Consistency::AtLeast(token(1)))
        .unwrap_err();
    group.router.set_health(NEAR, Health::Down);
    group.router.route_write().unwrap_err();
    let mut lines = Vec::new();
    group.router.stats().read(&mut |reading| {
        let name = reading.name.strip_prefix("purlin_replica_router_").unwrap();
        lines.push(format!("{name} {}", reading.value));
    });
    assert_eq!(
        lines,
        [
            "reads_replica_total 1",
            "reads_primary_total 1",
            "reads_fallback_total 1",
            "reads_refused_total 1",
            "reads_of_lost_writes_total 1",
            "writes_total 1",
            "writes_refused_total 1",
            "observations_total 1",
            "promotions_total 1",
            "promotions_refused_total 1",
            "epoch 2",
            "fenced 0",
            "replicas 2",
            "replicas_following 0",
            "in_flight_requests 4",
        ]
    );
    assert!(format!("{:?}", group.router).contains("GroupId(5)"));
}
