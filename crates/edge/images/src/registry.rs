//! A small client of the distribution protocol.
//!
//! Own, on the HTTP client the fetcher uses, because three things are wanted that clients in crates do not have
//! together: a cut-off blob goes on where it was, mirrors are tried in turn, and every byte is told of. What a
//! registry says is not believed: credentials go to the host they are for and nowhere else (attack A062), a
//! redirect or token server must be reached by https and not lie on this machine (A063, A064), and all that is
//! read has a size, a pace and an end (A065).

mod accounts;
mod address;
mod blob;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use mezzo_download::{Paced, is_timeout};
use serde::Deserialize;
use ureq::{
    Body,
    config::Config as AgentConfig,
    http::{Response, Uri, header},
    unversioned::transport::DefaultConnector,
};

pub use accounts::{Accounts, AccountsError};
pub(crate) use blob::Partial;

use crate::{
    Digest, Reference,
    error::Reason,
    limits::MANIFEST_BYTES_MAX,
    manifest,
    progress::Watch,
    reference::{HUB, is_authority},
};
use accounts::{Challenge, challenge};
use address::{Guarded, is_loopback};

/// Hops from a registry to its storage; one is usual.
const REDIRECTS_MAX: u32 = 5;
/// Requests for one thing before it counts as not to be had.
const ATTEMPTS_MAX: u32 = 4;
/// Between the first two attempts; doubles with each.
const BACKOFF: Duration = Duration::from_millis(500);
/// As long as a registry may tell us to wait, within the time for the whole pull.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// A token server's answer; tokens of a few kilobytes are common.
const TOKEN_BYTES_MAX: u64 = 256 << 10;
/// How long a token is used for which no time was given, as the token specification has it.
const TOKEN_TIME: u64 = 60;
/// Tokens remembered, one per repository and account.
const TOKENS_MAX: usize = 1_000;

/// Where images come from and how.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// For names without a registry, as `https://host[:port]`.
    pub default: String,
    /// By registry, the base addresses that are asked before it, in turn.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// `host[:port]` of registries that may be reached by plain http, and that others may send us to wherever
    /// they are. Loopback registries named by the user are such without being listed.
    pub insecure: BTreeSet<String>,
    /// Our own accounts.
    pub accounts: Accounts,
    /// Without a byte for this long, or at less than a kilobyte per second over it, a transfer is given up.
    pub stall_timeout: Duration,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            default: format!("https://{HUB}"),
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            accounts: Accounts::default(),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

/// A server of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    https: bool,
    /// Lower case host with the port that was written.
    authority: String,
}

/// One repository with the servers it can be had from, and who asks.
#[derive(Debug)]
pub(crate) struct Place {
    endpoints: Vec<Endpoint>,
    /// The registry, not a mirror.
    pub(crate) registry: String,
    pub(crate) repository: String,
    accounts: Accounts,
}

impl Place {
    /// Stands for the rights with which content was read.
    pub(crate) fn fingerprint(&self) -> String {
        self.accounts.fingerprint(&self.registry)
    }
}

struct Token {
    header: String,
    until: Instant,
}

pub(crate) struct Registry {
    settings: RegistrySettings,
    default: Endpoint,
    /// For registries the user or operator named. Made with the first use: the host's certificates take
    /// milliseconds to read.
    direct: OnceLock<ureq::Agent>,
    /// For hosts that a registry named.
    guarded: OnceLock<ureq::Agent>,
    tokens: Mutex<BTreeMap<(String, String, String), Token>>,
}

/// One request.
struct Ask<'a> {
    path: &'a str,
    accept: Option<&'a str>,
    /// First byte wanted.
    from: u64,
    head: bool,
}

impl Registry {
    pub(crate) fn new(settings: RegistrySettings) -> Result<Self, Reason> {
        let default = Endpoint::parse(&settings.default).ok_or_else(|| {
            Reason::Refused(format!("'{}' is not the address of a registry", settings.default))
        })?;
        for mirror in settings.mirrors.values().flatten() {
            if Endpoint::parse(mirror).is_none() {
                return Err(Reason::Refused(format!("'{mirror}' is not the address of a mirror")));
            }
        }
        let (direct, guarded, tokens) = Default::default();
        Ok(Self { settings, default, direct, guarded, tokens })
    }

