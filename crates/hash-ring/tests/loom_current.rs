//! Every interleaving of publishers and readers of one version in use, under loom:
//! `RUSTFLAGS="--cfg purlin_loom" cargo test --release -p purlin-hash-ring --test loom_current`.
#![cfg(purlin_loom)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use loom::thread;
use purlin_hash_ring::{Current, PublishErrorKind, Published, Reader, Versioned};

/// A number and what it stands for, with nothing to look up.
#[derive(Clone, Debug, PartialEq)]
struct Version(u64, &'static str);

impl Versioned for Version {
    fn version(&self) -> u64 {
        self.0
    }
    fn continues(&self, _: &Self) -> bool {
        true
    }
}

/// Two publishers and a reader: whoever comes first, the reader never goes back, and the newer version stays.
#[test]
fn ring_r6_versions_only_go_up_in_every_order() {
    loom::model(|| {
        let current = Arc::new(Current::new(Version(1, "")));
        let publishers: Vec<_> = [2, 3]
            .map(|version| {
                let current = Arc::clone(&current);
                thread::spawn(move || match current.publish(Version(version, "")) {
                    Ok(Published::Replaced(change)) => {
                        assert!(change.from().0 < change.to().0);
                    }
                    Ok(Published::Unchanged) => panic!("nobody published it before"),
                    Err(refused) => {
                        let older = PublishErrorKind::Older {
                            current: 3,
                            offered: 2,
                        };
                        assert_eq!(refused.kind(), older);
                    }
                })
            })
            .into_iter()
            .collect();
        let mut reader = Reader::new(Arc::clone(&current));
        let mut seen = 0;
        for _ in 0..2 {
            let version = reader.get().0;
            assert!(version >= seen, "the reader went back");
            assert!(current.version() >= version, "what is in use went back");
            seen = version;
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert_eq!(current.get().0, 3);
        assert_eq!(
            reader.get().0,
            3,
            "the reader misses what was published before"
        );
    });
}

/// Two contents of one version: one is in use for all, the other is refused and given back.
#[test]
fn ring_of_two_contents_of_a_version_one_is_in_use() {
    loom::model(|| {
        let current = Arc::new(Current::new(Version(1, "")));
        let other = {
            let current = Arc::clone(&current);
            thread::spawn(move || {
                current
                    .publish(Version(2, "theirs"))
                    .map_err(|refused| refused.into_version())
            })
        };
        let ours = current
            .publish(Version(2, "ours"))
            .map_err(|refused| refused.into_version());
        let theirs = other.join().unwrap();
        let in_use = current.get().1;
        match (ours, theirs) {
            (Ok(_), Err(back)) => assert_eq!((in_use, back.1), ("ours", "theirs")),
            (Err(back), Ok(_)) => assert_eq!((in_use, back.1), ("theirs", "ours")),
            (ours, theirs) => panic!("both or neither: {ours:?} {theirs:?}"),
        }
    });
}
