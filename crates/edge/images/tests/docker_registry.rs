//! Pulls from Debian's `docker-registry`, filled with an image made of a static busybox. Without the two programs
//! (packages docker-registry and busybox-static, which `.ci/run` installs) there is nothing to talk to.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use mezzo_images::{
    Accounts, Digest, Policy, Progress, PullOptions, Reason, Reference, RegistrySettings, Settings, Store,
};
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
/// `wonder`, as the registry wants it.
const PASSWORD_FILE: &str = "alice:$2b$05$abcdefghijklmnopqrstuuLZNkQ1VL/QsuI/EN8Qq4Ia5232KBp7m\n";

/// A registry of its own, ended with the test.
struct Registry {
    authority: String,
    process: Child,
    _folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("{name} is not installed: nothing is tested");
    }
    found
}

impl Registry {
    fn start(protected: bool) -> Option<Self> {
        let program = program("docker-registry")?;
        if !Path::new(BUSYBOX).exists() {
            eprintln!("{BUSYBOX} is not installed: nothing is tested");
            return None;
        }
        // The port may be taken between here and the registry's own start: then another is tried.
        Some((0..5).find_map(|_attempt| Self::attempt(&program, protected)).expect("a port that stays free"))
    }

    fn attempt(program: &Path, protected: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port");
        let config = folder.path().join("config.yml");
        let passwords = folder.path().join("passwords");
        fs::write(&passwords, PASSWORD_FILE).expect("written");
        let auth = match protected {
            true => format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display()),
            false => String::new(),
        };
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {free}\n{auth}",
            data.display()
        );
        fs::write(&config, text).expect("written");
        let process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut registry = Self { authority: free.to_string(), process, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && registry.process.try_wait().expect("waited").is_none() {
            if registry.send(ureq::get(registry.url("/v2/"))).is_some() {
                return Some(registry);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// Whether it answers at all.
    fn send(&self, request: ureq::RequestBuilder<ureq::typestate::WithoutBody>) -> Option<u16> {
        request
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .ok()
            .map(|answer| answer.status().as_u16())
    }

    /// Pushes as the specification of the protocol has it: a blob in one piece.
    fn push(&self, repository: &str, blob: &[u8]) {
        let login = "Basic YWxpY2U6d29uZGVy";
        let begun = ureq::post(self.url(&format!("/v2/{repository}/blobs/uploads/")))
            .header("authorization", login)
            .send_empty()
            .expect("begun");
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        let location = if location.starts_with('/') { self.url(&location) } else { location };
        ureq::put(location)
            .query("digest", Digest::of(blob).to_string())
            .header("authorization", login)
            .content_type("application/octet-stream")
            .send(blob)
            .expect("pushed");
    }

    fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &str) {
        ureq::put(self.url(&format!("/v2/{repository}/manifests/{tag}")))
            .header("authorization", "Basic YWxpY2U6d29uZGVy")
            .content_type(media_type)
            .send(manifest)
            .expect("pushed");
    }

    /// An image of two layers: busybox, and something on top.
    fn push_busybox(&self, repository: &str, tag: &str) {
        let mut base = tar::Builder::new(Vec::new());
        let busybox = fs::read(BUSYBOX).expect("read");
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(busybox.len() as u64);
        base.append_data(&mut header, "bin/busybox", &busybox[..]).expect("added");
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_mode(0o777);
        link.set_size(0);
        base.append_link(&mut link, "bin/sh", "busybox").expect("added");
        let base = base.into_inner().expect("tar");
        let mut top = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(6);
        top.append_data(&mut header, "etc/motd", &b"hello\n"[..]).expect("added");
        let top = top.into_inner().expect("tar");
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["/bin/sh","-c"],"Env":["PATH=/bin"]}},
            "rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
            mezzo_images::Platform::default().architecture,
            Digest::of(&base),
            Digest::of(&top)
        );
        let zipped = |content: &[u8]| {
            let mut encoder = flate2::read::GzEncoder::new(content, flate2::Compression::fast());
            let mut packed = Vec::new();
            encoder.read_to_end(&mut packed).expect("packed");
            packed
        };
        let (base, top) = (zipped(&base), zipped(&top));
        let describe = |media_type: &str, content: &[u8]| {
            let digest = Digest::of(content);
            format!(r#"{{"mediaType":"{media_type}","size":{},"digest":"{digest}"}}"#, content.len())
        };
        let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{},{}]}}"#,
            describe("application/vnd.docker.container.image.v1+json", config.as_bytes()),
            describe(layer, &base),
            describe(layer, &top)
        );
        for blob in [&base[..], &top, config.as_bytes()] {
            self.push(repository, blob);
        }
        self.push_manifest(repository, tag, media_type, &manifest);
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.authority).parse().expect("a name")
    }
}