    /// Where an image is, mirrors first. `accounts` are those of who asks, in place of our own.
    pub(crate) fn place(&self, reference: &Reference, accounts: Option<&Accounts>) -> Place {
        let (registry, repository) = reference.in_registry(&self.default.authority);
        let mirrors = self.settings.mirrors.get(&registry).into_iter().flatten();
        let mut endpoints: Vec<Endpoint> = mirrors.filter_map(|mirror| Endpoint::parse(mirror)).collect();
        endpoints.push(self.endpoint(&registry));
        let accounts = accounts.unwrap_or(&self.settings.accounts).clone();
        Place { endpoints, registry, repository, accounts }
    }

    fn endpoint(&self, authority: &str) -> Endpoint {
        if authority == self.default.authority {
            return self.default.clone();
        }
        let plain = self.settings.insecure.contains(authority) || is_loopback(host(authority));
        Endpoint { https: !plain, authority: authority.to_owned() }
    }

    /// The manifest or index of this name, with its digest and media type.
    pub(crate) fn manifest(
        &self,
        place: &Place,
        target: &str,
        watch: &Watch,
    ) -> Result<(Vec<u8>, Digest, Option<String>), Reason> {
        let path = format!("/v2/{}/manifests/{target}", place.repository);
        self.first(place, |endpoint| {
            let ask = Ask { path: &path, accept: Some(manifest::ACCEPT), from: 0, head: false };
            let response = self.ask(place, endpoint, &ask, watch)?;
            let media_type = text(&response, header::CONTENT_TYPE.as_str());
            let announced = text(&response, "docker-content-digest");
            let content =
                self.read_all(response, endpoint, MANIFEST_BYTES_MAX, "read the manifest", watch)?;
            let digest = Digest::of(&content);
            for expected in [announced.as_deref(), Some(target)].into_iter().flatten() {
                if let Ok(expected) = expected.parse::<Digest>()
                    && expected != digest
                {
                    return Err(Reason::Digest { what: "the manifest", expected, found: digest });
                }
            }
            // Parameters do not change what it is.
            let media_type =
                media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
            Ok((content, digest, media_type))
        })
    }

    /// A blob small enough for memory.
    pub(crate) fn small_blob(
        &self,
        place: &Place,
        digest: Digest,
        bytes_max: u64,
        watch: &Watch,
    ) -> Result<Vec<u8>, Reason> {
        let path = format!("/v2/{}/blobs/{digest}", place.repository);
        self.first(place, |endpoint| {
            let ask = Ask { path: &path, accept: None, from: 0, head: false };
            let response = self.ask(place, endpoint, &ask, watch)?;
            self.read_all(response, endpoint, bytes_max, "read the blob", watch)
        })
    }

