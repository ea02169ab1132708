//! Two regions, one of them cut off, and a logout on one side that wins.
//!
//! ```sh
//! cargo run -p purlin-session-store --example two_regions
//! ```
//!
//! Each region answers its own clients from its own store, line or no line. What was done apart is put together when the line
//! is back: fields of a cart merge, and a session that was ended in one region is ended in both.

use std::error::Error;

use purlin_session_store::regions::{RegionId, Regional};
use purlin_session_store::{Login, MemoryStore, Policy, Saved, Session, SessionId, Sessions};

const EUROPE: RegionId = RegionId(1);
const ASIA: RegionId = RegionId(2);

type Region = Regional<MemoryStore>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let europe = Regional::new(EUROPE, [ASIA], MemoryStore::new());
    let asia = Regional::new(ASIA, [EUROPE], MemoryStore::new());
    let in_europe = Sessions::new(&europe, Policy::default());
    let in_asia = Sessions::new(&asia, Policy::default());

    // Two customers log in in Europe, and Asia hears of them.
    let ann = logged_in(&in_europe, "ann").await?;
    let ben = logged_in(&in_europe, "ben").await?;
    tell(&europe, &asia).await?;
    println!("Asia knows ann: {}", is_in(&in_asia, &ann).await?);

    println!("The line is cut. Nobody notices who shops.");
    put(&in_europe, &ann, "cart", "hammer").await?;
    put(&in_asia, &ann, "wishes", "saw").await?;
    put(&in_europe, &ben, "cart", "nails").await?;
    // Ben logs out in Asia, of which Europe cannot know.
    let mut session = in_asia.open(ben.clone()).await?;
    session.logout();
    assert_eq!(in_asia.commit(&mut session).await?, Saved::Destroyed);
    println!(
        "Ben in Europe: {}, in Asia: {}",
        is_in(&in_europe, &ben).await?,
        is_in(&in_asia, &ben).await?
    );
    assert!(is_in(&in_europe, &ben).await?);

    println!("The line is back.");
    tell(&europe, &asia).await?;
    for (name, sessions) in [("Europe", &in_europe), ("Asia", &in_asia)] {
        let session = sessions.open(ann.clone()).await?;
        let fields: Vec<&str> = session.names().collect();
        println!("Ann in {name}: {fields:?}");
        assert_eq!(fields, ["cart", "wishes"]);
        let ben_is_in = is_in(sessions, &ben).await?;
        println!("Ben in {name}: {ben_is_in}");
        assert!(
            !ben_is_in,
            "what was written in Europe did not bring it back"
        );
    }
    Ok(())
}

/// What a service does every second, in each region for each peer, over a link of its own.
async fn tell(europe: &Region, asia: &Region) -> Result<(), Box<dyn Error>> {
    europe.exchange(ASIA, asia).await?;
    asia.exchange(EUROPE, europe).await?;
    Ok(())
}

async fn logged_in(sessions: &Sessions<&Region>, user: &str) -> Result<SessionId, Box<dyn Error>> {
    let mut session = Session::absent();
    session.login(Login::new(user));
    assert_eq!(sessions.commit(&mut session).await?, Saved::Created);
    Ok(session.id().expect("it was created").clone())
}

async fn put(
    sessions: &Sessions<&Region>,
    id: &SessionId,
    field: &str,
    value: &'static str,
) -> Result<(), Box<dyn Error>> {
    let mut session = sessions.open(id.clone()).await?;
    session.set_bytes(field, value)?;
    assert_eq!(sessions.commit(&mut session).await?, Saved::Written);
    Ok(())
}

async fn is_in(sessions: &Sessions<&Region>, id: &SessionId) -> Result<bool, Box<dyn Error>> {
    Ok(sessions.open(id.clone()).await?.user().is_some())
}
