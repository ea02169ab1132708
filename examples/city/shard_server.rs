//! A copy of a shard as a server: it reads requests from its sockets, lets the guard judge them, and answers
//! from its file.

use std::sync::Arc;

use purlin_shard_router::{Guard, Route};
use tokio::net::TcpStream;

use crate::database::Database;
use crate::primary::Primary;
use crate::replica::Replica;
use crate::row::{Change, Key};
use crate::wire::{Connection, Need, Progress, Reply, Request, Stamp};

/// A copy of a shard.
#[derive(Debug)]
pub struct ShardCopy {
    stamp: Stamp,
    role: Role,
    guard: Guard,
    /// Off for sabotage only: then any route is admitted.
    guarded: bool,
}

/// What the copy is to its shard.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete: it leads or it follows")]
pub enum Role {
    /// It takes the changes.
    Primary(Primary),
    /// It follows.
    Replica(Replica),
}

impl ShardCopy {
    /// A copy behind a guard.
    pub fn new(stamp: Stamp, role: Role, guard: Guard, guarded: bool) -> Self {
        ShardCopy {
            stamp,
            role,
            guard,
            guarded,
        }
    }

    /// Its name.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Its file.
    pub fn database(&self) -> &Database {
        match &self.role {
            Role::Primary(primary) => primary.database(),
            Role::Replica(replica) => replica.database(),
        }
    }

    /// Answers one connection until the other end hangs up or talks nonsense.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, a change that was received may or may not be made.
    pub async fn serve(self: Arc<Self>, stream: TcpStream) {
        let Ok(mut connection) = Connection::new(stream) else {
            return;
        };
        while let Ok(Some(request)) = connection.next_request().await {
            let reply = self.answer(request).await;
            if connection.reply(&reply).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Read { route, key, need } => self.read(route, key, need),
            Request::Change { route, change } => self.change(route, change).await,
            Request::Pull { after } => self.records(after),
            Request::Status => Reply::Status(self.progress()),
        }
    }

    fn read(&self, route: Route, key: Key, need: Need) -> Reply {
        // The admission is held until the row is read: a move of the slot waits for it.
        let admission = self.guard.admit_key(&key, route);
        if self.guarded && admission.is_err() {
            return Reply::WrongRoute;
        }
        // Taken before the row: the copy was at least so far when it read.
        let progress = self.progress();
        let far_enough = match need {
            Need::Nothing => true,
            Need::Position(position) => progress.position >= position,
            Need::FreshAt(tick) => progress.fresh_at >= tick,
        };
        if !far_enough {
            return Reply::Behind(progress);
        }
        match self.database().read(key) {
            Ok(row) => Reply::Row {
                row,
                from: self.stamp,
                progress,
            },
            Err(_) => Reply::Failed,
        }
    }

    async fn change(&self, route: Route, change: Change) -> Reply {
        let admission = self.guard.admit_key(&change.key, route);
        if self.guarded && admission.is_err() {
            return Reply::WrongRoute;
        }
        let Role::Primary(primary) = &self.role else {
            return Reply::WrongRoute;
        };
        match primary.change(change).await {
            Some(outcome) => Reply::Changed {
                outcome,
                from: self.stamp,
            },
            None => Reply::Failed,
        }
    }

    fn records(&self, after: u64) -> Reply {
        let Role::Primary(primary) = &self.role else {
            return Reply::WrongRoute;
        };
        match primary.records_after(after) {
            Some((records, progress)) => Reply::Records { records, progress },
            None => Reply::Failed,
        }
    }

    fn progress(&self) -> Progress {
        match &self.role {
            Role::Primary(primary) => primary.progress(),
            Role::Replica(replica) => replica.progress(),
        }
    }
}