    /// Whether who asks may read this blob in this repository (attack A068).
    pub(crate) fn may_read(&self, place: &Place, digest: Digest, watch: &Watch) -> Result<bool, Reason> {
        let path = format!("/v2/{}/blobs/{digest}", place.repository);
        let asked = self.first(place, |endpoint| {
            let ask = Ask { path: &path, accept: None, from: 0, head: true };
            self.ask(place, endpoint, &ask, watch)
        });
        match asked {
            Ok(_) => Ok(true),
            Err(Reason::Missing(_) | Reason::Denied(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The answer of the first server that has one; the last one's failure when none has.
    fn first<T>(&self, place: &Place, act: impl Fn(&Endpoint) -> Result<T, Reason>) -> Result<T, Reason> {
        let mut outcome = Err(Reason::Missing(place.registry.clone()));
        for endpoint in &place.endpoints {
            outcome = act(endpoint);
            match &outcome {
                Ok(_) | Err(Reason::Cancelled | Reason::TimedOut) => break,
                Err(reason) => {
                    tracing::debug!(endpoint = endpoint.authority, %reason, "registry");
                }
            }
        }
        outcome
    }

    /// Asks one server, again where that may help.
    fn ask(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        watch: &Watch,
    ) -> Result<Response<Body>, Reason> {
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            watch.check()?;
            let outcome = self.ask_once(place, endpoint, ask);
            let wait = match &outcome {
                Ok(response) if matches!(response.status().as_u16(), 429 | 500..=599) => {
                    let told =
                        text(response, header::RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
                    told.map_or(backoff, |seconds| {
                        Duration::from_secs(seconds).clamp(backoff, RETRY_AFTER_MAX)
                    })
                }
                Err(reason) if reason.is_transient() => backoff,
                _ => Duration::ZERO,
            };
            if wait.is_zero() || attempt == ATTEMPTS_MAX {
                return self.judge(endpoint, outcome?);
            }
            watch.sleep(wait)?;
            backoff *= 2;
        }
        Err(Reason::TimedOut)
    }

    fn judge(&self, endpoint: &Endpoint, response: Response<Body>) -> Result<Response<Body>, Reason> {
        let authority = endpoint.authority.clone();
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            401 | 403 => Err(Reason::Denied(authority)),
            404 => Err(Reason::Missing(authority)),
            status => Err(Reason::Status { authority, status }),
        }
    }

    /// One request with what is known of the account; when the registry asks for more, once again with that.
    fn ask_once(&self, place: &Place, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Response<Body>, Reason> {
        let key = (
            endpoint.authority.clone(),
            place.repository.clone(),
            place.accounts.fingerprint(&endpoint.authority),
        );
        let known = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.get(&key).filter(|token| token.until > Instant::now()).map(|token| token.header.clone())
        };
        let response = self.follow(endpoint, ask, known.as_deref())?;
        if response.status() != 401 {
            return Ok(response);
        }
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = challenges.iter().filter_map(|value| value.to_str().ok()).find_map(challenge);
        let token = match challenge {
            Some(Challenge::Basic) => match place.accounts.get(&endpoint.authority) {
                Some(account) => Token { header: account.basic(), until: Instant::now() + RETRY_AFTER_MAX },
                None => return Ok(response),
            },
            Some(Challenge::Bearer { realm, service }) => {
                self.token(place, endpoint, &realm, service.as_deref())?
            }
            None => return Ok(response),
        };
        drop(response);
        let response = self.follow(endpoint, ask, Some(&token.header))?;
        if response.status() != 401 {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            if tokens.len() >= TOKENS_MAX {
                tokens.clear();
            }
            tokens.insert(key, token);
        }
        Ok(response)
    }

    /// Sends a request and follows where it leads, without taking credentials to another host.
    fn follow(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Reason> {
        let mut server = endpoint.clone();
        let mut path = ask.path.to_owned();
        for _hop in 0..=REDIRECTS_MAX {
            let at_home = server == *endpoint;
            let url = server.url(&path);
            let agent = self.agent(at_home || self.settings.insecure.contains(&server.authority));
            let mut request = if ask.head { agent.head(&url) } else { agent.get(&url) };
            if let Some(accept) = ask.accept {
                request = request.header(header::ACCEPT, accept);
            }
            if ask.from > 0 {
                request = request.header(header::RANGE, format!("bytes={}-", ask.from));
            }
            if let Some(authorization) = authorization.filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|error| transfer(&server.authority, error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = text(&response, header::LOCATION.as_str()).unwrap_or_default();
            (server, path) = self.redirected(&server, &location)?;
        }
        Err(Reason::Refused(format!("{} redirects more than {REDIRECTS_MAX} times", endpoint.authority)))
    }

    fn redirected(&self, from: &Endpoint, location: &str) -> Result<(Endpoint, String), Reason> {
        let refused = |why: &str| {
            let shown: String = location.chars().take(200).flat_map(char::escape_debug).collect();
            Err(Reason::Refused(format!("{} redirects to '{shown}', {why}", from.authority)))
        };
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok((from.clone(), location.to_owned()));
        }
        let Some((server, path)) = split_url(location) else { return refused("which is no address") };
        if !server.https && server != *from && !self.settings.insecure.contains(&server.authority) {
            return refused("which is not https");
        }
        Ok((server, path))
    }

    /// Gets a token for reading the repository.
    fn token(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
    ) -> Result<Token, Reason> {
        let shown: String = realm.chars().take(200).flat_map(char::escape_debug).collect();
        let Some((server, path)) = split_url(realm) else {
            return Err(Reason::Refused(format!("{} names '{shown}' for tokens", endpoint.authority)));
        };
        let same = server.authority == endpoint.authority;
        let listed = self.settings.insecure.contains(&server.authority);
        // A registry by plain http may hand out its own tokens so.
        let trusted = server.https || listed || (same && !endpoint.https);
        if !trusted {
            let why = format!("{} names '{shown}' for tokens, which is not https", endpoint.authority);
            return Err(Reason::Refused(why));
        }
        // The name of the repository is ours: what the challenge says of a scope could ask for more.
        let mut request = self
            .agent(same || listed)
            .get(server.url(&path))
            .query("scope", format!("repository:{}:pull", place.repository));
        if let Some(service) = service {
            request = request.query("service", service);
        }
        let account = if is_token_host(&endpoint.authority, &server.authority) {
            place.accounts.get(&endpoint.authority)
        } else {
            // Another host gets only what is its own.
            place.accounts.get(&server.authority)
        };
        if let Some(account) = account {
            request = request.header(header::AUTHORIZATION, account.basic());
        }
        let response = request.call().map_err(|error| transfer(&server.authority, error))?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(Reason::Denied(server.authority)),
            status => return Err(Reason::Status { authority: server.authority, status }),
        }
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let watch = Watch::until(Instant::now() + self.settings.stall_timeout);
        let content = self.read_all(response, &server, TOKEN_BYTES_MAX, "read the token", &watch)?;
        let answer: Answer = serde_json::from_slice(&content)
            .map_err(|_| Reason::document("read the token", "it is not the JSON of one"))?;
        let token =
            answer.token.or(answer.access_token).filter(|token| token.bytes().all(|c| c.is_ascii_graphic()));
        let token = token.ok_or_else(|| Reason::document("read the token", "there is none"))?;
        let seconds = answer.expires_in.unwrap_or(TOKEN_TIME).clamp(TOKEN_TIME, 3600);
        // Not used in its last moments, which pass on the way.
        Ok(Token {
            header: format!("Bearer {token}"),
            until: Instant::now() + Duration::from_secs(seconds - 10),
        })
    }

    /// Reads a body that must not be larger.
    fn read_all(
        &self,
        response: Response<Body>,
        endpoint: &Endpoint,
        bytes_max: u64,
        what: &'static str,
        watch: &Watch,
    ) -> Result<Vec<u8>, Reason> {
        let too_large = || Reason::document(what, format!("it has more than {bytes_max} bytes"));
        let body = response.into_body();
        if body.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_large());
        }
        let mut reader = Paced::new(body.into_reader(), blob::PACE_MIN, self.settings.stall_timeout);
        let mut content = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            watch.check()?;
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(content),
                Ok(count) if (content.len() + count) as u64 > bytes_max => return Err(too_large()),
                Ok(count) => content.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(broken(&endpoint.authority, &error)),
            }
        }
    }

    fn agent(&self, direct: bool) -> &ureq::Agent {
        let config = || agent_config(self.settings.stall_timeout);
        if direct {
            self.direct.get_or_init(|| config().new_agent())
        } else {
            let guarded =
                || ureq::Agent::with_parts(config(), DefaultConnector::default(), Guarded::default());
            self.guarded.get_or_init(guarded)
        }
    }
}

