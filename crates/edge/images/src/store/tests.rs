use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;

use super::*;
use crate::{
    testing::{
        Content, Fixture, GZIP, OCI_INDEX, OCI_MANIFEST, PLAIN, Reply, Server, descriptor, gzip, index,
    },
    unpack::tests::Tar,
};

const SETTINGS: &str = r#"{"Env":["A=b"],"Cmd":["sh"],"WorkingDir":"/srv"}"#;

fn two_layers() -> Fixture {
    Fixture::new(&[Tar::default().file("a", "1").end(), Tar::default().file("b", "2").end()], SETTINGS)
}

pub(super) fn settings() -> Settings {
    let mut settings = Settings {
        platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        pull_timeout: Duration::from_secs(60),
        ..Settings::default()
    };
    settings.registry.stall_timeout = Duration::from_secs(5);
    settings
}

pub(super) struct Place {
    folder: TempDir,
    pub(super) store: Store,
}

impl Place {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), settings).unwrap();
        Self { folder, store }
    }

    pub(super) fn reopen(self, settings: Settings) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = Store::open(&folder.path().join("store"), settings).unwrap();
        Self { folder, store }
    }

    fn pull(&self, name: &str) -> Result<Image, PullError> {
        self.pull_with(name, &PullOptions::default())
    }

    fn pull_with(&self, name: &str, options: &PullOptions) -> Result<Image, PullError> {
        self.store.pull(&name.parse().unwrap(), options, &|_| {})
    }

    fn refusal(&self, name: &str) -> String {
        let error = self.pull(name).unwrap_err().to_string();
        assert!(error.contains(name), "names the image: {error}");
        self.assert_empty();
        error
    }

    fn count(&self, part: &str) -> usize {
        fs::read_dir(self.folder.path().join("store").join(part)).unwrap().count()
    }

    pub(super) fn assert_empty(&self) {
        for part in ["images", "layers", "unpacking", "trash"] {
            assert_eq!(self.count(part), 0, "{part} is empty");
        }
    }
}

pub(super) fn name(server: &Server, rest: &str) -> String {
    format!("{}/{rest}", server.authority)
}

fn text(image: &Image, layer: usize, file: &str) -> String {
    fs::read_to_string(image.layers[layer].join(file)).unwrap()
}

#[test]
fn an_image_is_pulled_once_and_then_here() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("team/app", "v1", &fixture), |_| None);
    let place = Place::new();
    let seen = Mutex::new(Vec::new());
    let reference = name(&server, "team/app:v1").parse().unwrap();
    let image =
        place.store.pull(&reference, &PullOptions::default(), &|now| seen.lock().unwrap().push(now)).unwrap();
    assert_eq!((image.id, image.digest, image.bytes), (fixture.digest(), fixture.digest(), 2));
    assert_eq!((text(&image, 0, "a"), text(&image, 1, "b")), ("1".into(), "2".into()));
    assert_eq!(image.config.cmd, ["sh"]);
    let seen = seen.into_inner().unwrap();
    let total = fixture.layers.iter().map(|(_, content)| content.len() as u64).sum();
    let end = Progress { bytes: total, bytes_total: total, layers: 2, layers_total: 2 };
    assert_eq!(seen.last(), Some(&end), "progress in bytes reaches its end");
    assert!(seen.windows(2).all(|two| two[0].bytes <= two[1].bytes && two[0].layers <= two[1].layers));
    let before = server.log().len();
    assert_eq!(place.pull(&reference.to_string()).unwrap().layers, image.layers);
    assert_eq!(server.log().len(), before, "a cached image asks nobody");
    assert_eq!((place.count("downloads"), place.count("unpacking")), (0, 0));
    // Asked not to use the cache: the registry is asked for the manifest, the layers are here.
    place
        .pull_with(&reference.to_string(), &PullOptions { cached: false, ..PullOptions::default() })
        .unwrap();
    assert_eq!(
        (server.count("/manifests/"), server.count("/blobs/")),
        (2, 4),
        "two manifests, one more configuration"
    );
    let listed = place.store.list();
    assert_eq!((listed.len(), listed[0].layers, listed[0].in_use), (1, 2, true));
    assert_eq!(listed[0].name, reference.to_string());
    drop(image);
    let place = place.reopen(settings());
    let again = place.pull(&reference.to_string()).unwrap();
    assert_eq!((text(&again, 0, "a"), server.count("/manifests/")), ("1".into(), 2), "it survives a restart");
    assert!(!place.store.list().is_empty() && place.store.hold(fixture.digest()).is_some());
}

