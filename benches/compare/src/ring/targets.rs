//! What was aimed at, and whether it was met.

use super::Row;
use super::contender::fleet;
use super::ours::exact_peak;

/// Prints a table with a line for each target.
pub(crate) fn print(results: &[(u32, Vec<Row>)]) {
    println!("\n### Targets\n");
    println!("| nodes | what | found | target | kind | verdict |");
    println!("| ---: | --- | ---: | ---: | --- | --- |");
    for (n, rows) in results {
        let row = |start: &str| rows.iter().find(|row| row.name.starts_with(start));
        let (Some(floor), Some(table), Some(ring), Some(pingora), Some(hashring)) = (
            row("(floor"),
            row("purlin SlotTable"),
            row("purlin Ring"),
            row("pingora-ketama"),
            row("hashring"),
        ) else {
            continue;
        };
        let (n, listed) = (*n, row("purlin SlotTable, 3 listed"));
        let small = n <= 1_000;

        for (rival, speed) in [
            ("pingora-ketama", &pingora.speed),
            ("hashring", &hashring.speed),
        ] {
            for (what, ours, theirs) in [
                ("ready", ring.speed.ready, speed.ready),
                ("dependent", ring.speed.dependent, speed.dependent),
                ("24 B", ring.speed.text, speed.text),
            ] {
                line(
                    n,
                    &format!("ring {what}: times as fast as {rival}"),
                    theirs / ours,
                    Limit::AtLeast(3.0),
                    true,
                );
            }
        }
        if let Some(nginx) = row("purlin ForeignRing::nginx") {
            line(
                n,
                "nginx's ring 24 B: times as fast as pingora-ketama",
                pingora.speed.text / nginx.speed.text,
                Limit::AtLeast(1.5),
                false,
            );
        }
        let limit = if n <= 100 { 1.5 } else { 2.2 };
        line(
            n,
            "slot table ready: to the floor",
            table.speed.ready / floor.speed.ready,
            Limit::AtMost(limit),
            small,
        );
        // What hashing the text costs, and what a lookup by a ready hash may cost behind it.
        let hashing = floor.speed.text - floor.speed.ready;
        line(
            n,
            "slot table 24 B: to hashing and 1.3 ready lookups",
            table.speed.text / (hashing + 1.3 * table.speed.ready),
            Limit::AtMost(1.0),
            false,
        );
        line(
            n,
            "slot table dependent: to the floor",
            table.speed.dependent / floor.speed.dependent,
            Limit::AtMost(10.0),
            false,
        );

        for (name, row) in [
            ("ring", Some(ring)),
            ("slot table", Some(table)),
            ("slot table, listed", listed),
        ] {
            let Some(speed) = row.map(|row| &row.speed) else {
                continue;
            };
            for (kind, copies, one, must) in [
                ("ready", speed.copies, speed.ready, small),
                ("dependent", speed.dependent_copies, speed.dependent, small),
            ] {
                let Some(copies) = copies else { continue };
                let what = format!("{name}, {kind}: 3 copies to one lookup");
                line(n, &what, copies / one, Limit::AtMost(3.0), must);
                if name == "slot table, listed" {
                    line(n, &what, copies / one, Limit::AtMost(1.5), false);
                }
            }
        }
        for row in rows.iter().filter(|row| row.name.starts_with("purlin")) {
            if row.allocations > 0 {
                line(
                    n,
                    &format!("{}: allocations", row.name),
                    row.allocations as f64,
                    Limit::AtMost(0.0),
                    true,
                );
            }
        }
        let most = rows
            .iter()
            .filter(|row| row.name.starts_with("purlin"))
            .map(|row| row.allocations)
            .max();
        line(
            n,
            "allocations of our lookups",
            most.unwrap_or(0) as f64,
            Limit::AtMost(0.0),
            true,
        );

        for weighted in [false, true] {
            let (peak, promised) = exact_peak(&fleet(n, weighted));
            let kind = if weighted { "weighted" } else { "equal" };
            line(
                n,
                &format!("slot table, {kind}: exact peak to share"),
                peak,
                Limit::AtMost(promised),
                true,
            );
            let movement = if weighted {
                table.weighted.as_ref()
            } else {
                Some(&table.even)
            };
            if let Some(movement) = movement {
                let stray = movement.add.stray + movement.remove.stray;
                line(
                    n,
                    &format!("slot table, {kind}: stray part of all keys"),
                    stray,
                    Limit::AtMost(0.0),
                    true,
                );
            }
        }
        if n == 1_000 {
            line(
                n,
                "ring build: to pingora-ketama's",
                ring.changes.build / pingora.changes.build,
                Limit::AtMost(1.0),
                true,
            );
            line(
                n,
                "ring, adding one: to pingora-ketama's build",
                ring.changes.add / pingora.changes.build,
                Limit::AtMost(1.0),
                true,
            );
            line(
                n,
                "ring, adding one: to pingora-ketama's build",
                ring.changes.add / pingora.changes.build,
                Limit::AtMost(0.2),
                false,
            );
        }
    }
}

enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One target: a must, or a reach that is reported and holds nothing up.
fn line(n: u32, what: &str, found: f64, limit: Limit, must: bool) {
    let (met, limit) = match limit {
        // Rounding of the last bit is no miss.
        Limit::AtLeast(limit) => (found >= limit, format!(">= {limit:.4}")),
        Limit::AtMost(limit) => (found <= limit + 1e-9, format!("<= {limit:.4}")),
    };
    let verdict = if met { "met" } else { "**missed**" };
    let kind = if must { "must" } else { "reach" };
    println!("| {n} | {what} | {found:.4} | {limit} | {kind} | {verdict} |");
}
