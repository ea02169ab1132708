//! A sharded table that grows: a third shard joins, slots move to it, and a client with the old map is refused,
//! learns better, and is right again. No key is lost, and none is written in two places.
//!
//! `cargo run --example shard_move`

use std::collections::BTreeMap;
use std::error::Error;

use purlin_shard_router::{Guard, Refusal, Router, Shard, ShardId, ShardMap, Slot};

const USERS: u32 = 1_000;

/// One shard: its rows, and the guard before them.
struct Database {
    guard: Guard,
    rows: BTreeMap<u32, String>,
}

impl Database {
    fn write(
        &mut self,
        user: u32,
        name: &str,
        route: purlin_shard_router::Route,
    ) -> Result<(), Refusal> {
        let _admission = self.guard.admit_key(&user, route)?;
        self.rows.insert(user, name.to_owned());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let shard = |number| Shard::new(ShardId(number), format!("users-{number}"));
    let first = ShardMap::even_split([shard(0), shard(1)])?;
    let mut databases = [0, 1, 2].map(|number| Database {
        guard: Guard::new(ShardId(number), first.clone()),
        rows: BTreeMap::new(),
    });

    let client = Router::new(first.clone());
    for user in 0..USERS {
        let route = client.route(&user);
        databases[route.shard().0 as usize].write(user, "first", route)?;
    }

    // A third of the slots goes to the new shard, with the service stopped; `SlotMove` does it in service.
    let moving: Vec<Slot> = (0..first.slot_count()).step_by(3).map(Slot).collect();
    let grown = first.with_shard(shard(2))?.with_move(moving, ShardId(2))?;
    for from in [0, 1] {
        let leaving: Vec<u32> = databases[from].rows.keys().copied().collect();
        for user in leaving {
            if grown.route(&user).shard() == ShardId(2)
                && let Some(name) = databases[from].rows.remove(&user)
            {
                databases[2].rows.insert(user, name);
            }
        }
    }
    for database in &databases {
        database.guard.install(grown.clone())?;
    }

    // The client has not heard of it. Where nothing changed it is still right; elsewhere it is told.
    let mut refused = 0;
    for user in 0..USERS {
        let route = client.route(&user);
        let written = databases[route.shard().0 as usize].write(user, "second", route);
        if let Err(refusal) = written {
            refused += 1;
            assert!(matches!(refusal, Refusal::Stale { .. }), "{refusal}");
            // In a real service the map comes from where it is kept, as bytes.
            client.install(ShardMap::decode(&grown.encode())?)?;
            let route = client.route(&user);
            databases[route.shard().0 as usize].write(user, "second", route)?;
        }
    }

    let everything: Vec<&String> = databases
        .iter()
        .flat_map(|database| database.rows.values())
        .collect();
    assert_eq!(everything.len(), USERS as usize);
    assert!(everything.iter().all(|name| *name == "second"));
    let sizes = databases.each_ref().map(|database| database.rows.len());
    println!("users per shard {sizes:?}; the client was refused {refused} time, and then knew");
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
