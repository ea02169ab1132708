//! Wrong input gets one clear line and exit code 2; a run gets its table and 0, or 1 if a promise was broken.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::Write;
use std::net::TcpListener;

use city::cli;

/// Exit code, standard output, standard error.
fn city(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::main(args, &mut out, &mut err).unwrap();
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

/// The one line.
fn refused(args: &[&str]) -> String {
    let (code, out, err) = city(args);
    assert_eq!((code, out.as_str()), (cli::WRONG, ""), "{args:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{args:?}: {err}");
    assert!(err.starts_with("city: "), "{err}");
    err
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    assert!(refused(&["--rate", "0"]).contains("--rate"));
    assert!(refused(&["--rabbits", "3"]).contains("--rabbits"));
    assert!(refused(&["--sabotage", "everything"]).contains("drop-session-write"));
    assert!(refused(&["--kill", "app-9@5s"]).contains("app-2@5s"));
    assert!(refused(&["--seconds"]).contains("--seconds"));
}

#[test]
fn a_trace_that_is_not_there_is_refused() {
    let line = refused(&["--trace", "no/such/trace.u32.zst"]);
    assert!(line.contains("no/such/trace.u32.zst"), "{line}");
}

#[test]
fn a_trace_that_is_cut_off_is_refused() {
    let ids: Vec<u8> = (0..5_000u32)
        .flat_map(|id| (id % 900).to_le_bytes())
        .collect();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let packed = ruzstd::encoding::compress_to_vec(&ids[..], level);
    for cut in [
        &packed[..packed.len() / 2],
        &packed[..packed.len() - 1],
        &ids[..1_001],
    ] {
        let file = file(cut);
        let path = file.path().to_str().unwrap();
        assert!(refused(&["--trace", path]).contains("cut off"));
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(refused(&["--port", &port]).contains(&port));
}

#[test]
fn help_names_every_flag() {
    let (code, out, _) = city(&["--help"]);
    assert_eq!(code, cli::CLEAN);
    for flag in [
        "--seconds",
        "--seed",
        "--rate",
        "--headless",
        "--trace",
        "--lag-ms",
        "--kill",
        "--sabotage",
    ] {
        assert!(out.contains(flag), "{flag} is not in --help");
    }
}

#[test]
fn a_trace_is_replayed_to_its_end_and_reported() {
    let ids: Vec<u8> = (0..300u32).flat_map(|id| (id % 40).to_le_bytes()).collect();
    let file = file(&ids);
    let trace = file.path().to_str().unwrap();
    let (code, out, err) = city(&["--headless", "--rate", "300", "--trace", trace]);
    assert_eq!(code, cli::CLEAN, "{out}{err}");
    assert!(out.contains("| 300 | "), "{out}");
    assert_eq!(out.matches(" 0 violations in ").count(), 5, "{out}");
}

#[test]
fn a_broken_promise_is_exit_code_1_and_its_story() {
    let (code, out, _) = city(&[
        "--headless",
        "--seconds",
        "2",
        "--rate",
        "200",
        "--sabotage",
        "wrong-shard",
    ]);
    assert_eq!(code, cli::VIOLATED, "{out}");
    assert!(
        out.contains("violated: no key is answered by a wrong shard"),
        "{out}"
    );
}