fn agent_config(stall_timeout: Duration) -> AgentConfig {
    mezzo_download::client(stall_timeout)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("mezzo/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Endpoint {
    /// `https://host[:port]`, with a slash at most.
    fn parse(text: &str) -> Option<Self> {
        let (endpoint, path) = split_url(text)?;
        (path == "/").then_some(endpoint)
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.https { "https" } else { "http" }, self.authority)
    }
}

/// Server and path with query of an http or https address; nothing for what is none, or has a password in it.
fn split_url(text: &str) -> Option<(Endpoint, String)> {
    let uri: Uri = text.parse().ok()?;
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?.as_str().to_ascii_lowercase();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    is_authority(&authority).then_some((Endpoint { https, authority }, path))
}

fn host(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

/// Whether a registry's credentials may go to this host for a token: itself, the domain it lies in (as
/// registry.gitlab.com's lies in gitlab.com), and Docker Hub's own.
fn is_token_host(registry: &str, tokens: &str) -> bool {
    let parent =
        || host(registry).split_once('.').is_some_and(|(_, parent)| parent.contains('.') && parent == tokens);
    registry == tokens || (registry == HUB && tokens == "auth.docker.io") || parent()
}

fn text(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn transfer(authority: &str, error: ureq::Error) -> Reason {
    match error {
        ureq::Error::Timeout(_) => Reason::Stalled(authority.to_owned()),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Reason::Refused(format!("{authority} is at an address that no registry may send us to"))
        }
        other => Reason::Transfer { authority: authority.to_owned(), why: other.to_string() },
    }
}

fn broken(authority: &str, error: &io::Error) -> Reason {
    if is_timeout(error) {
        return Reason::Stalled(authority.to_owned());
    }
    Reason::Transfer { authority: authority.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests;
