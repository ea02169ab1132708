//! What a cookie may be used for. The grammar of requests (`Cookie`) is left to an HTTP library; a
//! `Set-Cookie` of checked parts is one `format!`.

use core::fmt::Write;
use core::time::Duration;

use purlin_core::Retry;

/// The name and attributes of a cookie, checked against each other: a browser silently drops a cookie whose
/// attributes do not fit the prefix of its name.
///
/// The default is `__Host-id`, `Path=/`, `Secure`, `HttpOnly`, `SameSite=Lax`: the name says nothing about
/// the service, and the prefix keeps other hosts of the domain from planting a cookie of that name.
///
/// ```
/// use purlin_session_store::{CookieAttributeError, CookieAttributes, SameSite};
///
/// # fn main() -> Result<(), CookieAttributeError> {
/// let strict = CookieAttributes::builder("__Host-id").same_site(SameSite::Strict).build()?;
/// assert_eq!(strict.set_cookie("abc", None), "__Host-id=abc; Path=/; Secure; HttpOnly; SameSite=Strict");
///
/// let wrong = CookieAttributes::builder("__Host-id").domain("example.com").build();
/// assert_eq!(wrong, Err(CookieAttributeError::HostPrefix));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    name: Box<str>,
    path: Box<str>,
    domain: Option<Box<str>>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
}

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the three values of the attribute"
)]
pub enum SameSite {
    /// None. A link from elsewhere leads to a page that does not know the visitor.
    Strict,
    /// Those that follow a link. What they ask for must then change nothing.
    Lax,
    /// All. The cookie must be `Secure`, and every request that changes something needs a token against
    /// forgery.
    None,
}

impl Default for CookieAttributes {
    fn default() -> Self {
        let defaults = CookieAttributes::builder("__Host-id");
        defaults.attributes
    }
}

impl CookieAttributes {
    /// A cookie of this name with the default attributes, to be changed and checked.
    pub fn builder(name: &str) -> CookieBuilder {
        CookieBuilder {
            attributes: CookieAttributes {
                name: name.into(),
                path: "/".into(),
                domain: None,
                secure: true,
                http_only: true,
                same_site: SameSite::Lax,
            },
        }
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a `Set-Cookie` header. Without `max_age` the browser forgets the cookie when it closes;
    /// zero takes it away. Fractions of a second are cut, and so is what goes beyond 400 days, which browsers
    /// cut too, if they do not stumble over so many digits.
    ///
    /// The value is written as it is, and a text of [`CookieCodec`](crate::CookieCodec) needs no quoting.
    /// Characters that would end the value (anything but visible ASCII without `"`, `,`, `;` and `\`) are
    /// left out, so no value can add an attribute or a header.
    pub fn set_cookie(&self, value: &str, max_age: Option<Duration>) -> String {
        let value = value
            .chars()
            .filter(|c| matches!(c, '!'..='~') && !matches!(c, '"' | ',' | ';' | '\\'));
        let mut header = format!("{}=", self.name);
        header.extend(value);
        header.push_str("; Path=");
        header.push_str(&self.path);
        if let Some(domain) = &self.domain {
            header.push_str("; Domain=");
            header.push_str(domain);
        }
        if let Some(max_age) = max_age {
            let seconds = max_age.as_secs().min(MAX_AGE_SECONDS);
            write!(header, "; Max-Age={seconds}").expect("a string takes any text");
        }
        if self.secure {
            header.push_str("; Secure");
        }
        if self.http_only {
            header.push_str("; HttpOnly");
        }
        header.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        header
    }
}

/// 400 days: the limit of the revised RFC 6265.
const MAX_AGE_SECONDS: u64 = 400 * 24 * 60 * 60;

/// Attributes on the way to being checked. Made by [`CookieAttributes::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CookieBuilder {
    attributes: CookieAttributes,
}

impl CookieBuilder {
    /// Limits the cookie to a part of the site. This is no protection against the other parts.
    pub fn path(mut self, path: &str) -> Self {
        self.attributes.path = path.into();
        self
    }

    /// Sends the cookie to all hosts of a domain, each of which can then read and replace it.
    pub fn domain(mut self, domain: &str) -> Self {
        self.attributes.domain = Some(domain.into());
        self
    }

    /// Whether to send the cookie over HTTPS only. Turn it off for development without TLS and for nothing
    /// else.
    pub fn secure(mut self, secure: bool) -> Self {
        self.attributes.secure = secure;
        self
    }

    /// Whether to hide the cookie from scripts.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.attributes.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.same_site = same_site;
        self
    }

    /// The attributes, if they fit together.
    ///
    /// # Errors
    ///
    /// [`CookieAttributeError`] for attributes that a browser would drop the cookie for, or misread.
    pub fn build(self) -> Result<CookieAttributes, CookieAttributeError> {
        let CookieAttributes {
            name,
            path,
            domain,
            secure,
            http_only: _,
            same_site,
        } = &self.attributes;
        if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(is_token) {
            return Err(CookieAttributeError::Name);
        }
        if !path.starts_with('/')
            || !path
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
        {
            return Err(CookieAttributeError::Path);
        }
        let in_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if domain
            .as_ref()
            .is_some_and(|domain| domain.is_empty() || !domain.bytes().all(in_domain))
        {
            return Err(CookieAttributeError::Domain);
        }
        if has_prefix(name, "__Host-") && (!secure || domain.is_some() || &**path != "/") {
            return Err(CookieAttributeError::HostPrefix);
        }
        if has_prefix(name, "__Secure-") && !secure {
            return Err(CookieAttributeError::SecurePrefix);
        }
        if *same_site == SameSite::None && !secure {
            return Err(CookieAttributeError::SameSiteNone);
        }
        Ok(self.attributes)
    }
}

/// Longer names leave too little of a cookie for its value.
const MAX_NAME_LEN: usize = 256;

/// Browsers compare the prefixes without regard to case.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A character of a cookie's name: those of a token in RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Why attributes make no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CookieAttributeError {
    /// The name is empty, longer than 256 bytes, or has characters that end a name.
    #[error("the cookie's name is not a token of 1 to 256 characters")]
    Name,
    /// The path does not begin with a slash, or has characters that end it.
    #[error("the cookie's path does not begin with a slash, or is not plain text")]
    Path,
    /// The domain has other characters than letters, digits, dots and hyphens.
    #[error("the cookie's domain is not a host name")]
    Domain,
    /// `__Host-` needs `Secure`, `Path=/` and no `Domain`.
    #[error("a cookie named __Host- must be secure, with path / and without a domain")]
    HostPrefix,
    /// `__Secure-` needs `Secure`.
    #[error("a cookie named __Secure- must be secure")]
    SecurePrefix,
    /// `SameSite=None` needs `Secure`.
    #[error("a cookie with SameSite=None must be secure")]
    SameSiteNone,
}

impl CookieAttributeError {
    /// Never: the configuration must change first.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
