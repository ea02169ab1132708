//! Throw-away servers for as long as standard input is open, for trying things by hand.
#![cfg_attr(
    not(unix),
    allow(unused, reason = "the test kit itself is for Unix only")
)]

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("purlin-servers: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("purlin-servers: for Unix only");
    std::process::exit(1);
}

const USAGE: &str = "usage: purlin-servers [--redis] [--postgres] [--standbys N]";

/// A primary streams to no more than twenty, of which a copy that is being made takes two.
const MOST_STANDBYS: usize = 16;

/// Which servers were asked for.
#[derive(Debug, Default)]
struct Wanted {
    redis: bool,
    postgres: bool,
    standbys: usize,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--redis" => wanted.redis = true,
            "--postgres" => wanted.postgres = true,
            "--standbys" => {
                let count = arguments.next().and_then(|count| count.parse().ok());
                wanted.standbys = count
                    .filter(|&count| count <= MOST_STANDBYS)
                    .ok_or(format!(
                        "--standbys must be from 0 to {MOST_STANDBYS}; {USAGE}"
                    ))?;
                wanted.postgres = true;
            }
            other => return Err(format!("{other:?} is not known; {USAGE}")),
        }
    }
    if wanted.redis || wanted.postgres {
        Ok(wanted)
    } else {
        Err(USAGE.to_owned())
    }
}

#[cfg(unix)]
fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    use purlin_testkit::{PostgresCluster, Redis};

    let wanted = parse(arguments)?;
    let redis = wanted
        .redis
        .then(Redis::start)
        .transpose()
        .map_err(|error| format!("{error:?}"))?;
    if let Some(redis) = &redis {
        println!("redis {}", redis.url());
    }
    let cluster = wanted
        .postgres
        .then(|| PostgresCluster::start(wanted.standbys))
        .transpose();
    let cluster = cluster.map_err(|error| format!("{error:?}"))?;
    if let Some(cluster) = &cluster {
        println!("primary {}", cluster.primary().url());
        for standby in cluster.standbys() {
            println!("{} {}", standby.name(), standby.url());
        }
    }
    eprintln!("They end with this program: close its input (Ctrl-D) or interrupt it.");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        .map(drop)
        .map_err(|error| error.to_string())
}