#[test]
fn a_machine_gets_its_own_manifest_of_an_index() {
    let (own, other) = (two_layers(), Fixture::new(&[Tar::default().file("x", "").end()], "{}"));
    let nested = index(&[(OCI_MANIFEST, "amd64", &own.manifest)]);
    let list = index(&[(OCI_MANIFEST, "arm64", &other.manifest), (OCI_INDEX, "amd64", &nested)]);
    let content = Content::default()
        .image("app", "x", &own)
        .image("app", "y", &other)
        .manifest("app", "nested", OCI_INDEX, &nested)
        .manifest("app", "latest", OCI_INDEX, &list);
    let server = Server::start(content, |_| None);
    let image = Place::new().pull(&name(&server, "app")).unwrap();
    assert_eq!((image.id, image.digest), (own.digest(), Digest::of(&list)));
    // A manifest without an index that is for other machines.
    let config = String::from_utf8(own.config.clone()).unwrap().replace("amd64", "s390x");
    let foreign = Fixture::of(config.into_bytes(), own.layers.clone());
    let server = Server::start(Content::default().image("app", "latest", &foreign), |_| None);
    assert!(Place::new().refusal(&name(&server, "app")).contains("it is not made for linux/amd64"));
}

#[test]
fn many_pulls_of_one_image_share_the_work() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |request| {
        if request.path.contains("/blobs/") {
            thread_sleep(30);
        }
        None
    });
    let place = Place::new();
    let reference: Reference = name(&server, "app").parse().unwrap();
    let pulled = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let image = place.store.pull(&reference, &PullOptions::default(), &|_| {}).unwrap();
                assert_eq!(image.layers.len(), 2);
                pulled.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(pulled.into_inner(), 16);
    assert_eq!((server.count("/manifests/"), server.count("/blobs/")), (1, 3));
    assert!(!place.store.list()[0].in_use, "all have let go");
}

fn thread_sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn images_that_share_a_layer_fetch_it_once() {
    let base = Tar::default().file("base", "").end();
    let one = Fixture::new(&[base.clone(), Tar::default().file("one", "").end()], "{}");
    let two = Fixture::new(&[base, Tar::default().file("two", "").end()], "{}");
    let server =
        Server::start(Content::default().image("app", "one", &one).image("app", "two", &two), |_| None);
    let place = Place::new();
    let (first, second) =
        (place.pull(&name(&server, "app:one")).unwrap(), place.pull(&name(&server, "app:two")).unwrap());
    assert_eq!(first.layers[0], second.layers[0]);
    assert_eq!((place.count("layers"), server.count(&one.layer(0).to_string())), (3, 1));
}

#[test]
fn equal_layers_and_hidden_ones_are_given_once_or_not_at_all() {
    let (same, hiding) = (Tar::default().file("a", "").end(), Tar::default().file(".wh..wh..opq", "").end());
    let repeated = Fixture::new(&[same.clone(), Tar::default().file("b", "").end(), same.clone()], "{}");
    let hidden = Fixture::new(&[same, hiding], "{}");
    let content = Content::default().image("app", "repeated", &repeated).image("app", "hidden", &hidden);
    let server = Server::start(content, |_| None);
    let place = Place::new();
    let image = place.pull(&name(&server, "app:repeated")).unwrap();
    assert_eq!((image.layers.len(), text(&image, 1, "a")), (2, String::new()), "the upper of two equal ones");
    assert_eq!(place.pull(&name(&server, "app:hidden")).unwrap().layers.len(), 1);
}

