//! A small memcached client that finds its keys where libmemcached's clients put them, so that both can share a
//! fleet: weighted ketama from the ring, memcached's text protocol over plain sockets.
//!
//! `cargo run --example memcached_client`
//!
//! The servers here are a few lines in this process that speak as much of the protocol as the client does. Their
//! names are those of a recorded fleet, since names are what libmemcached hashes; where each is reached is another
//! matter, as it is behind any proxy.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use purlin_core::{Node, NodeId, Placement, Weight};
use purlin_hash_ring::BuildError;
use purlin_hash_ring::interop::{ForeignRing, Libmemcached};

/// No answer may keep a caller longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest value a server takes by default.
const MAX_VALUE: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let servers = [
        "10.63.178.75:11211",
        "10.113.3.28:11311",
        "10.9.145.18:11211",
    ]
    .into_iter()
    .map(|name| Ok((Server::start()?, name, 1)))
    .collect::<io::Result<Vec<_>>>()?;
    let mut client = Client::new(servers.iter().map(|(server, name, weight)| Address {
        name: (*name).to_owned(),
        weight: *weight,
        reached_at: server.address,
    }))?;

    for user in 0..300 {
        let key = format!("user:{user}");
        client.set(key.as_bytes(), format!("profile of {user}").as_bytes())?;
    }
    for (server, name, _) in &servers {
        println!("{name} holds {} keys", server.held().len());
    }
    assert_eq!(
        client.get(b"user:17")?.as_deref(),
        Some(&b"profile of 17"[..])
    );
    assert!(client.delete(b"user:17")?, "it was there");
    assert_eq!(client.get(b"user:17")?, None);
    Ok(())
}

/// One server of the fleet.
struct Address {
    /// `host:port` as every client of the fleet writes it: this is hashed.
    name: String,
    weight: u32,
    reached_at: SocketAddr,
}

/// Why a key could not be read or written.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    /// Memcached's text protocol has no way to say this key: it is empty, longer than 250 bytes, or has a
    /// space or control character in it.
    #[error("not a key that memcached takes")]
    Key,
    /// No server has a weight.
    #[error("there are no servers")]
    NoServers,
    /// The server cannot be reached, or went away. The connection is made anew at the next call.
    #[error("the server cannot be talked to")]
    Io(#[from] io::Error),
    /// The server says something that is no answer, and what it was.
    #[error("the server answered {0:?}")]
    Answer(String),
}

/// A client of a fleet. One connection a server, opened when first needed.
struct Client {
    ring: ForeignRing,
    addresses: Vec<SocketAddr>,
    connections: HashMap<NodeId, BufReader<TcpStream>>,
}

impl Client {
    fn new(servers: impl IntoIterator<Item = Address>) -> Result<Self, BuildError> {
        let mut addresses = Vec::new();
        let nodes: Vec<Node> = (0..)
            .zip(servers)
            .map(|(id, server)| {
                addresses.push(server.reached_at);
                Node::new(NodeId(id), server.name).with_weight(Weight(server.weight))
            })
            .collect();
        Ok(Client {
            ring: ForeignRing::libmemcached(Libmemcached::KetamaWeighted, nodes)?,
            addresses,
            connections: HashMap::new(),
        })
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        self.ask(key, |connection, key| {
            connection
                .get_mut()
                .write_all(&[b"get ", key, b"\r\n"].concat())?;
            let head = line(connection)?;
            if head == "END" {
                return Ok(None);
            }
            // VALUE <key> <flags> <bytes>
            let length = head
                .strip_prefix("VALUE ")
                .and_then(|rest| rest.split(' ').nth(2)?.parse().ok());
            let Some(length) = length.filter(|&length: &usize| length <= MAX_VALUE) else {
                return Err(ClientError::Answer(head));
            };
            let mut value = vec![0; length + 2];
            connection.read_exact(&mut value)?;
            value.truncate(length);
            match line(connection)?.as_str() {
                "END" => Ok(Some(value)),
                other => Err(ClientError::Answer(other.to_owned())),
            }
        })
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        self.ask(key, |connection, key| {
            let length = format!(" 0 0 {}\r\n", value.len());
            let request = [b"set ", key, length.as_bytes(), value, b"\r\n"].concat();
            connection.get_mut().write_all(&request)?;
            match line(connection)?.as_str() {
                "STORED" => Ok(()),
                other => Err(ClientError::Answer(other.to_owned())),
            }
        })
    }

    /// Whether the key was there.
    fn delete(&mut self, key: &[u8]) -> Result<bool, ClientError> {
        self.ask(key, |connection, key| {
            connection
                .get_mut()
                .write_all(&[b"delete ", key, b"\r\n"].concat())?;
            match line(connection)?.as_str() {
                "DELETED" => Ok(true),
                "NOT_FOUND" => Ok(false),
                other => Err(ClientError::Answer(other.to_owned())),
            }
        })
    }

