//! What fuzzing started from and what it found, replayed: every file in `regressions/inputs` is an input of the
//! fuzz target `shard_map_decode`. A new find goes there, under a name that tells its story.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "regressions/check.rs"]
mod check;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_has_an_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions/inputs");
    let (mut as_it_is, mut as_a_body, mut neither) = (0, 0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let [plain, sealed] = check::check(&fs::read(&path).unwrap());
        // The names say what each is, so that a file that has lost its point shows.
        match name.split('-').next() {
            Some("map") => {
                assert!(plain.is_ok(), "{name}: {plain:?}");
                as_it_is += 1;
            }
            Some("body") => {
                assert!(sealed.is_ok(), "{name}: {sealed:?}");
                as_a_body += 1;
            }
            _ => {
                assert!(plain.is_err() && sealed.is_err(), "{name}");
                neither += 1;
            }
        }
    }
    assert!(as_it_is > 0 && as_a_body > 0 && neither > 0);
}