#[test]
fn a059_wrong_content_is_refused_and_not_kept() {
    let fixture = two_layers();
    let app = |content: Content| {
        let server = Server::start(content, |_| None);
        Place::new().refusal(&name(&server, "app"))
    };
    let good = Content::default().image("app", "latest", &fixture);
    let mut flipped = fixture.layers[0].1.clone();
    flipped[700] ^= 1;
    let error = app(good.clone().forge(fixture.layer(0), &flipped));
    assert!(
        error.contains(&fixture.layer(0).to_string()) && error.contains("the content of the layer"),
        "{error}"
    );
    let error = app(good.clone().forge(fixture.layer(0), &[&fixture.layers[0].1[..], b"more"].concat()));
    assert!(error.contains("has not the announced"), "{error}");
    let error = app(good.forge(Digest::of(&fixture.config), b"{}"));
    assert!(error.contains("configuration"), "{error}");
    // The packed layer is as announced, what is in it is not.
    let other = Fixture::of(fixture.config.clone(), vec![fixture.layers[0].clone(), (GZIP, gzip(b"no tar"))]);
    assert!(app(Content::default().image("app", "latest", &other)).contains("layer"));
    let swapped =
        Fixture::of(fixture.config.clone(), vec![(PLAIN, Tar::default().end()), fixture.layers[1].clone()]);
    assert!(app(Content::default().image("app", "latest", &swapped)).contains("the unpacked layer"));
    let fewer = Fixture::of(fixture.config.clone(), vec![fixture.layers[0].clone()]);
    assert!(app(Content::default().image("app", "latest", &fewer)).contains("names 2 layers"));
    // A pinned manifest that is another.
    let pinned = format!("/v2/app/manifests/{}", fixture.digest());
    let lie = fixture.manifest.clone();
    let server = Server::start(Content::default(), move |request| {
        (request.path == pinned)
            .then(|| Reply::ok([&lie[..], b" "].concat()).with("content-type", OCI_MANIFEST))
    });
    assert!(
        Place::new().refusal(&name(&server, &format!("app@{}", fixture.digest()))).contains("the manifest")
    );
    // One hostile layer of two: the good one does not stay either.
    let hostile =
        Fixture::new(&[Tar::default().file("ok", "").end(), Tar::default().file("../x", "").end()], "{}");
    assert!(app(Content::default().image("app", "latest", &hostile)).contains("contains '..'"));
}

#[test]
fn a060_documents_that_lie_about_their_kind_or_never_end_are_refused() {
    let fixture = two_layers();
    let refused = |media_type: &str, content: &[u8]| {
        let server =
            Server::start(Content::default().manifest("app", "latest", media_type, content), |_| None);
        Place::new().refusal(&name(&server, "app"))
    };
    assert!(refused(OCI_INDEX, &fixture.manifest).contains("announced as one kind"));
    assert!(refused("application/json", &fixture.manifest).contains("media type"));
    assert!(refused(OCI_MANIFEST, &vec![b' '; 5 << 20]).contains("more than 4194304 bytes"));
    // Indexes in indexes: a loop is not possible by digests, but depth is.
    let mut inner = index(&[(OCI_MANIFEST, "amd64", &fixture.manifest)]);
    let mut content = Content::default().image("app", "x", &fixture);
    for _ in 0..4 {
        content = content.manifest("app", "inner", OCI_INDEX, &inner);
        inner = index(&[(OCI_INDEX, "amd64", &inner)]);
    }
    let server = Server::start(content.manifest("app", "latest", OCI_INDEX, &inner), |_| None);
    assert!(Place::new().refusal(&name(&server, "app")).contains("too deep"));
    // A size beyond what an image may have is not even begun.
    let huge = String::from_utf8(fixture.manifest.clone()).unwrap();
    let huge =
        huge.replace(&format!("\"size\":{}", fixture.layers[0].1.len()), "\"size\":18446744073709551615");
    let server = Server::start(
        Content::default().image("app", "x", &fixture).manifest(
            "app",
            "latest",
            OCI_MANIFEST,
            huge.as_bytes(),
        ),
        |_| None,
    );
    assert!(Place::new().refusal(&name(&server, "app")).contains("it has more than"));
    assert_eq!(server.count(&fixture.layer(0).to_string()), 0);
}

