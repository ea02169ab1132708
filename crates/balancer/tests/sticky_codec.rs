//! The sealed text of a sticky client: what opens, what does not, and when it is due.
#![cfg(feature = "keyring")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use std::time::Duration;

use proptest::prelude::*;
use purlin_balancer::{Balancer, Node, NodeId, Policy, Stickiness, StickyCodec};
use purlin_core::{Keyring, ManualClock, SealingKey, WallTime};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn keyring(ids: &[u8]) -> Keyring {
    Keyring::new(ids.iter().map(|&id| SealingKey::new(id, [id; 32]))).unwrap()
}

fn codec_at(clock: &ManualClock, key_ids: &[u8]) -> StickyCodec<ManualClock> {
    StickyCodec::new("app", keyring(key_ids))
        .with_max_age(2 * HOUR)
        .with_clock(clock.clone())
}

#[test]
fn a_binding_ends_at_its_age_and_is_due_from_half_of_it() {
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_000_000));
    let codec = codec_at(&clock, &[1]);
    let text = codec.seal(NodeId(u64::MAX));
    assert_eq!(text.len(), 100);
    assert_eq!(
        codec.open(&text).map(|it| (it.node, it.is_due)),
        Some((NodeId(u64::MAX), false))
    );
    clock.advance(HOUR + Duration::from_millis(1));
    assert!(codec.open(&text).unwrap().is_due);
    clock.advance(HOUR - Duration::from_millis(1));
    assert!(codec.open(&text).is_some());
    clock.advance(Duration::from_millis(1));
    assert_eq!(codec.open(&text), None);
}

#[test]
fn ages_and_clocks_at_their_ends_are_no_trouble() {
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(5_000));
    let momentary = codec_at(&clock, &[1]).with_max_age(Duration::ZERO);
    let text = momentary.seal(NodeId(1));
    assert!(
        momentary.open(&text).is_some(),
        "at its very moment it still holds"
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(momentary.open(&text), None);

    let lasting = codec_at(&clock, &[1]).with_max_age(Duration::MAX);
    let text = lasting.seal(NodeId(1));
    clock.set_wall(WallTime::MAX);
    assert!(lasting.open(&text).is_some());
    clock.set_wall(WallTime::UNIX_EPOCH);
    assert!(
        lasting.open(&text).is_some(),
        "a clock set back only makes it last longer"
    );
}

#[test]
fn a_rotated_key_opens_and_makes_it_due_and_a_retired_one_does_not() {
    let clock = ManualClock::new();
    let text = codec_at(&clock, &[1]).seal(NodeId(3));
    let binding = codec_at(&clock, &[2, 1]).open(&text).unwrap();
    assert_eq!((binding.node, binding.is_due), (NodeId(3), true));
    assert_eq!(codec_at(&clock, &[2]).open(&text), None);
}

#[test]
fn another_purpose_or_another_spelling_is_none() {
    let clock = ManualClock::new();
    let codec = codec_at(&clock, &[1]);
    let text = codec.seal(NodeId(3));
    let other = StickyCodec::new("other", keyring(&[1])).with_clock(clock.clone());
    assert_eq!(other.open(&text), None);
    assert_eq!(codec.open(&text.to_uppercase()), None);
    for cut in 0..text.len() {
        assert_eq!(codec.open(&text[..cut]), None);
    }
    assert_eq!(codec.open(&format!("{text}00")), None);
}

/// A value that our own key sealed under the same purpose, with another layout inside.
#[test]
fn another_layout_under_our_own_seal_is_none() {
    let clock = ManualClock::new();
    let codec = codec_at(&clock, &[1]);
    let mut payload = [0u8; 17];
    payload[0] = 2;
    let sealed = keyring(&[1]).seal("app", &payload);
    let text: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text.len(), 100);
    assert_eq!(codec.open(&text), None);
}

/// A node that has left since the text was sealed: the client is balanced anew and told that it moved.
#[test]
fn a_node_that_is_gone_rebalances_its_client() {
    let clock = ManualClock::new();
    let codec = codec_at(&clock, &[1]);
    let balancer = Balancer::new(Policy::default(), [Node::new(NodeId(1), "a")]).unwrap();
    let bound = codec
        .open(&codec.seal(NodeId(77)))
        .map(|binding| binding.node);
    let sticky = balancer.pick_sticky(bound).unwrap();
    assert_eq!(sticky.outcome, Stickiness::Moved { from: NodeId(77) });
    assert_eq!(sticky.pick.id(), NodeId(1));
}

#[test]
fn debug_shows_no_key() {
    let codec = codec_at(&ManualClock::new(), &[171]);
    assert!(!format!("{codec:?}").contains("abab"));
    assert!(!format!("{codec:?}").contains("171, 171"));
}

proptest! {
    #[test]
    fn every_node_comes_back(node: u64) {
        let codec = codec_at(&ManualClock::new(), &[1]);
        prop_assert_eq!(codec.open(&codec.seal(NodeId(node))).map(|it| it.node), Some(NodeId(node)));
    }

    #[test]
    fn hostile_text_is_none(text in prop_oneof![".*", "[0-9a-f]{100}", "\\PC{100}"]) {
        prop_assert_eq!(codec_at(&ManualClock::new(), &[1]).open(&text), None);
    }

    #[test]
    fn one_changed_digit_is_none(node: u64, at in 0usize..100, digit in "[0-9a-f]") {
        let codec = codec_at(&ManualClock::new(), &[1]);
        let mut text = codec.seal(NodeId(node));
        prop_assume!(text[at..=at] != digit);
        text.replace_range(at..=at, &digit);
        prop_assert_eq!(codec.open(&text), None);
    }
}
