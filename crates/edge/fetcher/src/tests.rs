use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::*;

/// Answers each path in one fixed way and counts the requests.
struct Server {
    address: String,
    requests: Arc<AtomicU32>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || answer(stream, &counter));
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

fn answer(mut stream: TcpStream, counter: &AtomicU32) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    counter.fetch_add(1, Ordering::Relaxed);
    let ok = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let text = match first.split(' ').nth(1).unwrap_or_default() {
        "/file" | "/a-rather-long-name-of-a-file" => ok("content"),
        "/redirect" => "HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        "/to-file" => {
            "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
        "/chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n7\r\ncontent\r\n0\r\n\r\n"
                .to_owned()
        }
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nx".to_owned(),
        "/stall" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
            // Until the client gives up.
            let _ = reader.read_line(&mut line);
            return;
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(text.as_bytes());
}

struct Fixture {
    directory: TempDir,
    fetcher: Fetcher,
    sandbox: PathBuf,
    server: Server,
}

fn fixture() -> Fixture {
    let directory = TempDir::new().unwrap();
    let sandbox = directory.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("script"), "#!/bin/sh\n").unwrap();
    let config = Config {
        cache_dir: directory.path().join("cache"),
        cache_bytes_max: 1000,
        stall_timeout: Duration::from_millis(500),
        frameworks_home: Some(home),
    };
    Fixture { fetcher: Fetcher::start(config).unwrap(), directory, sandbox, server: Server::start() }
}

impl Fixture {
    fn fetch(&self, uris: &[FetchUri]) -> Result<(), FetchError> {
        let request = FetchRequest { uris: uris.to_vec(), sandbox: self.sandbox.clone(), user: None };
        self.fetcher.fetch(&request)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.join(name)).unwrap_or_default()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.sandbox.join(name)).unwrap().permissions().mode() & 0o7777
    }
}

#[test]
fn rule_381_one_after_another_until_one_fails() {
    let fixture = fixture();
    let uri = |path| FetchUri::new(fixture.server.url(path));
    let error = fixture.fetch(&[uri("/file"), uri("/missing"), uri("/redirect")]).unwrap_err();
    // rule 382: only 200 will do.
    assert!(error.to_string().ends_with("Unexpected HTTP response code: 404"), "{error}");
    assert_eq!(fixture.text("file"), "content");
    assert!(!fixture.sandbox.join("redirect").exists());
    // rule 392: what happened is in the sandbox.
    let log = fixture.text("stderr");
    assert!(log.contains("Fetched '") && log.contains("404"), "{log}");
    fixture.fetch(&[uri("/redirect"), uri("/chunked")]).unwrap();
    assert_eq!((fixture.text("redirect"), fixture.text("chunked")), ("content".into(), "content".into()));
}

#[test]
fn rules_383_384_and_386_names_and_modes() {
    let fixture = fixture();
    let mut uri = FetchUri::new("script");
    fixture.fetch(std::slice::from_ref(&uri)).unwrap();
    assert_eq!(fixture.mode("script"), 0o644);
    uri.executable = true;
    uri.output_file = Some("bin/run.tar".to_owned());
    fixture.fetch(std::slice::from_ref(&uri)).unwrap();
    // rule 384: executable files are never extracted, whatever they are called.
    assert_eq!(fixture.mode("bin/run.tar"), 0o755);
    uri.output_file = Some("../escape".to_owned());
    assert!(fixture.fetch(&[uri]).is_err());
    assert!(!fixture.directory.path().join("escape").exists());
}