#[test]
fn a066_a_tag_is_what_it_was_until_asked_again_and_a_pin_never_moves() {
    let (old, new) = (two_layers(), Fixture::new(&[Tar::default().file("new", "").end()], "{}"));
    let moved = Arc::new(AtomicBool::new(false));
    let (flag, manifest) = (Arc::clone(&moved), new.manifest.clone());
    let server = Server::start(
        Content::default().image("app", "latest", &old).image("app", "next", &new),
        move |request| {
            let now = flag.load(Ordering::Relaxed) && request.path.ends_with("/latest");
            now.then(|| Reply::ok(manifest.clone()).with("content-type", OCI_MANIFEST))
        },
    );
    let place = Place::new();
    let tag = name(&server, "app:latest");
    let first = place.pull(&tag).unwrap();
    moved.store(true, Ordering::Relaxed);
    assert_eq!(place.pull(&tag).unwrap().id, first.id);
    let pin = tag.parse::<Reference>().unwrap().pinned(first.digest).to_string();
    assert_eq!(Place::new().pull(&pin).unwrap().id, old.digest(), "another machine gets the same by the pin");
    let fresh = place.pull_with(&tag, &PullOptions { cached: false, ..PullOptions::default() }).unwrap();
    assert_eq!(fresh.id, new.digest());
    assert_eq!(text(&first, 0, "a"), "1", "who has the old one keeps it");
}

#[test]
fn a068_what_is_here_for_one_is_not_given_to_another() {
    let secret = two_layers();
    let server = Server::start(Content::default().image("private", "latest", &secret), |request| {
        let allowed = request.headers.get("authorization").map(String::as_str) == Some("Basic YWxpY2U6cHc=");
        (!allowed).then(|| Reply::status(401).with("www-authenticate", "Basic realm=x"))
    });
    let place = Place::new();
    let private = name(&server, "private");
    let mut accounts = Accounts::default();
    accounts.insert(&server.authority, "alice", "pw");
    let alice = PullOptions { accounts: Some(accounts), ..PullOptions::default() };
    assert!(place.pull(&private).unwrap_err().to_string().contains("denies access"));
    place.pull_with(&private, &alice).unwrap();
    assert!(
        place.pull(&private).unwrap_err().to_string().contains("denies access"),
        "not from the cache either"
    );
    let mut wrong = Accounts::default();
    wrong.insert(&server.authority, "mallory", "pw");
    let mallory = PullOptions { accounts: Some(wrong), ..PullOptions::default() };
    assert!(place.pull_with(&private, &mallory).is_err());
    assert!(place.pull_with(&private, &alice).is_ok());
    // By a manifest of one's own that names the other's layers.
    let thief = Fixture::of(secret.config.clone(), secret.layers.clone());
    let open =
        Content::default().manifest("thief", "latest", OCI_MANIFEST, &thief.manifest).blob(&thief.config);
    let mirror = Server::start(open, |_| None);
    let error = place.pull(&name(&mirror, "thief")).unwrap_err().to_string();
    assert!(error.contains("no such image"), "{error}");
    let heads = mirror.log().iter().filter(|request| request.method == "HEAD").count();
    assert!(heads > 0, "the registry was asked whether it may be read");
}