fn open(folder: &TempDir, settings: Settings) -> Store {
    Store::open(&folder.path().join("store"), settings).expect("opened")
}

#[test]
fn an_image_from_a_real_registry_runs() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push_busybox("team/busybox", "1.0");
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder, Settings::default());
    let told = Mutex::new(Progress::default());
    let name = registry.reference("team/busybox:1.0");
    let image = store
        .pull(&name, &PullOptions::default(), &|now| *told.lock().expect("unbroken") = now)
        .expect("pulled");
    let told = told.into_inner().expect("unbroken");
    assert_eq!((told.layers, told.bytes), (2, told.bytes_total));
    assert_eq!(image.config.entrypoint, ["/bin/sh", "-c"]);
    assert_eq!(fs::read_to_string(image.layers[1].join("etc/motd")).expect("read"), "hello\n");
    let out =
        Command::new(image.layers[0].join("bin/busybox")).args(["echo", "it runs"]).output().expect("run");
    assert_eq!(out.stdout, b"it runs\n");
    // By its digest, and by a name of the default registry.
    assert_eq!(
        store.pull(&name.pinned(image.digest), &PullOptions::default(), &|_| {}).expect("pulled").id,
        image.id
    );
    let other = tempfile::tempdir().expect("folder");
    let default = RegistrySettings { default: registry.url(""), ..RegistrySettings::default() };
    let short = open(&other, Settings { registry: default, ..Settings::default() });
    let pulled = short.pull(&"team/busybox:1.0".parse().expect("a name"), &PullOptions::default(), &|_| {});
    assert_eq!(pulled.expect("pulled").id, image.id);
    let missing =
        store.pull(&registry.reference("team/none"), &PullOptions::default(), &|_| {}).expect_err("none");
    assert!(matches!(*missing.reason, Reason::Missing(_)), "{missing}");
    drop(image);
    let all = Policy { bytes_max: Some(0), ..Policy::default() };
    assert_eq!(store.collect(&all, SystemTime::now()).expect("collected").layers, 2);
}

#[test]
fn a_cut_off_download_goes_on_at_a_real_registry() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push_busybox("busybox", "latest");
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder, Settings::default());
    let options = PullOptions { cancelled: Arc::new(AtomicBool::new(false)), ..PullOptions::default() };
    let name = registry.reference("busybox");
    let first = store.pull(&name, &options, &|now| {
        if now.bytes > 0 {
            options.cancelled.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(*first.expect_err("cancelled").reason, Reason::Cancelled));
    let begun: u64 = fs::read_dir(folder.path().join("store/downloads"))
        .expect("read")
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |status| status.len()))
        .sum();
    assert!(begun > 0, "something of it is here");
    let told = Mutex::new(Vec::new());
    let image = store
        .pull(&name, &PullOptions::default(), &|now: Progress| told.lock().expect("unbroken").push(now.bytes))
        .expect("pulled");
    let out = Command::new(image.layers[0].join("bin/busybox")).arg("true").status().expect("run");
    assert!(out.success());
    assert!(
        told.into_inner()
            .expect("unbroken")
            .iter()
            .filter(|bytes| **bytes > 0)
            .all(|bytes| *bytes >= begun.min(1))
    );
}

#[test]
fn a_protected_registry_wants_an_account() {
    let Some(registry) = Registry::start(true) else { return };
    registry.push_busybox("private", "latest");
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder, Settings::default());
    let name = registry.reference("private");
    let refused = store.pull(&name, &PullOptions::default(), &|_| {}).expect_err("refused");
    assert!(matches!(*refused.reason, Reason::Denied(_)), "{refused}");
    let with = |password: &str| {
        let mut accounts = Accounts::default();
        accounts.insert(&registry.authority, "alice", password);
        store.pull(&name, &PullOptions { accounts: Some(accounts), ..PullOptions::default() }, &|_| {})
    };
    assert!(matches!(*with("blunder").expect_err("refused").reason, Reason::Denied(_)));
    with("wonder").expect("pulled");
    assert!(
        store.pull(&name, &PullOptions::default(), &|_| {}).is_err(),
        "not without an account, though it is here"
    );
}
