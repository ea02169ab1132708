use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Ports we choose from. They lie below the ranges from which Linux (32768 up) and macOS (49152 up) take the
/// local ports of outgoing connections, so that no connection takes a server's port while it is down for a
/// `kill` and a `restart`.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// How many ports a server is tried on. Each failure needs somebody to bind the very port within milliseconds.
const TRIES: usize = 16;

/// Starts a server on a free loopback port. Looking for a free port and then starting a server on it is a race,
/// and the server is the judge of it: `start` returns `None` when it found the port taken, and the next is tried.
pub(crate) fn start_on_free<S>(
    server: &'static str,
    mut start: impl FnMut(u16) -> Result<Option<S>, Error>,
) -> Result<S, Error> {
    // A fresh `RandomState` is seeded differently in each process and each call.
    let offset = (RandomState::new().hash_one(server) % u64::from(COUNT)) as u16;
    let free = (0..COUNT)
        .map(|step| FIRST + (offset + step) % COUNT)
        .filter(|port| is_free(*port));
    for port in free.take(TRIES) {
        if let Some(started) = start(port)? {
            return Ok(started);
        }
    }
    Err(Error::NoFreePort {
        server,
        tries: TRIES,
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_lost_to_somebody_else_is_followed_by_another() {
        let mut tried = Vec::new();
        let port = start_on_free("test", |port| {
            tried.push(port);
            Ok((tried.len() == 3).then_some(port))
        });
        assert_eq!(port.expect("the third port is taken"), tried[2]);
        assert_ne!(tried[0], tried[1]);
        assert!(
            tried
                .iter()
                .all(|port| (FIRST..FIRST + COUNT).contains(port))
        );
    }

    #[test]
    fn the_search_ends() {
        let never = start_on_free("test", |_| Ok(None::<()>));
        assert!(matches!(
            never,
            Err(Error::NoFreePort {
                server: "test",
                tries: TRIES
            })
        ));
    }

    #[test]
    fn a_bound_port_is_not_free() {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        assert!(!is_free(listener.local_addr().expect("it is bound").port()));
    }
}