#[test]
fn a071_collection_spares_what_is_used_and_follows_no_link() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "").unwrap();
    let base = Tar::default().file("base", "xx").end();
    let used = Fixture::new(&[base.clone(), Tar::default().file("used", "xx").end()], "{}");
    let idle = Fixture::new(&[base, Tar::default().file("idle", "xxxx").end()], "{}");
    let server =
        Server::start(Content::default().image("a", "used", &used).image("a", "idle", &idle), |_| None);
    let place = Place::new();
    let image = place.pull(&name(&server, "a:used")).unwrap();
    let gone = place.pull(&name(&server, "a:idle")).unwrap().layers[1].clone();
    symlink(outside.path(), gone.join("link")).unwrap();
    let now = SystemTime::now();
    let young = Policy { age_max: Some(Duration::from_secs(60)), bytes_max: Some(1 << 20), keep: Vec::new() };
    assert_eq!(place.store.collect(&young, now).unwrap(), Collected::default());
    let kept = Policy {
        bytes_max: Some(0),
        keep: vec![name(&server, "a:idle").parse().unwrap()],
        ..Policy::default()
    };
    assert_eq!(
        place.store.collect(&kept, now).unwrap(),
        Collected::default(),
        "one is in use, one is to be kept"
    );
    let small = Policy { bytes_max: Some(4), ..Policy::default() };
    let collected = place.store.collect(&small, now).unwrap();
    assert_eq!(collected, Collected { images: 1, layers: 1, bytes: 4 });
    assert!(!gone.exists() && outside.path().join("precious").exists());
    assert!(image.layers.iter().all(|layer| layer.exists()), "the shared layer is still there");
    let copy = image.clone();
    drop(image);
    let all = Policy { bytes_max: Some(0), ..Policy::default() };
    assert_eq!(place.store.collect(&all, now).unwrap().images, 0, "a clone of it holds as well");
    drop(copy);
    let old = Policy { age_max: Some(Duration::from_secs(60)), ..Policy::default() };
    assert_eq!(place.store.collect(&old, now + Duration::from_secs(61)).unwrap().images, 1);
    place.assert_empty();
    assert_eq!(place.count("configs"), 0);
    assert!(place.pull(&name(&server, "a:idle")).is_ok(), "fetched again");
}

#[test]
fn a071_containers_keep_their_image_over_restarts() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |_| None);
    let place = Place::new();
    let reference = name(&server, "app").parse().unwrap();
    assert!(place.store.here(&reference, &PullOptions::default()).is_none());
    let image = place.pull(&name(&server, "app")).unwrap();
    assert_eq!(place.store.here(&reference, &PullOptions::default()).unwrap().id, image.id);
    place.store.keep(&image, "c1").unwrap();
    place.store.keep(&image, "c1").unwrap();
    place.store.keep(&image, "c1.child").unwrap();
    drop(image);
    let place = place.reopen(settings());
    assert_eq!(place.store.holders(), ["c1", "c1.child"]);
    let all = Policy { bytes_max: Some(0), ..Policy::default() };
    for (container, left) in [("c1", 0), ("unknown", 0), ("c1.child", 1)] {
        place.store.release(container);
        assert_eq!(place.store.collect(&all, SystemTime::now()).unwrap().images, left, "{container}");
    }
    assert_eq!(place.count("holders"), 0);
    fs::write(place.folder.path().join("store/holders/x"), "damaged").unwrap();
    let place = place.reopen(settings());
    assert!(place.store.holders().is_empty() && place.count("holders") == 0);
}

#[test]
fn a071_collection_races_with_pulls_and_never_takes_a_layer_away() {
    let fixtures: Vec<Fixture> = (0..4)
        .map(|index| {
            Fixture::new(
                &[
                    Tar::default().file("base", "b").end(),
                    Tar::default().file(&format!("f{index}"), "x").end(),
                ],
                "{}",
            )
        })
        .collect();
    let content = fixtures.iter().enumerate().fold(Content::default(), |content, (index, fixture)| {
        content.image("a", &format!("t{index}"), fixture)
    });
    let server = Server::start(content, |_| None);
    let place = Place::new();
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                place
                    .store
                    .collect(&Policy { bytes_max: Some(0), ..Policy::default() }, SystemTime::now())
                    .unwrap();
            }
        });
        let pullers: Vec<_> = (0..4)
            .map(|index| {
                let (place, server) = (&place, &server);
                scope.spawn(move || {
                    for _ in 0..15 {
                        let image = place.pull(&name(server, &format!("a:t{index}"))).unwrap();
                        assert_eq!(
                            (text(&image, 0, "base"), text(&image, 1, &format!("f{index}"))),
                            ("b".into(), "x".into())
                        );
                    }
                })
            })
            .collect();
        let ends: Vec<_> = pullers.into_iter().map(|puller| puller.join()).collect();
        running.store(false, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
}

