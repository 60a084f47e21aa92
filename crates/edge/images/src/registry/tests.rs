use std::{fs::File, sync::atomic::AtomicU32, sync::atomic::Ordering};

use super::*;
use crate::testing::{Content, Reply, Server};

const TARGET: &str = "latest";

fn settings() -> RegistrySettings {
    RegistrySettings { stall_timeout: Duration::from_secs(3), ..RegistrySettings::default() }
}

fn watch() -> Watch {
    Watch::until(Instant::now() + Duration::from_secs(20))
}

/// Asks for a manifest with an account at the server itself.
fn ask(server: &Server, settings: RegistrySettings) -> Result<Vec<u8>, Reason> {
    let registry = Registry::new(settings).unwrap();
    let mut accounts = Accounts::default();
    accounts.insert(&server.authority, "user", "secret");
    let reference = format!("{}/app", server.authority).parse().unwrap();
    let place = registry.place(&reference, Some(&accounts));
    registry.manifest(&place, TARGET, &watch()).map(|(content, ..)| content)
}

fn refusal(server: &Server) -> String {
    ask(server, settings()).unwrap_err().to_string()
}

fn download(server: &Server, settings: RegistrySettings, blob: &[u8]) -> (Result<(), Reason>, Vec<u8>) {
    download_onto(server, settings, blob, b"")
}

fn download_onto(
    server: &Server,
    settings: RegistrySettings,
    blob: &[u8],
    begun: &[u8],
) -> (Result<(), Reason>, Vec<u8>) {
    let registry = Registry::new(settings).unwrap();
    let reference = format!("{}/app", server.authority).parse().unwrap();
    let place = registry.place(&reference, None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob");
    std::fs::write(&path, begun).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut partial = Partial::resume(file, blob.len() as u64).unwrap();
    let wanted = (Digest::of(blob), blob.len() as u64);
    let outcome = registry.blob(&place, wanted, &mut partial, &watch(), &|_| {});
    (outcome, std::fs::read(&path).unwrap())
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 + index / 251) as u8).collect()
}

fn authorizations(server: &Server) -> Vec<String> {
    server.log().iter().filter_map(|request| request.headers.get("authorization").cloned()).collect()
}

#[test]
fn a_cut_off_blob_goes_on_where_it_was() {
    let blob = noise(300_000);
    let cuts = AtomicU32::new(0);
    let content = Content::default().blob(&blob);
    let whole = content.clone();
    let server = Server::start(content, move |request| {
        let reply = whole.answer(request);
        (cuts.fetch_add(1, Ordering::Relaxed) < 3).then_some(Reply { cut: Some(70_000), ..reply })
    });
    let (outcome, content) = download(&server, settings(), &blob);
    outcome.unwrap();
    assert_eq!(content, blob);
    let ranges: Vec<_> = server.log().iter().map(|request| request.headers.get("range").cloned()).collect();
    assert_eq!(ranges[0], None);
    assert!(ranges[1..].iter().all(Option::is_some) && ranges.len() == 4, "{ranges:?}");
    // What an earlier process left.
    let (outcome, content) = download_onto(&server, settings(), &blob, &blob[..1_000]);
    outcome.unwrap();
    assert_eq!((content == blob, server.log()[4].headers["range"].as_str()), (true, "bytes=1000-"));
    // What it left is not the beginning: the digest tells, and it is fetched anew.
    let (outcome, content) = download_onto(&server, settings(), &blob, b"something else");
    outcome.unwrap();
    assert_eq!((content == blob, server.log().len()), (true, 7));
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let blob = noise(100_000);
    let (all, cut) = (blob.clone(), AtomicU32::new(0));
    let server = Server::start(Content::default(), move |_| {
        let reply = Reply::ok(all.clone());
        Some(if cut.fetch_add(1, Ordering::Relaxed) == 0 {
            Reply { cut: Some(50_000), ..reply }
        } else {
            reply
        })
    });
    let (outcome, content) = download(&server, settings(), &blob);
    outcome.unwrap();
    assert_eq!(content, blob);
    // Another part than was asked for.
    let all = blob.clone();
    let liar = Server::start(Content::default(), move |request| {
        let partial = request.headers.contains_key("range");
        partial.then(|| Reply {
            status: 206,
            ..Reply::ok(all.clone()).with("content-range", "bytes 5-99999/100000")
        })
    });
    let (outcome, _) = download_onto(&liar, settings(), &blob, &blob[..10]);
    assert!(outcome.unwrap_err().to_string().contains("another part"));
}

#[test]
fn mirrors_are_asked_in_turn_and_then_the_registry() {
    let blob = noise(10_000);
    let bad = Server::start(Content::default().forge(Digest::of(&blob), b"wrong"), |_| None);
    let empty = Server::start(Content::default(), |_| None);
    let registry = Server::start(Content::default().blob(&blob), |_| None);
    let mirrors = vec![format!("http://{}", bad.authority), format!("http://{}/", empty.authority)];
    let mirrored = RegistrySettings { mirrors: [(registry.authority.clone(), mirrors)].into(), ..settings() };
    let (outcome, content) = download(&registry, mirrored, &blob);
    outcome.unwrap();
    assert_eq!((content, bad.log().len(), empty.log().len()), (blob, 1, 1));
    let wrong = RegistrySettings { mirrors: [("x".into(), vec!["ftp://m".into()])].into(), ..settings() };
    assert!(Registry::new(wrong).is_err());
    assert!(Registry::new(RegistrySettings { default: "registry".into(), ..settings() }).is_err());
}