#[test]
fn rule_385_an_archive_from_the_cache_is_not_kept_in_the_sandbox() {
    let fixture = fixture();
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(&b"text"[..], flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    let path = fixture.directory.path().join("notes.gz");
    fs::write(&path, packed).unwrap();
    let mut uri = FetchUri::new(path.to_str().unwrap());
    uri.cache = true;
    fixture.fetch(std::slice::from_ref(&uri)).unwrap();
    assert_eq!(fixture.text("notes"), "text");
    assert!(!fixture.sandbox.join("notes.gz").exists());
    uri.cache = false;
    fixture.fetch(&[uri]).unwrap();
    assert!(fixture.sandbox.join("notes.gz").exists());
}

#[test]
fn rules_388_to_391_the_cache_downloads_once() {
    let fixture = fixture();
    let mut uri = FetchUri::new(fixture.server.url("/a-rather-long-name-of-a-file"));
    uri.cache = true;
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mut uri = uri.clone();
            uri.output_file = Some(format!("copy{n}"));
            let fixture = &fixture;
            scope.spawn(move || fixture.fetch(&[uri]).unwrap());
        }
    });
    assert_eq!(fixture.server.requests.load(Ordering::Relaxed), 1);
    assert!((0..4).all(|n| fixture.text(&format!("copy{n}")) == "content"));
    assert!(fixture.directory.path().join("cache/c1-a-rather-l_-of-a-file").exists());
    // rule 390: without a length the cache is bypassed.
    let mut unknown = FetchUri::new(fixture.server.url("/chunked"));
    unknown.cache = true;
    fixture.fetch(&[unknown.clone(), unknown]).unwrap();
    assert_eq!(fixture.text("chunked"), "content");
    // rule 389: a starting agent begins with an empty cache.
    let config = fixture.fetcher.config.clone();
    Fetcher::start(config).unwrap();
    assert_eq!(fs::read_dir(fixture.directory.path().join("cache")).unwrap().count(), 0);
}

#[test]
fn rule_392_a_stalled_download_is_given_up() {
    let fixture = fixture();
    let error = fixture.fetch(&[FetchUri::new(fixture.server.url("/stall"))]).unwrap_err();
    assert!(matches!(error.reason, Reason::Stalled), "{error}");
    // Attack A078: a length that was a lie.
    let error = fixture.fetch(&[FetchUri::new(fixture.server.url("/short"))]).unwrap_err();
    assert!(matches!(error.reason, Reason::Transfer(_)), "{error}");
}

#[test]
fn a076_a_redirect_to_a_file_is_refused() {
    let fixture = fixture();
    assert!(fixture.fetch(&[FetchUri::new(fixture.server.url("/to-file"))]).is_err());
    assert!(!fixture.text("to-file").contains("root"));
}

#[test]
fn a075_special_files_are_refused() {
    let fixture = fixture();
    let fifo = fixture.directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [fifo.to_str().unwrap(), "/dev/zero", "/tmp"] {
        assert!(fixture.fetch(&[FetchUri::new(path)]).is_err(), "{path}");
    }
}

#[test]
fn rule_392_files_are_read_and_made_as_the_task_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let fixture = fixture();
    let nobody = User { name: "nobody".to_owned(), uid: 65534, gid: 65534, groups: vec![65534] };
    std::os::unix::fs::chown(&fixture.sandbox, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(fixture.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let request = |uri: &str| FetchRequest {
        uris: vec![FetchUri::new(uri)],
        sandbox: fixture.sandbox.clone(),
        user: Some(nobody.clone()),
    };
    fixture.fetcher.fetch(&request(&fixture.server.url("/file"))).unwrap();
    let status = fs::metadata(fixture.sandbox.join("file")).unwrap();
    assert_eq!((status.uid(), status.gid()), (65534, 65534));
    // Attack A075: what the user may not read is not fetched for it.
    let secret = fixture.directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(fixture.fetcher.fetch(&request(secret.to_str().unwrap())).is_err());
    // The thread has its own rights back.
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    // Attack A079: a link of the task's leads nowhere.
    std::os::unix::fs::symlink(&secret, fixture.sandbox.join("redirect")).unwrap();
    fixture.fetcher.fetch(&request(&fixture.server.url("/redirect"))).unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fixture.text("redirect"), "content");
}