#[test]
fn a072_a_changed_layer_is_noticed_and_fetched_again() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |_| None);
    let verifying = || Settings { verify: true, ..settings() };
    let changes: [fn(&Path); 4] = [
        |layer| fs::write(layer.join("a"), "2").unwrap(),
        |layer| fs::write(layer.join("extra"), "").unwrap(),
        |layer| fs::set_permissions(layer.join("a"), fs::Permissions::from_mode(0o4755)).unwrap(),
        |layer| fs::remove_dir_all(layer).unwrap(),
    ];
    for change in changes {
        let place = Place::with(verifying());
        let path = place.pull(&name(&server, "app")).unwrap().layers[0].clone();
        change(&path);
        let place = place.reopen(verifying());
        let image = place.pull(&name(&server, "app")).unwrap();
        assert_eq!(text(&image, 0, "a"), "1");
        assert!(!image.layers[0].join("extra").exists());
        assert_eq!(fs::metadata(image.layers[0].join("a")).unwrap().mode() & 0o7777, 0o644);
    }
    // An unchanged one is not fetched again.
    let before = server.count("/blobs/");
    let place = Place::with(verifying());
    place.pull(&name(&server, "app")).unwrap();
    let place = place.reopen(verifying());
    place.pull(&name(&server, "app")).unwrap();
    assert_eq!(server.count("/blobs/"), before + 3);
}

#[test]
fn f139_damaged_records_mean_that_images_are_fetched_again() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |_| None);
    for damage in ["", "{", "null", r#"{"name":"x"}"#] {
        for part in ["images", "configs", "layers"] {
            let place = Place::new();
            place.pull(&name(&server, "app")).unwrap();
            let store = place.folder.path().join("store");
            let mut path = fs::read_dir(store.join(part)).unwrap().next().unwrap().unwrap().path();
            if part == "layers" {
                path = path.join("layer.json");
            }
            fs::write(path, damage).unwrap();
            let place = place.reopen(settings());
            assert!(place.store.list().is_empty(), "{part}: {damage}");
            place.assert_empty();
            assert_eq!(place.pull(&name(&server, "app")).unwrap().layers.len(), 2);
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_what_the_next_start_cleans() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |_| None);
    let place = Place::new();
    let store = place.folder.path().join("store");
    let hex = fixture.layer(0).hex();
    // While downloading, unpacking, after a rename, before a record, while deleting.
    fs::write(store.join("downloads").join(&hex), &fixture.layers[0].1[..300]).unwrap();
    fs::create_dir_all(store.join("unpacking/0/fs/half")).unwrap();
    fs::write(store.join("unpacking/1"), "half a record").unwrap();
    fs::create_dir_all(store.join("layers").join(&hex).join("fs")).unwrap();
    fs::write(store.join("layers").join(&hex).join("layer.json"), r#"{"bytes":1,"entries":1}"#).unwrap();
    fs::write(store.join("configs").join(&hex), "{}").unwrap();
    fs::create_dir_all(store.join("trash/0/fs")).unwrap();
    let place = place.reopen(settings());
    place.assert_empty();
    assert_eq!(
        (place.count("configs"), place.count("downloads")),
        (0, 1),
        "a young download is gone on with"
    );
    place.pull(&name(&server, "app")).unwrap();
    let ranges = server.log().iter().filter(|request| request.headers.contains_key("range")).count();
    assert_eq!((ranges, place.count("downloads")), (1, 0));
}

#[test]
fn a_store_has_one_user_and_is_closed_to_others() {
    let place = Place::new();
    let path = place.folder.path().join("store");
    assert!(matches!(Store::open(&path, settings()), Err(OpenError::InUse(_))));
    // Attack A027: nobody else walks to a setuid file of an image.
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_pull_that_is_not_wanted_any_more_ends() {
    let fixture = two_layers();
    let server = Server::start(Content::default().image("app", "latest", &fixture), |request| {
        let slow = Reply { pace: Some((1, Duration::from_millis(20))), ..Reply::ok(vec![0; 100_000]) };
        request.path.contains("/blobs/").then_some(slow)
    });
    let place = Place::new();
    let options = PullOptions::default();
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| place.pull_with(&name(&server, "app"), &options));
        while server.count("/blobs/") == 0 {
            thread_sleep(5);
        }
        options.cancelled.store(true, Ordering::Relaxed);
        let error = pull.join().unwrap().unwrap_err();
        assert!(matches!(*error.reason, Reason::Cancelled), "{error}");
    });
    place.assert_empty();
}

