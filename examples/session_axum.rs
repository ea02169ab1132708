//! A shop behind axum: two tabs that fill one cart at once, a login that gives a new id, and a logout on all devices.
//!
//! `cargo run --example session_axum` plays the scene against the router, without a socket; `axum::serve` with a
//! listener and [`app`] would be the service.

use std::error::Error;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use purlin_core::{Keyring, SealingKey};
use purlin_session_store::tower::{
    CSRF_HEADER, CheckedSession, CurrentSession, SessionFailure, SessionLayer,
};
use purlin_session_store::{
    AuthError, CommitError, CookieAttributes, CookieCodec, CsrfTokens, FieldError, Login,
    MemoryStore, Policy, RevokeError, Session, SessionId, Sessions,
};
use tower_service::Service;

type Shop = Arc<Sessions<MemoryStore>>;

fn app(secret: [u8; 32]) -> Result<Router, Box<dyn Error>> {
    // The key comes from a secret store, and lives longer than the process. A store that all servers share takes the
    // place of the one in memory.
    let ring = || Keyring::new([SealingKey::new(1, secret)]);
    let shop: Shop = Arc::new(Sessions::new(MemoryStore::new(), Policy::asvs_l2()));
    let cookies = CookieCodec::new(CookieAttributes::default(), ring()?);
    let layer = SessionLayer::new(Arc::clone(&shop), cookies).csrf(CsrfTokens::new(ring()?));
    Ok(Router::new()
        .route("/", get(front_page))
        .route("/cart", get(cart))
        .route("/cart/{item}", post(put_into_cart))
        .route("/login/{user}", post(log_in))
        .route("/account", get(account))
        .route("/logout-everywhere", post(log_out_everywhere))
        .layer(layer)
        .with_state(shop))
}

/// Gives the visitor a session, and the page its form token.
async fn front_page(mut session: CurrentSession) -> Result<String, Refused> {
    session.set("seen", &true)?;
    let _ = session.commit().await?;
    Ok(session.csrf_token()?.unwrap_or_default())
}

async fn cart(session: CurrentSession) -> Result<Json<Vec<String>>, Refused> {
    Ok(Json(session.get("cart")?.unwrap_or_default()))
}

/// A change that depends on what is there is a closure: it runs again if another tab was first.
async fn put_into_cart(
    State(shop): State<Shop>,
    Path(item): Path<String>,
    mut session: CheckedSession,
) -> Result<StatusCode, Refused> {
    let put = |session: &mut Session| {
        let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
        cart.push(item.clone());
        session.set("cart", &cart)
    };
    shop.update(&mut session, put).await?.0?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who the user is somebody else has found out. The layer commits, and sends the cookie with the new id.
async fn log_in(Path(user): Path<String>, mut session: CheckedSession) -> StatusCode {
    session.login(Login::new(user));
    StatusCode::NO_CONTENT
}

async fn account(session: CurrentSession) -> Result<String, Refused> {
    session.require_login()?;
    Ok(session.user().unwrap_or_default().to_owned())
}

async fn log_out_everywhere(
    State(shop): State<Shop>,
    mut session: CheckedSession,
) -> Result<String, Refused> {
    let ended = shop.logout_everywhere(&mut session).await?;
    Ok(ended.to_string())
}

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Session(#[from] SessionFailure),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Login(#[from] AuthError),
    #[error(transparent)]
    Revoke(#[from] RevokeError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Session(failure) => failure.into_response(),
            Refused::Commit(error) => SessionFailure::Commit(Arc::new(error)).into_response(),
            Refused::Field(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Refused::Login(_) | Refused::Revoke(RevokeError::LoggedOut) => {
                StatusCode::UNAUTHORIZED.into_response()
            }
            Refused::Revoke(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}

/// A browser: what all its tabs share is the cookie.
#[derive(Clone)]
struct Browser {
    app: Router,
    cookie: Arc<Mutex<Option<String>>>,
    token: String,
}

impl Browser {
    /// Opens the front page.
    async fn open(app: &Router) -> Result<Self, Box<dyn Error>> {
        let mut browser = Browser {
            app: app.clone(),
            cookie: Arc::default(),
            token: String::new(),
        };
        browser.read_front_page().await?;
        Ok(browser)
    }

    /// The token of the forms changes with the id.
    async fn read_front_page(&mut self) -> Result<(), Box<dyn Error>> {
        self.token = self.ask(Method::GET, "/").await?.1;
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, String), Box<dyn Error>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(CSRF_HEADER, &self.token);
        if let Some(cookie) = self.cookie()?.as_deref() {
            request = request.header(COOKIE, cookie);
        }
        let response = self.app.clone().call(request.body(Body::empty())?).await?;
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().map(str::to_owned);
            *self.cookie.lock().map_err(|_| "a tab has panicked")? = pair;
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    fn cookie(&self) -> Result<Option<String>, Box<dyn Error>> {
        Ok(self
            .cookie
            .lock()
            .map_err(|_| "a tab has panicked")?
            .clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(*SessionId::random()?.secret_bytes())?;
    let mut laptop = Browser::open(&app).await?;

    // Two tabs at once. Nothing is lost.
    let (first_tab, second_tab) = (laptop.clone(), laptop.clone());
    let (hammer, nails) = tokio::join!(
        first_tab.ask(Method::POST, "/cart/hammer"),
        second_tab.ask(Method::POST, "/cart/nails"),
    );
    assert_eq!(
        (hammer?.0, nails?.0),
        (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT)
    );
    let (_, cart) = laptop.ask(Method::GET, "/cart").await?;
    println!("the cart of two tabs: {cart}");
    assert_eq!(cart, r#"["hammer","nails"]"#);

    // A login: a new id, and the cart comes along. The old cookie is nobody's key.
    let before = laptop.cookie()?;
    let (status, _) = laptop.ask(Method::POST, "/login/alice").await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_ne!(laptop.cookie()?, before);
    assert_eq!(laptop.ask(Method::GET, "/account").await?.1, "alice");
    assert_eq!(laptop.ask(Method::GET, "/cart").await?.1, cart);

    // A page of another site makes the browser send the cookie, and does not know the token.
    let forger = Browser {
        token: "made-up".to_owned(),
        ..laptop.clone()
    };
    let (status, _) = forger.ask(Method::POST, "/cart/virus").await?;
    assert_eq!(status, StatusCode::FORBIDDEN);

    // The telephone too. Then the laptop logs out everywhere.
    let telephone = Browser::open(&app).await?;
    telephone.ask(Method::POST, "/login/alice").await?;
    assert_eq!(
        telephone.ask(Method::GET, "/account").await?.0,
        StatusCode::OK
    );
    laptop.read_front_page().await?;
    let (_, ended) = laptop.ask(Method::POST, "/logout-everywhere").await?;
    println!("logged out on {ended} devices");
    assert_eq!(ended, "2");
    for browser in [&laptop, &telephone] {
        let (status, _) = browser.ask(Method::GET, "/account").await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
