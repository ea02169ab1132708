//! A client of three servers over real sockets: the balancer chooses, a server dies, and its clients go elsewhere
//! without anybody noticing.
//!
//! `cargo run --example balanced_client`

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use purlin_balancer::{Balancer, Policy};
use purlin_core::{Health, Node, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers every connection with its own number.
async fn server(number: u8) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A client that hung up meanwhile wants no answer.
            let _ = stream.write_all(&[number]).await;
        }
    });
    Ok((address, serving))
}

struct Client {
    balancer: Balancer,
}

impl Client {
    /// Asks any server, and others if one cannot be reached: the question never left then.
    async fn ask(&self) -> Result<u8, Box<dyn Error>> {
        let mut tried = Vec::new();
        loop {
            let pick = self.balancer.pick_excluding(&tried)?;
            match TcpStream::connect(&pick.node().name).await {
                // The pick is held until the answer is there: it counts the request as in flight.
                Ok(mut stream) => return Ok(stream.read_u8().await?),
                Err(_) => {
                    // Nobody else need find out. Something that probes the server would put it up again.
                    self.balancer.set_health(pick.id(), Health::Down);
                    tried.push(pick.id());
                }
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut nodes, mut servers) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let (address, serving) = server(number).await?;
        nodes.push(Node::new(NodeId(number.into()), address.to_string()));
        servers.push(serving);
    }
    let client = Client {
        balancer: Balancer::new(Policy::RoundRobin, nodes)?,
    };

    let mut answers = [0; 3];
    for _ in 0..30 {
        answers[usize::from(client.ask().await?)] += 1;
    }
    println!("all up: {answers:?}");
    assert_eq!(answers, [10, 10, 10]);

    let dead = servers.remove(1);
    dead.abort();
    // It ends in an error that says that it was aborted.
    let _ = dead.await;

    let mut answers = [0; 3];
    for _ in 0..30 {
        answers[usize::from(client.ask().await?)] += 1;
    }
    println!("one dead: {answers:?}");
    assert_eq!(answers[1], 0);
    assert_eq!(answers.iter().sum::<i32>(), 30);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