#[test]
fn busy_registries_are_asked_again() {
    let times = AtomicU32::new(0);
    let server = Server::start(Content::default(), move |_| {
        Some(match times.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(503),
            1 => Reply::status(429).with("retry-after", "0"),
            _ => Reply::ok("{}"),
        })
    });
    assert_eq!(ask(&server, settings()).unwrap(), b"{}");
    let down = Server::start(Content::default(), |_| Some(Reply::status(500)));
    assert!(refusal(&down).contains("status 500"));
    assert_eq!(down.log().len(), ATTEMPTS_MAX as usize);
    let missing = Server::start(Content::default(), |_| None);
    assert!(refusal(&missing).contains("no such image"));
    assert_eq!(missing.log().len(), 1, "asking again would not help");
}

#[test]
fn tokens_are_asked_for_once_per_repository() {
    let server = Server::start(Content::default(), |request| {
        let host = &request.headers["host"];
        let challenge =
            format!(r#"Bearer realm="http://{host}/token?x=1",service="s",scope="repository:all:push""#);
        Some(match request.headers.get("authorization").map(String::as_str) {
            _ if request.path.starts_with("/token") => {
                Reply::ok(r#"{"access_token":"abc","expires_in":300}"#)
            }
            Some("Bearer abc") => Reply::ok("{}"),
            _ => Reply::status(401).with("www-authenticate", challenge),
        })
    });
    let registry = Registry::new(settings()).unwrap();
    let reference = format!("{}/app", server.authority).parse().unwrap();
    let mut accounts = Accounts::default();
    accounts.insert(&server.authority, "user", "secret");
    let place = registry.place(&reference, Some(&accounts));
    for _ in 0..2 {
        registry.manifest(&place, TARGET, &watch()).unwrap();
    }
    let log = server.log();
    assert_eq!((log.len(), server.count("/token")), (4, 1));
    let token = &log[1];
    // Our own scope, whatever the challenge wants.
    assert!(token.path.contains("x=1") && token.path.contains("repository%3Aapp%3Apull"), "{}", token.path);
    assert!(token.path.contains("service=s") && !token.path.contains("push"), "{}", token.path);
    assert_eq!(token.headers["authorization"], "Basic dXNlcjpzZWNyZXQ=");
    for answer in ["", "{}", "[]", r#"{"token":"a\r\nb: c"}"#] {
        let odd = Server::start(Content::default(), move |request| {
            let host = &request.headers["host"];
            let challenge = format!(r#"Bearer realm="http://{host}/token""#);
            let token = request.path.starts_with("/token");
            Some(if token {
                Reply::ok(answer)
            } else {
                Reply::status(401).with("www-authenticate", challenge)
            })
        });
        assert!(refusal(&odd).contains("read the token"), "{answer}");
    }
}

#[test]
fn a062_credentials_stay_with_the_host_they_are_for() {
    let blob = noise(1_000);
    // By a redirect: another port is another host.
    let storage = Server::start(Content::default(), |_| Some(Reply::ok("{}")));
    let target = format!("http://{}/data?sig=1", storage.authority);
    let server = Server::start(Content::default(), move |request| {
        Some(match request.headers.get("authorization") {
            None => Reply::status(401).with("www-authenticate", "Basic realm=x"),
            Some(_) => Reply::status(307).with("location", &target),
        })
    });
    let listed = RegistrySettings { insecure: [storage.authority.clone()].into(), ..settings() };
    assert_eq!(ask(&server, listed).unwrap(), b"{}");
    assert_eq!((authorizations(&server).len(), storage.log().len()), (1, 1));
    assert!(authorizations(&storage).is_empty(), "the storage gets no password");
    // By a token realm on another host: what it gets is its own account, which there is none.
    let thief = Server::start(Content::default(), |_| Some(Reply::ok(r#"{"token":"t"}"#)));
    let realm = format!(r#"Bearer realm="http://{}/token""#, thief.authority);
    let server = Server::start(Content::default(), move |request| {
        let bearer = request.headers.get("authorization").is_some_and(|value| value == "Bearer t");
        Some(if bearer { Reply::ok("{}") } else { Reply::status(401).with("www-authenticate", &realm) })
    });
    let listed = RegistrySettings { insecure: [thief.authority.clone()].into(), ..settings() };
    ask(&server, listed).unwrap();
    assert_eq!(thief.log().len(), 1);
    assert!(authorizations(&thief).is_empty());
    // By a mirror.
    let mirror =
        Server::start(Content::default(), |_| Some(Reply::status(401).with("www-authenticate", "Basic")));
    let registry = Server::start(Content::default().blob(&blob), |_| None);
    let base = format!("http://{}", mirror.authority);
    let _ = ask(
        &registry,
        RegistrySettings { mirrors: [(registry.authority.clone(), vec![base])].into(), ..settings() },
    );
    assert!(!mirror.log().is_empty() && authorizations(&mirror).is_empty());
    for (host, tokens, allowed) in [
        (HUB, "auth.docker.io", true),
        ("registry.gitlab.example", "gitlab.example", true),
        ("r.example", "r.example", true),
        ("r.example", "example", false),
        ("r.example", "evil.example", false),
        ("r.co.example", "evil.co.example", false),
        (HUB, "docker.io.evil.example", false),
    ] {
        assert_eq!(is_token_host(host, tokens), allowed, "{host} {tokens}");
    }
}

#[test]
fn a063_plain_http_and_foreign_schemes_are_refused() {
    // A server that speaks no TLS where TLS is expected.
    let plain = Server::start(Content::default(), |_| Some(Reply::ok("{}")));
    let secure = RegistrySettings { default: format!("https://{}", plain.authority), ..settings() };
    assert!(ask(&plain, secure).is_err());
    for location in [
        "http://images.example/x",
        "ftp://images.example/x",
        "file:///etc/passwd",
        "http://u:p@h.example/",
        "//h.example/x",
        "",
        "x",
        "https://",
    ] {
        let server =
            Server::start(Content::default(), move |_| Some(Reply::status(302).with("location", location)));
        assert!(refusal(&server).contains("redirects to"), "{location}");
        assert_eq!(server.log().len(), 1);
    }
    let realm = r#"Bearer realm="http://tokens.example/t""#;
    let server =
        Server::start(Content::default(), move |_| Some(Reply::status(401).with("www-authenticate", realm)));
    assert!(refusal(&server).contains("not https"));
    let registry = Registry::new(settings()).unwrap();
    for (name, https) in [
        ("r.example/a", true),
        ("10.0.0.1:5000/a", true),
        ("localhost:5000/a", false),
        ("[::1]:5000/a", false),
    ] {
        let place = registry.place(&name.parse().unwrap(), None);
        assert_eq!(place.endpoints[0].https, https, "{name}");
    }
}

#[test]
fn a064_a_registry_sends_nobody_to_this_machine() {
    let victim = Server::start(Content::default(), |_| Some(Reply::ok("{}")));
    let local = format!("https://{}/latest/meta-data", victim.authority);
    for target in [
        local.as_str(),
        "https://169.254.169.254/latest",
        "https://[::1]:1/",
        "https://0.0.0.0:1/",
        "https://localhost:1/",
    ] {
        let location = target.to_owned();
        let server =
            Server::start(Content::default(), move |_| Some(Reply::status(307).with("location", &location)));
        assert!(refusal(&server).contains("at an address that"), "{target}");
        let realm = format!(r#"Bearer realm="{target}""#);
        let server = Server::start(Content::default(), move |_| {
            Some(Reply::status(401).with("www-authenticate", &realm))
        });
        assert!(refusal(&server).contains("at an address that"), "{target}");
    }
    assert!(victim.log().is_empty(), "not even connected to");
}

#[test]
fn a065_slow_and_endless_registries_are_given_up() {
    let quick = || RegistrySettings { stall_timeout: Duration::from_millis(300), ..settings() };
    let blob = noise(5_000);
    let all = blob.clone();
    let slow = Server::start(Content::default(), move |_| {
        Some(Reply { pace: Some((1, Duration::from_millis(50))), ..Reply::ok(all.clone()) })
    });
    let started = Instant::now();
    let registry = Registry::new(quick()).unwrap();
    let place = registry.place(&format!("{}/app", slow.authority).parse().unwrap(), None);
    let error = registry.small_blob(&place, Digest::of(&blob), 1 << 20, &watch()).unwrap_err();
    assert!(matches!(error, Reason::Stalled(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    // Never within the time for the whole pull, though each part comes forward.
    let soon = Watch::until(Instant::now() + Duration::from_millis(200));
    let error = registry.small_blob(&place, Digest::of(&blob), 1 << 20, &soon).unwrap_err();
    assert!(matches!(error, Reason::TimedOut | Reason::Stalled(_)), "{error}");
    let round = Server::start(Content::default(), |_| Some(Reply::status(302).with("location", "/again")));
    assert!(refusal(&round).contains("redirects more than"));
    assert_eq!(round.log().len(), REDIRECTS_MAX as usize + 1);
    // A body without end.
    let endless = Server::start(Content::default(), |_| {
        Some(Reply { length: Some(u64::MAX / 4), ..Reply::ok(vec![b' '; 6 << 20]) })
    });
    assert!(refusal(&endless).contains("more than"));
    let silent = Server::start(Content::default(), |_| {
        std::thread::sleep(Duration::from_secs(2));
        Some(Reply::ok("{}"))
    });
    assert!(matches!(ask(&silent, quick()), Err(Reason::Stalled(_))));
}
