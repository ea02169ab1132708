//! A real PostgreSQL with streaming standbys: it replicates, lags and fails over when told to, and ends with its handle.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use purlin_testkit::{Error, Postgres, PostgresCluster, wait_until};

fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_write_on_the_primary_is_read_on_each_standby() -> Result<(), Error> {
    let cluster = PostgresCluster::start(2)?;
    cluster.primary().query("create table beams (name text)")?;
    cluster
        .primary()
        .query("insert into beams values ('oak'), ('larch')")?;
    let written = cluster.primary().wal_position()?;
    for standby in cluster.standbys() {
        standby.wait_for_replay(written)?;
        assert_eq!(
            standby.query("select name from beams order by name")?,
            "larch\noak"
        );
        assert_eq!(standby.query("select pg_is_in_recovery()")?, "t");
        let refused = standby
            .query("insert into beams values ('elm')")
            .unwrap_err();
        assert!(
            format!("{refused:?}").contains("read-only transaction"),
            "{refused:?}"
        );
    }

    let addresses: Vec<_> = cluster
        .standbys()
        .iter()
        .chain([cluster.primary()])
        .map(Postgres::address)
        .collect();
    let folder = cluster.primary().query("show data_directory")?;
    assert!(Path::new(&folder).is_dir());
    drop(cluster);
    assert!(addresses.into_iter().all(is_closed));
    assert!(!Path::new(&folder).exists());
    assert!(!Path::new(&folder).parent().unwrap().exists());
    Ok(())
}

#[test]
fn a_standby_with_a_paused_replay_shows_the_past() -> Result<(), Error> {
    let cluster = PostgresCluster::start(1)?;
    let (primary, standby) = (cluster.primary(), cluster.standby(0));
    primary.query("create table beams (name text)")?;
    standby.wait_for_replay(primary.wal_position()?)?;

    cluster.pause_replay(0)?;
    primary.query("insert into beams values ('oak')")?;
    let written = primary.wal_position()?;
    let received = "select coalesce(pg_last_wal_receive_lsn() - '0/0'::pg_lsn, 0)";
    wait_until("arrival of the write", || {
        Ok((standby.query(received)?.parse::<u64>().unwrap() >= written).then_some(()))
    })?;
    assert!(standby.replay_position()? < written);
    assert_eq!(standby.query("select count(*) from beams")?, "0");

    cluster.resume_replay(0)?;
    standby.wait_for_replay(written)?;
    assert_eq!(standby.query("select count(*) from beams")?, "1");
    Ok(())
}

#[test]
fn a_promoted_standby_takes_writes_after_its_primary_was_killed() -> Result<(), Error> {
    let mut cluster = PostgresCluster::start(1)?;
    cluster.primary().query("create table beams (name text)")?;
    cluster
        .standby(0)
        .wait_for_replay(cluster.primary().wal_position()?)?;

    cluster.primary_mut().kill()?;
    assert!(is_closed(cluster.primary().address()));
    cluster.promote(0)?;
    cluster
        .standby(0)
        .query("insert into beams values ('oak')")?;
    assert!(cluster.standby(0).wal_position()? > 0);
    let twice = cluster.promote(0).unwrap_err();
    assert!(matches!(twice, Error::Command { .. }), "{twice:?}");
    Ok(())
}

#[test]
fn what_was_committed_survives_a_kill() -> Result<(), Error> {
    let mut cluster = PostgresCluster::start(1)?;
    cluster.primary().query("create table beams (name text)")?;
    let (address, pid) = (cluster.primary().address(), cluster.primary().pid());

    cluster.primary_mut().kill()?;
    assert_eq!(cluster.primary().pid(), None);
    cluster.primary_mut().restart()?;
    assert_eq!(cluster.primary().address(), address);
    assert_ne!(cluster.primary().pid(), pid);
    cluster.wait_for_streaming(0)?;
    cluster
        .primary()
        .query("insert into beams values ('oak')")?;
    cluster
        .standby(0)
        .wait_for_replay(cluster.primary().wal_position()?)?;
    assert_eq!(cluster.standby(0).query("select name from beams")?, "oak");
    Ok(())
}

#[test]
fn a_paused_server_is_frozen_with_its_children() -> Result<(), Error> {
    let postgres = Postgres::start_with(&[("max_connections", "10")])?;
    assert_eq!(postgres.query("show max_connections")?, "10");
    postgres.pause()?;
    // The system still accepts the connection; nobody greets it.
    let mut stream = TcpStream::connect(postgres.address()).unwrap();
    // SSLRequest, to which a server that runs answers with one byte.
    std::io::Write::write_all(&mut stream, &[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let silence = std::io::Read::read(&mut stream, &mut [0]).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );

    postgres.resume()?;
    assert_eq!(postgres.query("select 1")?, "1");

    postgres.pause()?;
    let address = postgres.address();
    drop(postgres);
    assert!(is_closed(address));
    Ok(())
}

#[test]
fn failures_carry_what_the_server_said() -> Result<(), Error> {
    let unknown = Postgres::start_with(&[("no_such_setting", "1")]).unwrap_err();
    assert!(matches!(unknown, Error::Start { .. }), "{unknown:?}");
    assert!(
        format!("{unknown:?}").contains("no_such_setting"),
        "{unknown:?}"
    );

    let postgres = Postgres::start()?;
    let refused = postgres.query("select beam").unwrap_err();
    assert!(matches!(refused, Error::Command { .. }), "{refused:?}");
    assert!(
        format!("{refused:?}").contains("column \"beam\" does not exist"),
        "{refused:?}"
    );
    let no_standby = postgres.replay_position().unwrap_err();
    assert!(matches!(no_standby, Error::Answer { .. }), "{no_standby:?}");
    Ok(())
}
