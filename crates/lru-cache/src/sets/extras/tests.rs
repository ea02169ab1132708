use alloc::vec::Vec;

use super::*;

fn mortal(dies_at: u64) -> Extra {
    Extra {
        life: Life {
            dies_at: Tick::from_nanos(dies_at),
            ..Life::ENDLESS
        },
        ..Extra::PLAIN
    }
}

fn heavy(weight: usize) -> Extra {
    Extra {
        weight,
        ..Extra::PLAIN
    }
}

/// Entries that live for milliseconds, over and over, beside one that lives for a month.
#[test]
fn the_base_moves_on_and_takes_nothing_from_those_who_live_long() {
    let month = 30 * 86_400 * 1_000_000_000;
    for is_short in [false, true] {
        let mut extras = Extras::new(Tick::ZERO);
        extras.push(1, mortal(month), Tick::ZERO);
        extras.push(2, mortal(1_000_000), Tick::ZERO);
        let (width, bits) = if is_short { (3, 13) } else { (4, 17) };
        if is_short {
            extras.shrink(Tick::ZERO);
        }
        let at_first = extras.life(0).dies_at.as_nanos();
        assert!(month - at_first <= month >> bits);
        for n in 0..200_000u64 {
            let now = n * 300_000_007;
            let dies_at = now + 1_000_000;
            extras.set(2, 1, mortal(dies_at), Tick::from_nanos(now));
            let kept = extras.life(1).dies_at.as_nanos();
            assert!(kept <= dies_at && dies_at - kept < 1_000_000 >> (bits - 1));
        }
        assert_eq!(extras.life(0).dies_at.as_nanos(), at_first);
        assert!(extras.base() > Tick::ZERO);
        assert_eq!(extras.width(), width, "no byte more was wanted");
    }
}

/// One that is over and kept holds the base back. Then deadlines take a byte more, and those there are stay what they were.
#[test]
fn a_base_that_is_held_back_makes_nobody_die_early() {
    let second = 1_000_000_000;
    let mut extras = Extras::new(Tick::ZERO);
    extras.push(1, mortal(5 * second), Tick::ZERO);
    extras.push(2, mortal(6 * second), Tick::ZERO);
    extras.push(3, mortal(7 * second), Tick::ZERO);
    extras.shrink(Tick::ZERO);
    assert_eq!(extras.width(), 3);
    let over = (extras.life(0), extras.life(2));
    for hours in 0..48 {
        let now = hours * 3_600 * second;
        for lasts in [second, 60 * second, 3_600 * second] {
            let dies_at = now + lasts;
            extras.set(3, 1, mortal(dies_at), Tick::from_nanos(now));
            let kept = extras.life(1).dies_at.as_nanos();
            let most = (lasts >> 12).max(now >> 25);
            assert!(kept <= dies_at && dies_at - kept < most, "{hours}");
        }
        assert_eq!((extras.life(0), extras.life(2)), over, "{hours}");
    }
    assert_eq!(extras.width(), 4);
    extras.shrink(Tick::from_nanos(48 * 3_600 * second));
    assert_eq!(extras.width(), 4, "it is wanted still");
}

/// So it is after years of running, where the base is written down coarsely.
#[test]
fn short_lives_are_exact_late_as_well() {
    let year = 365 * 86_400 * 1_000_000_000;
    for years in [1, 10, 100, 500] {
        let mut extras = Extras::new(Tick::from_nanos(years * year));
        for n in 0..1_000u64 {
            let now = years * year + n * 700_000_001;
            for (at, lasts) in [1_000_000, 50_000_000, 3_600_000_000_000]
                .into_iter()
                .enumerate()
            {
                let (extra, now) = (mortal(now + lasts), Tick::from_nanos(now));
                if n == 0 {
                    extras.push(at + 1, extra, now);
                } else {
                    extras.set(3, at, extra, now);
                }
                if n == 1 {
                    extras.shrink(now);
                }
                let kept = extras.life(at).dies_at.as_nanos() - now.as_nanos();
                // Where the base is coarse by seconds, a step of the long coding is some hundred nanoseconds.
                let most = (lasts >> 12).max(years * 64);
                assert!(
                    kept <= lasts && lasts - kept < most,
                    "{years} {lasts} {kept}"
                );
            }
        }
    }
}