    /// Talks to the key's server. A connection over which something went wrong is not used again: what is left
    /// in it belongs to a request that nobody waits for.
    fn ask<R>(
        &mut self,
        key: &[u8],
        talk: impl FnOnce(&mut BufReader<TcpStream>, &[u8]) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        let plain = key.iter().all(|&byte| byte > b' ' && byte != 0x7f);
        if key.is_empty() || key.len() > 250 || !plain {
            return Err(ClientError::Key);
        }
        let home = self.ring.owner(key).ok_or(ClientError::NoServers)?;
        let mut connection = match self.connections.remove(&home) {
            Some(connection) => connection,
            None => connect(self.addresses[home.0 as usize])?,
        };
        let answer = talk(&mut connection, key)?;
        self.connections.insert(home, connection);
        Ok(answer)
    }
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// A line without its end.
fn line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if connection.take(1024).read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

type Items = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// As much of a memcached as the client needs, on a free port until it is dropped.
struct Server {
    address: SocketAddr,
    items: Items,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let items = Items::default();
        let shared = Arc::clone(&items);
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Acquire) {
                    break;
                }
                let items = Arc::clone(&shared);
                // It ends when the client hangs up.
                thread::spawn(move || serve(BufReader::new(stream), &items));
            }
        });
        Ok(Server {
            address,
            items,
            stopping,
            accepting: Some(accepting),
        })
    }

    /// The keys that are here.
    fn held(&self) -> Vec<String> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.keys().cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the accepting thread, which one more connection wakes.
        self.stopping.store(true, Ordering::Release);
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            // A server that panicked has said so on its own.
            let _ = accepting.join();
        }
    }
}

/// Answers until the client hangs up or says something that is not served here.
fn serve(mut stream: BufReader<TcpStream>, items: &Items) {
    while let Ok(request) = line(&mut stream) {
        let words: Vec<&str> = request.split(' ').collect();
        let answer = match words[..] {
            ["get", key] => {
                let items = items.lock().unwrap_or_else(PoisonError::into_inner);
                items.get(key).map_or(b"END\r\n".to_vec(), |value| {
                    let head = format!("VALUE {key} 0 {}\r\n", value.len());
                    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
                })
            }
            ["set", key, _, _, length] => {
                let Some(length) = length
                    .parse()
                    .ok()
                    .filter(|&length: &usize| length <= MAX_VALUE)
                else {
                    return;
                };
                let mut value = vec![0; length + 2];
                if stream.read_exact(&mut value).is_err() {
                    return;
                }
                value.truncate(length);
                let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
                items.insert(key.to_owned(), value);
                b"STORED\r\n".to_vec()
            }
            ["delete", key] => {
                let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
                match items.remove(key) {
                    Some(_) => b"DELETED\r\n".to_vec(),
                    None => b"NOT_FOUND\r\n".to_vec(),
                }
            }
            _ => b"ERROR\r\n".to_vec(),
        };
        if stream.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}

/// Every key of the recorded fleets is on the server where libmemcached 1.1.4 itself put it, and is found there.
#[test]
fn every_key_is_where_libmemcached_puts_it() -> Result<(), Box<dyn Error>> {
    let recorded = include_str!("../crates/hash-ring/tests/vectors/libmemcached.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded)?;
    let text = |value: &serde_json::Value| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or("text is recorded as text")
    };
    let mut n_keys = 0;
    for case in recorded["cases"].as_array().ok_or("cases are a list")? {
        if case["mode"] != "ketama_weighted" {
            continue;
        }
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        for entry in case["servers"].as_array().ok_or("servers are a list")? {
            let server = Server::start()?;
            addresses.push(Address {
                name: format!("{}:{}", text(&entry["host"])?, entry["port"]),
                weight: entry["weight"].as_u64().ok_or("weights are numbers")? as u32,
                reached_at: server.address,
            });
            servers.push(server);
        }
        let mut client = Client::new(addresses)?;
        let keys = case["keys"].as_array().ok_or("keys are a list")?;
        for (key, owner) in keys
            .iter()
            .zip(case["owner"].as_array().ok_or("owners are a list")?)
        {
            let key = text(key)?;
            client.set(key.as_bytes(), key.as_bytes())?;
            let server = &servers[owner.as_u64().ok_or("owners are numbers")? as usize];
            assert!(
                server.held().contains(&key),
                "{key} is not where libmemcached puts it"
            );
            assert_eq!(client.get(key.as_bytes())?, Some(key.into_bytes()));
            n_keys += 1;
        }
    }
    assert_eq!(n_keys, 10 * 120);
    Ok(())
}

#[test]
fn keys_that_the_protocol_cannot_say_are_refused() -> Result<(), Box<dyn Error>> {
    let mut client = Client::new([])?;
    for key in ["", "two words", "line\r\nget other", &"k".repeat(251)] {
        assert!(
            matches!(client.get(key.as_bytes()), Err(ClientError::Key)),
            "{key:?}"
        );
    }
    assert!(matches!(
        client.set(b"key", b""),
        Err(ClientError::NoServers)
    ));
    Ok(())
}

/// A server that goes away is an error, not a hang; one that is back is used again.
#[test]
fn a_server_that_is_gone_is_an_error() -> Result<(), Box<dyn Error>> {
    let closed = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let mut client = Client::new([Address {
        name: "a:11211".to_owned(),
        weight: 1,
        reached_at: closed,
    }])?;
    assert!(matches!(client.get(b"key"), Err(ClientError::Io(_))));
    let server = Server::start()?;
    client.addresses[0] = server.address;
    client.set(b"key", b"value")?;
    assert_eq!(client.get(b"key")?.as_deref(), Some(&b"value"[..]));
    Ok(())
}
