//! What fuzzing started from and what it found, replayed: every file in `regressions/inputs` is an input of the
//! fuzz target `session_cookie_decode`. A new find goes there, under a name that tells its story.
#![cfg(feature = "keyring")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "regressions/check.rs"]
mod check;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_has_an_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions/inputs");
    let (mut ids, mut tokens, mut neither) = (0, 0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let taken = check::check(&fs::read(&path).unwrap());
        // The names say what each is, so that a file that has lost its point shows.
        let kind = name.split('-').next().unwrap();
        assert_eq!(taken.id, kind == "id", "{name}");
        assert_eq!(taken.token, kind == "token", "{name}");
        ids += u32::from(taken.id);
        tokens += u32::from(taken.token);
        neither += u32::from(!taken.id && !taken.token);
    }
    assert!(ids > 0 && tokens > 0 && neither > 0);
}