#[test]
fn a_time_to_idle_is_kept_as_a_deadline_is() {
    let idle = |idle_at: u64| Extra {
        life: Life {
            idle_at: Tick::from_nanos(idle_at),
            ..Life::ENDLESS
        },
        ..Extra::PLAIN
    };
    let mut extras = Extras::new(Tick::ZERO);
    extras.push(1, idle(500), Tick::ZERO);
    assert_eq!((extras.get(0), extras.width()), (idle(500), 4));
    extras.push(2, mortal(700), Tick::ZERO);
    assert_eq!((extras.get(0), extras.get(1)), (idle(500), mortal(700)));
    assert_eq!(
        (extras.width(), extras.earliest(2)),
        (8, Tick::from_nanos(500))
    );
}

#[test]
fn rows_have_bytes_for_what_was_seen_and_no_more() {
    let mut extras = Extras::new(Tick::ZERO);
    extras.push(1, mortal(500), Tick::ZERO);
    assert_eq!(extras.width(), 4);
    extras.shrink(Tick::ZERO);
    assert_eq!(extras.width(), 3);
    extras.push(2, heavy(7), Tick::ZERO);
    assert_eq!(extras.width(), 4);
    extras.push(3, heavy(usize::MAX), Tick::ZERO);
    extras.push(4, heavy(0), Tick::ZERO);
    assert_eq!(extras.width(), 3 + size_of::<usize>());
    assert_eq!(extras.get(0), mortal(500));
    assert_eq!(
        (extras.get(1), extras.get(2)),
        (heavy(7), heavy(usize::MAX))
    );
    extras.swap_remove(4, 0);
    assert_eq!(extras.get(0), heavy(0));
    assert_eq!((extras.get(2), extras.len), (heavy(usize::MAX), 3));
    assert_eq!(extras.earliest(3), Tick::MAX);
}

#[test]
fn a_weight_takes_as_many_bytes_as_the_greatest() {
    let mut extras = Extras::new(Tick::ZERO);
    extras.push(1, heavy(1), Tick::ZERO);
    assert_eq!(extras.width(), 0);
    let mut len = 1;
    for (bits, bytes) in [
        (7, 1),
        (8, 2),
        (15, 2),
        (16, 3),
        (23, 3),
        (24, 4),
        (31, 4),
        (32, 8),
    ] {
        for weight in [1u64 << bits, (2u64 << bits) - 1] {
            let Ok(weight) = usize::try_from(weight) else {
                continue;
            };
            len += 1;
            extras.push(len, heavy(weight), Tick::ZERO);
            assert_eq!(extras.weight(len - 1), weight);
            assert_eq!(extras.width(), bytes, "{weight}");
        }
    }
    assert_eq!(extras.get(0), Extra::PLAIN);
}

/// Everything that can be known of an entry, in any order, beside a vector of it.
#[test]
fn a_row_says_what_was_written_whatever_came_beside_it() {
    let mut rng = purlin_core::Rng::from_seed(8);
    for _ in 0..200 {
        let (mut extras, mut model) = (Extras::new(Tick::ZERO), Vec::new());
        for _ in 0..60 {
            let extra = any_extra(&mut rng);
            let at = rng.below(model.len() as u64 + 1) as usize;
            match rng.below(4) {
                0 if at < model.len() => {
                    extras.swap_remove(model.len(), at);
                    model.swap_remove(at);
                }
                1 if at < model.len() => {
                    extras.set(model.len(), at, extra, Tick::ZERO);
                    model[at] = extra;
                }
                _ => {
                    model.push(extra);
                    extras.push(model.len(), extra, Tick::ZERO);
                }
            }
            let kept: Vec<Extra> = (0..model.len()).map(|at| extras.get(at)).collect();
            assert_eq!(kept, model);
        }
        extras.shrink(Tick::ZERO);
        assert_eq!(extras.rows.len(), model.len() * extras.width());
        let kept: Vec<Extra> = (0..model.len()).map(|at| extras.get(at)).collect();
        assert_eq!(kept, model);
    }
}

/// Plain in most respects. Its deadlines are short enough to be exact.
fn any_extra(rng: &mut purlin_core::Rng) -> Extra {
    let mut extra = Extra::PLAIN;
    let end = |rng: &mut purlin_core::Rng| Tick::from_nanos(rng.below(1 << 18));
    match rng.below(12) {
        0 => extra.weight = rng.next_u64() as usize >> rng.below(u64::from(usize::BITS)),
        1 => extra.life.dies_at = end(rng),
        2 => extra.life.idle_at = end(rng),
        3 => extra.cost = rng.next_u64() as u32,
        4 => {
            let since = rng.next_u64() >> rng.below(64);
            let tags = 1 + rng.below(4) as usize;
            let mut slots = [0; 4];
            slots[..tags].fill_with(|| 1 + rng.below(9) as u16);
            extra.life.label = Label { since, slots };
        }
        _ => {}
    }
    extra
}
