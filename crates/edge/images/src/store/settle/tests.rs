use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use crate::{
    Policy, PullOptions,
    store::{
        Image, Settings,
        tests::{Place, name, settings},
    },
    testing::{Content, Fixture, Server},
    unpack::tests::Tar,
};

/// What the base of a distribution looks like where `/usr` has been merged.
fn base() -> Tar {
    Tar::default()
        .directory("usr/")
        .directory("usr/bin/")
        .file("usr/bin/sh", "sh")
        .symlink("bin", "usr/bin")
        .symlink("sbin", "/bin")
        .directory_of("tmp/", 0o1777)
        .directory("etc/")
        .file("etc/file", "of the base")
}

/// Pulls an image of these layers.
fn pull(place: &Place, layers: Vec<Tar>) -> Image {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
    let fixture = Fixture::new(&layers, "{}");
    let server = Server::start(Content::default().image("app", "1", &fixture), |_| None);
    place.store.pull(&name(&server, "app:1").parse().unwrap(), &PullOptions::default(), &|_| {}).unwrap()
}

fn read(layer: &Path, file: &str) -> Option<String> {
    // Through no link.
    let path = layer.join(file);
    path.symlink_metadata().ok()?;
    fs::read_to_string(path).ok()
}

fn mode(layer: &Path, file: &str) -> u32 {
    layer.join(file).symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_goes_through_the_links_of_lower_layers_and_their_directories_stay_as_they_are() {
    let place = Place::new();
    let top = || {
        Tar::default().file("bin/tool", "t").file("sbin/daemon", "d").file("tmp/x/y", "y").file("new/a", "a")
    };
    let image = pull(&place, vec![base(), top()]);
    let layer = &image.layers[1];
    assert_eq!(read(layer, "usr/bin/tool").as_deref(), Some("t"));
    assert_eq!(read(layer, "usr/bin/daemon").as_deref(), Some("d"), "/sbin is /bin is /usr/bin");
    assert!(!layer.join("bin").exists() && !layer.join("sbin").exists(), "the links are not hidden");
    assert_eq!((read(layer, "tmp/x/y").as_deref(), mode(layer, "tmp")), (Some("y"), 0o1777));
    assert_eq!(read(layer, "new/a").as_deref(), Some("a"));

    // Another image with the same case has the same layer, one without it the layer as it is.
    let other = pull(&place, vec![base(), Tar::default().file("etc/other", "o"), top()]);
    assert_eq!(other.layers.last(), image.layers.last());
    let alone = pull(&place, vec![Tar::default().directory("bin/"), top()]);
    let layer = &alone.layers[1];
    assert_eq!(
        (read(layer, "bin/tool").as_deref(), read(layer, "tmp/x/y").as_deref()),
        (Some("t"), Some("y"))
    );
    assert_eq!(mode(layer, "tmp"), 0o755);
    let shared = |layer: &Path, file: &str| layer.join(file).symlink_metadata().unwrap().ino();
    assert_eq!(shared(layer, "new/a"), shared(&image.layers[1], "new/a"), "files are there once");

    let (layers, id) = (image.layers.clone(), image.id);
    drop((image, other, alone));
    let place = place.reopen(settings());
    assert_eq!(place.store.hold(id).expect("after a restart").layers, layers);
    let all = Policy { bytes_max: Some(0), ..Policy::default() };
    place.store.collect(&all, std::time::SystemTime::now()).unwrap();
    place.assert_empty();
}

#[test]
fn a049_links_of_lower_layers_lead_nowhere_else_than_into_the_image() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let text = outside.path().display().to_string();
    let up = format!("../../../../../../..{text}");
    let base = Tar::default()
        .symlink("absolute", &text)
        .symlink("above", &up)
        .symlink("circle", "circle/x")
        .file("file", "f")
        .symlink("through", "file/x")
        .symlink("dangling", "srv/data");
    let names = ["absolute", "above", "circle", "through", "dangling"];
    let top = names.iter().fold(Tar::default(), |tar, link| tar.file(&format!("{link}/evil"), link));
    let image = pull(&place, vec![base, top]);
    let layer = &image.layers[1];
    let inside = text.trim_start_matches('/');
    // Both are the same directory of the image: the first one's file stays.
    assert_eq!(read(layer, &format!("{inside}/evil")).as_deref(), Some("above"));
    assert_eq!(read(layer, "srv/data/evil").as_deref(), Some("dangling"));
    for link in ["circle", "through"] {
        assert_eq!(read(layer, &format!("{link}/evil")).as_deref(), Some(link), "a directory in its place");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn what_a_layer_says_itself_is_not_touched() {
    let place = Place::new();
    let top = Tar::default()
        .directory("bin/")
        .file("bin/tool", "an entry replaces the link")
        .file(".wh.sbin", "")
        .file("sbin/tool", "a whiteout removes it")
        .file("etc/.wh..wh..opq", "")
        .file("etc/file", "opaque");
    let image = pull(&place, vec![base(), top]);
    let layer = &image.layers[1];
    for (file, expected) in [
        ("bin/tool", "an entry replaces the link"),
        ("sbin/tool", "a whiteout removes it"),
        ("etc/file", "opaque"),
    ] {
        assert_eq!(read(layer, file).as_deref(), Some(expected), "{file}");
    }
    assert!(!layer.join("usr").exists());
}

#[test]
fn a072_a_changed_layer_is_not_put_onto_others() {
    let verify = || Settings { verify: true, ..settings() };
    let place = Place::with(verify());
    let fixture = |base: Tar| Fixture::new(&[base.end(), Tar::default().file("bin/a", "a").end()], "{}");
    let (linked, plain) = (fixture(base()), fixture(Tar::default().directory("srv/")));
    let content = Content::default().image("linked", "1", &linked).image("plain", "1", &plain);
    let server = Server::start(content, |_| None);
    let get = |place: &Place, app: &str| {
        place.store.pull(&name(&server, app).parse().unwrap(), &PullOptions::default(), &|_| {})
    };
    let file = get(&place, "plain:1").unwrap().layers[1].join("bin/a");
    get(&place, "linked:1").unwrap();
    let place = place.reopen(verify());
    fs::write(&file, "evil").unwrap();
    let error = get(&place, "linked:1").unwrap_err().to_string();
    assert!(error.contains("the stored layer"), "{error}");
    let image = get(&place, "linked:1").unwrap();
    assert_eq!(read(&image.layers[1], "usr/bin/a").as_deref(), Some("a"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "a");
}
