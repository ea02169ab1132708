//! A session from its first cookie to the logout: sealed, changed by two requests at once without a loss, renamed at
//! the login, and dead when it is over.
//!
//! `cargo run --example session_cookie`

use std::error::Error;

use purlin_core::{Keyring, SealingKey};
use purlin_session_store::{
    CookieAttributes, CookieCodec, MemoryStore, Policy, Saved, Session, SessionId, Sessions,
};

/// What a request needs of the service.
struct Service {
    sessions: Sessions<MemoryStore>,
    cookies: CookieCodec,
}

impl Service {
    /// The session that a cookie's value names; none for one that was made up or has run out.
    async fn recognise(&self, cookie: &str) -> Result<Session, Box<dyn Error>> {
        match self.cookies.decode(cookie) {
            Ok(opened) => Ok(self.sessions.open(opened.value).await?),
            Err(_) => Ok(Session::absent()),
        }
    }

    fn cookie(&self, session: &Session) -> Option<String> {
        session.id().map(|id| self.cookies.encode(id))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In production the key comes from a secret store, and lives longer than the process.
    let secret = *SessionId::random()?.secret_bytes();
    let service = Service {
        sessions: Sessions::new(MemoryStore::new(), Policy::default()),
        cookies: CookieCodec::new(
            CookieAttributes::default(),
            Keyring::new([SealingKey::new(1, secret)])?,
        ),
    };

    // A guest puts something into his cart, and has a session from now on.
    let mut guest = Session::absent();
    guest.set("cart", &["hammer"])?;
    assert_eq!(service.sessions.commit(&mut guest).await?, Saved::Created);
    let cookie = service
        .cookie(&guest)
        .ok_or("a created session has an id")?;

    // Two tabs count a page view at once. Both count.
    let (mut one, mut two) = (
        service.recognise(&cookie).await?,
        service.recognise(&cookie).await?,
    );
    for tab in [&mut one, &mut two] {
        let count = |session: &mut Session| {
            let views: u64 = session.get("views")?.unwrap_or(0);
            session.set("views", &(views + 1))
        };
        service.sessions.update(tab, count).await?.0?;
    }

    // He logs in. What the old cookie could do is not what the new one can.
    let mut user = service.recognise(&cookie).await?;
    user.set("user", &17)?;
    user.rotate();
    assert_eq!(service.sessions.commit(&mut user).await?, Saved::Rotated);
    let new_cookie = service.cookie(&user).ok_or("a rotated session has an id")?;
    assert_eq!(service.recognise(&cookie).await?.get::<u64>("user")?, None);
    let user = service.recognise(&new_cookie).await?;
    println!(
        "user {:?} with {:?} views",
        user.get::<u64>("user")?,
        user.get::<u64>("views")?
    );
    assert_eq!((user.get("user")?, user.get("views")?), (Some(17), Some(2)));

    // He logs out, and nothing under way brings the session back.
    let mut leaving = service.recognise(&new_cookie).await?;
    let mut late = service.recognise(&new_cookie).await?;
    leaving.destroy();
    assert_eq!(
        service.sessions.commit(&mut leaving).await?,
        Saved::Destroyed
    );
    late.set("cart", &["saw"])?;
    println!(
        "too late: {}",
        service
            .sessions
            .commit(&mut late)
            .await
            .err()
            .ok_or("it must fail")?
    );
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
