use crate::{Error, Postgres, wait_until};

/// A PostgreSQL primary with streaming standbys, all of which end when this is dropped.
///
/// ```no_run
/// # fn main() -> Result<(), purlin_testkit::Error> {
/// let cluster = purlin_testkit::PostgresCluster::start(2)?;
/// cluster.primary().query("create table names as select 'purlin' as name")?;
/// let written = cluster.primary().wal_position()?;
/// cluster.standby(1).wait_for_replay(written)?;
/// assert_eq!(cluster.standby(1).query("select name from names")?, "purlin");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the servers end when their handle is dropped"]
pub struct PostgresCluster {
    primary: Postgres,
    standbys: Vec<Postgres>,
}

impl PostgresCluster {
    /// Starts a primary and `standbys` copies of it, and waits until each of them streams.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start`].
    pub fn start(standbys: usize) -> Result<Self, Error> {
        Self::start_with(standbys, &[])
    }

    /// Starts a cluster whose servers all have the settings given, as `postgresql.conf` takes them.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start_with`].
    pub fn start_with(standbys: usize, settings: &[(&str, &str)]) -> Result<Self, Error> {
        let primary = Postgres::start_with(settings)?;
        let standbys = (0..standbys)
            .map(|index| Postgres::standby_of(&primary, &format!("standby{index}")))
            .collect::<Result<_, _>>()?;
        let cluster = PostgresCluster { primary, standbys };
        for index in 0..cluster.standbys.len() {
            cluster.wait_for_streaming(index)?;
        }
        Ok(cluster)
    }

    /// The server that took the writes at the start. It stays this one when a standby is promoted.
    pub fn primary(&self) -> &Postgres {
        &self.primary
    }

    /// The primary, to kill or restart it.
    pub fn primary_mut(&mut self) -> &mut Postgres {
        &mut self.primary
    }

    /// All standbys, in the order of their numbers.
    pub fn standbys(&self) -> &[Postgres] {
        &self.standbys
    }

    /// One standby.
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn standby(&self, index: usize) -> &Postgres {
        &self.standbys[index]
    }

    /// One standby, to kill or restart it.
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn standby_mut(&mut self, index: usize) -> &mut Postgres {
        &mut self.standbys[index]
    }

    /// Waits until a standby receives the primary's log as it is written, as after a [`restart`](Postgres::restart) of
    /// either.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] after a minute, and those of [`Postgres::query`].
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn wait_for_streaming(&self, index: usize) -> Result<(), Error> {
        let name = self.standby(index).name();
        let sql = format!(
            "select count(*) from pg_stat_replication where application_name = '{name}' and state = 'streaming'"
        );
        wait_until(&format!("streaming to {name}"), || {
            Ok((self.primary.query(&sql)? != "0").then_some(()))
        })
    }

    /// Makes a standby a primary of its own. The old primary, if it still runs, is not told, and the other standbys go
    /// on following it: that is what a split looks like, and preventing it is the business of what is being tested.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] if the promotion does not finish within a minute; [`Error::Command`] if the server is not a
    /// standby any more.
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn promote(&mut self, index: usize) -> Result<(), Error> {
        let answer = self.standby(index).query("select pg_promote(true, 60)")?;
        if answer == "t" {
            Ok(())
        } else {
            Err(Error::Answer {
                what: "pg_promote".to_owned(),
                answer,
            })
        }
    }

    /// Makes a standby lag: it goes on receiving the log, and shows nothing new until
    /// [`resume_replay`](PostgresCluster::resume_replay). Returns when the replay has come to its halt.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] after a minute, and those of [`Postgres::query`].
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn pause_replay(&self, index: usize) -> Result<(), Error> {
        let standby = self.standby(index);
        standby.query("select pg_wal_replay_pause()")?;
        wait_until("a pause of the replay", || {
            Ok(
                (standby.query("select pg_get_wal_replay_pause_state()")? == "paused")
                    .then_some(()),
            )
        })
    }

    /// Lets a standby catch up.
    ///
    /// # Errors
    ///
    /// Those of [`Postgres::query`].
    ///
    /// # Panics
    ///
    /// If the cluster was started with `index` standbys or fewer.
    pub fn resume_replay(&self, index: usize) -> Result<(), Error> {
        self.standby(index)
            .query("select pg_wal_replay_resume()")
            .map(drop)
    }
}