mod local {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn docker_archives_are_read_by_name() {
        let fixture = two_layers();
        let config = format!("{}.json", Digest::of(&fixture.config).hex());
        let list = format!(
            r#"[{{"Config":"{config}","RepoTags":["app:v1"],"Layers":["one/layer.tar","two/layer.tar"]}}]"#
        );
        let content = archive(&[
            ("one/layer.tar", &fixture.layers[0].1),
            ("two/layer.tar", &fixture.layers[1].1),
            (&config, &fixture.config),
            ("manifest.json", list.as_bytes()),
        ]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app:v1.tar"), &content).unwrap();
        // As Mesos takes them: a folder of archives in place of a registry.
        let place = Place::with(Settings { source: Source::Folder(folder.path().to_owned()), ..settings() });
        let image = place.pull("app:v1").unwrap();
        assert_eq!((image.id, text(&image, 1, "b")), (Digest::of(&fixture.config), "2".into()));
        assert!(place.pull("app:v2").unwrap_err().to_string().contains("no such image"));
        assert!(place.pull("other").unwrap_err().to_string().contains("no such image"));
        // Damaged ones.
        for (from, to) in [("two/layer.tar", "../../etc/passwd"), ("\"one/", "\"gone/")] {
            let text = list.replace(from, to);
            let bad = archive(&[("manifest.json", text.as_bytes()), (&config, &fixture.config)]);
            let path = folder.path().join("bad.tar");
            fs::write(&path, bad).unwrap();
            let options =
                PullOptions { cached: false, source: Some(Source::Archive(path)), ..PullOptions::default() };
            assert!(place.pull_with("app:v1", &options).unwrap_err().to_string().contains("does not have"));
        }
        let path = folder.path().join("cut.tar");
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        let options =
            PullOptions { cached: false, source: Some(Source::Archive(path)), ..PullOptions::default() };
        assert!(place.pull_with("app:v1", &options).is_err());
    }

    #[test]
    fn layout_folders_and_archives_are_read() {
        let fixture = two_layers();
        let mut index = descriptor(OCI_MANIFEST, &fixture.manifest);
        index.insert_str(index.len() - 1, r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{index}]}}"#);
        let blob = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
        let mut files: Vec<(String, &[u8])> = vec![
            ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json".into(), index.as_bytes()),
            (blob(&fixture.manifest), &fixture.manifest),
            (blob(&fixture.config), &fixture.config),
        ];
        files.extend(fixture.layers.iter().map(|(_, content)| (blob(content), content.as_slice())));
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &files {
            let path = folder.path().join("layout").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let borrowed: Vec<(&str, &[u8])> =
            files.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        fs::write(folder.path().join("layout.tar"), archive(&borrowed)).unwrap();
        for source in ["layout", "layout.tar"] {
            let place = Place::new();
            let from = |source: &str| PullOptions {
                source: Some(Source::Archive(folder.path().join(source))),
                ..PullOptions::default()
            };
            let image = place.pull_with("app:v1", &from(source)).unwrap();
            assert_eq!((image.id, text(&image, 0, "a")), (fixture.digest(), "1".into()));
            assert!(place.pull_with("app:v2", &from(source)).is_err());
            assert_eq!(place.pull("app:v1").unwrap().id, image.id, "by its name it is here from now on");
        }
        // Attack A059: a layout's content is checked like a registry's.
        let layer = folder.path().join("layout").join(blob(&fixture.layers[0].1));
        let mut content = fs::read(&layer).unwrap();
        content[700] ^= 1;
        fs::write(&layer, content).unwrap();
        let place = Place::new();
        let options = PullOptions {
            source: Some(Source::Archive(folder.path().join("layout"))),
            ..PullOptions::default()
        };
        let error = place.pull_with("app:v1", &options).unwrap_err().to_string();
        assert!(error.contains("the content of the layer"), "{error}");
        place.assert_empty();
    }
}
