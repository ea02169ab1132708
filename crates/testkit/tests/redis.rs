//! A real Redis: it answers, it ends with its handle, and it can be killed, paused and brought back.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use purlin_testkit::{Error, Redis, wait_until};

/// One command over a connection of its own, and the first line of the answer.
fn ask(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn it_answers_and_ends_with_its_handle() -> Result<(), Error> {
    let redis = Redis::start()?;
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}/", redis.port()));
    let address = redis.address();
    assert_eq!(ask(address, "PING").unwrap(), "+PONG");
    let folder = folder_of(address);
    assert!(Path::new(&folder).is_dir());

    drop(redis);
    assert!(is_closed(address));
    assert!(!Path::new(&folder).exists());
    Ok(())
}

/// The server's folder, by its own account.
fn folder_of(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"CONFIG GET dir\r\n").unwrap();
    // *2, $3, dir, $LENGTH, FOLDER
    BufReader::new(stream).lines().nth(4).unwrap().unwrap()
}

#[test]
fn two_servers_share_nothing() -> Result<(), Error> {
    let (left, right) = (Redis::start()?, Redis::start()?);
    assert_ne!(left.port(), right.port());
    assert_eq!(ask(left.address(), "SET beam oak").unwrap(), "+OK");
    assert_eq!(ask(right.address(), "EXISTS beam").unwrap(), ":0");
    Ok(())
}

#[test]
fn what_was_synced_survives_a_kill() -> Result<(), Error> {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])?;
    let (address, pid) = (redis.address(), redis.pid());
    assert_eq!(ask(address, "SET beam oak").unwrap(), "+OK");

    redis.kill()?;
    assert_eq!(redis.pid(), None);
    assert!(is_closed(address));
    redis.kill()?; // A dead server can be killed again.

    redis.restart()?;
    assert_eq!(redis.address(), address);
    assert_ne!(redis.pid(), pid);
    assert_eq!(ask(address, "STRLEN beam").unwrap(), ":3");
    Ok(())
}

#[test]
fn a_paused_server_keeps_its_connections_and_answers_later() -> Result<(), Error> {
    let redis = Redis::start()?;
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    redis.pause()?;
    stream.write_all(b"PING\r\n").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let silence = BufReader::new(&stream)
        .read_line(&mut String::new())
        .unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );

    redis.resume()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "+PONG\r\n");
    Ok(())
}

#[test]
fn a_paused_server_ends_with_its_handle() -> Result<(), Error> {
    let redis = Redis::start()?;
    let address = redis.address();
    redis.pause()?;
    drop(redis);
    assert!(is_closed(address));
    Ok(())
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = Redis::start_with(&["--no-such-setting", "1"]).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert!(
        format!("{error:?}").contains("no-such-setting"),
        "{error:?}"
    );
}

/// A handle that is never dropped, as in a `static` or after an abort, does not leave its server behind.
#[test]
fn the_server_of_a_killed_test_process_ends_too() {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_purlin-servers"))
        .arg("--redis")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address: SocketAddr = line
        .trim()
        .strip_prefix("redis redis://")
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap();
    let folder = folder_of(address);

    program.kill().unwrap();
    program.wait().unwrap();
    wait_until("the end of the abandoned server", || {
        Ok(is_closed(address).then_some(()))
    })
    .unwrap();
    wait_until("the removal of its folder", || {
        Ok((!Path::new(&folder).exists()).then_some(()))
    })
    .unwrap();
}
