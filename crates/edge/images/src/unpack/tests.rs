use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

/// Writes tars as no honest program would.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// Whatever header is given, with the checksum that makes it one.
    fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        let mut header = header.clone();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(size);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.raw(&Self::header(EntryType::Regular, name.as_bytes(), content.len() as u64), content.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.raw(&Self::header(EntryType::Directory, name.as_bytes(), 0), b"")
    }

    pub(crate) fn directory_of(self, name: &str, mode: u32) -> Self {
        let mut header = Self::header(EntryType::Directory, name.as_bytes(), 0);
        header.set_mode(mode);
        self.raw(&header, b"")
    }

    fn link(self, kind: EntryType, name: &str, text: &str) -> Self {
        let mut header = Self::header(kind, name.as_bytes(), 0);
        header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
        self.raw(&header, b"")
    }

    pub(crate) fn symlink(self, name: &str, text: &str) -> Self {
        self.link(EntryType::Symlink, name, text)
    }

    fn hard_link(self, name: &str, text: &str) -> Self {
        self.link(EntryType::Link, name, text)
    }

    fn of_kind(self, kind: EntryType, name: &str) -> Self {
        self.raw(&Self::header(kind, name.as_bytes(), 0), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            write!(content, "{length} {key}=").unwrap();
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.extension(EntryType::XHeader, &content)
    }

    fn extension(self, kind: EntryType, content: &[u8]) -> Self {
        self.raw(&Self::header(kind, b"././@LongLink", content.len() as u64), content)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A layer's directory beside one that nothing may be written into.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("layer")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/victim"), "untouched").unwrap();
        fs::set_permissions(folder.path().join("outside/victim"), fs::Permissions::from_mode(0o640)).unwrap();
        Self { folder }
    }

    fn layer(&self) -> PathBuf {
        self.folder.path().join("layer")
    }

    fn outside(&self) -> String {
        self.folder.path().join("outside").display().to_string()
    }

    fn unpack(&self, tar: Tar) -> Result<Unpacked, UnpackError> {
        self.unpack_with(&tar.end(), Packing::Plain, &options())
    }

    fn unpack_with(
        &self,
        content: &[u8],
        packing: Packing,
        options: &Options,
    ) -> Result<Unpacked, UnpackError> {
        let directory = fs::File::open(self.layer()).unwrap();
        let done = unpack(&mut &content[..], packing, content.len() as u64, directory.into(), options);
        let victim = self.folder.path().join("outside/victim");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        let status = fs::metadata(&victim).unwrap();
        assert_eq!((status.mode() & 0o7777, status.nlink()), (0o640, 1), "nothing outside changes");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(self.folder.path().join("outside")).unwrap().count(), 1);
        done
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.layer().join(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let status = self.layer().join(name).symlink_metadata().unwrap();
        status.file_type().is_char_device() && status.rdev() == 0
    }

    fn is_opaque(&self, name: &str) -> bool {
        let directory = fs::File::open(self.layer().join(name)).unwrap();
        let key = if options().root { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        let mut value = [0; 4];
        matches!(rustix::fs::fgetxattr(&directory, key, &mut value[..]), Ok(1)) && value[0] == b'y'
    }
}

fn options() -> Options {
    Options { root: rustix::process::geteuid().is_root(), setuid: true, limits: Limits::default() }
}

fn refusal(tar: Tar) -> String {
    Place::new().unpack(tar).unwrap_err().to_string()
}

#[test]
fn a_layer_is_unpacked_as_it_says() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let tar = Tar::default()
        .directory("./")
        .directory("./bin/")
        .file("./bin/sh", "#!")
        .symlink("bin/ash", "/bin/sh")
        .hard_link("bin/bash", "./bin/sh")
        .file("implied/parents/file", "x")
        .extension(EntryType::GNULongName, format!("{long}\0").as_bytes())
        .file("cut", "long")
        .pax(&[("path", "päx".as_bytes()), ("mtime", b"1000000001.5")])
        .file("p", "pax")
        .of_kind(EntryType::Fifo, "pipe");
    let unpacked = place.unpack(tar).unwrap();
    assert_eq!((unpacked.entries, unpacked.bytes, unpacked.opaque), (9, 10, false));
    assert_eq!(fs::read_link(place.layer().join("bin/ash")).unwrap(), Path::new("/bin/sh"));
    let shell = fs::metadata(place.layer().join("bin/sh")).unwrap();
    assert_eq!((shell.nlink(), shell.mode() & 0o7777, shell.mtime()), (2, 0o644, 1_000_000_000));
    assert_eq!(
        fs::metadata(place.layer().join("bin")).unwrap().mtime(),
        1_000_000_000,
        "set after its entries"
    );
    assert_eq!((place.text("implied/parents/file"), place.text(&long)), ("x".into(), "long".into()));
    assert_eq!(fs::metadata(place.layer().join("päx")).unwrap().mtime_nsec(), 500_000_000);
    assert!(place.layer().join("pipe").symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn all_packings_give_the_same_layer() {
    let tar = Tar::default().file("a", "b").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let packed =
        [(tar.clone(), Packing::Plain), (gzip.finish().unwrap(), Packing::Gzip), (zstd, Packing::Zstd)];
    for (content, packing) in packed {
        let place = Place::new();
        let unpacked = place.unpack_with(&content, packing, &options()).unwrap();
        assert_eq!((unpacked.diff_id, place.text("a")), (Digest::of(&tar), "b".into()));
        // Cut off anywhere, it is refused.
        let cut = &content[..content.len() - 700.min(content.len() / 2)];
        if packing != Packing::Plain {
            assert!(Place::new().unpack_with(cut, packing, &options()).is_err());
        }
    }
}

#[test]
fn owners_modes_and_attributes_are_kept() {
    if !options().root {
        return;
    }
    let place = Place::new();
    let mut setuid = Tar::header(EntryType::Regular, b"su", 0);
    setuid.set_mode(0o4755);
    setuid.set_uid(1000);
    setuid.set_gid(4_000_000_000);
    let capability: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .pax(&[
            ("gid", b"4000000000"),
            ("SCHILY.xattr.user.note", b"hi"),
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.trusted.secret", b"no"),
            ("SCHILY.xattr.security.selinux", b"no"),
            ("SCHILY.xattr.system.posix_acl_access", b"no"),
        ])
        .raw(&setuid, b"");
    place.unpack(tar).unwrap();
    let file = fs::File::open(place.layer().join("su")).unwrap();
    let status = file.metadata().unwrap();
    assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (1000, 4_000_000_000, 0o4755));
    let mut names = [0; 200];
    let length = rustix::fs::flistxattr(&file, &mut names[..]).unwrap();
    let names = String::from_utf8_lossy(&names[..length]);
    // Attack A057: nothing of trusted or other security attributes.
    assert!(names.contains("user.note") && names.contains("security.capability"), "{names}");
    assert!(!names.contains("trusted") && !names.contains("selinux") && !names.contains("acl"), "{names}");
    let stripped = Place::new();
    let content = Tar::default().raw(&setuid, b"").end();
    stripped.unpack_with(&content, Packing::Plain, &Options { setuid: false, ..options() }).unwrap();
    assert_eq!(fs::metadata(stripped.layer().join("su")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a049_no_path_leaves_the_layer() {
    let names = [
        "../x",
        "/x",
        "//x",
        "a/../../x",
        "./../x",
        "a/../x",
        "..",
        "../",
        "a/..",
        "./..//x",
        "x/../../outside/victim",
        "../outside/victim",
        "a//..//..//x",
        ".../../x",
    ];
    for name in names {
        for kind in
            [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link, EntryType::Fifo]
        {
            let error = refusal(Tar::default().directory("a").file("t", "").link(kind, name, "t"));
            assert!(error.contains("'..'") || error.contains("absolute"), "{name}: {error}");
        }
    }
    // By the longer names of extensions.
    for name in ["../x", "/x", "a\0b", ""] {
        let pax = Tar::default().pax(&[("path", name.as_bytes())]).file("innocent", "");
        assert!(refusal(pax).contains("the entry"), "{name:?}");
    }
    let gnu = Tar::default().extension(EntryType::GNULongName, b"../../x\0").file("innocent", "");
    assert!(refusal(gnu).contains("'..'"));
    let empty = Tar::default().of_kind(EntryType::Regular, "");
    assert!(refusal(empty).contains("has no name"));
    for top in [".", "./", "././"] {
        let error = refusal(Tar::default().symlink(top, "/etc"));
        assert!(error.contains("top of the layer") || error.contains("no name"), "{error}");
    }
}

#[test]
fn a049_links_are_followed_inside_the_layer_only() {
    let place = Place::new();
    let outside = place.outside();
    // Absolute and parent links are taken as if the layer were the whole file system.
    let tar = Tar::default()
        .directory("usr/lib")
        .symlink("lib", "/usr/lib")
        .file("lib/inside", "1")
        .symlink("usr/up", "../../../../usr/lib")
        .file("usr/up/also", "2");
    place.unpack(tar).unwrap();
    assert_eq!((place.text("usr/lib/inside"), place.text("usr/lib/also")), ("1".into(), "2".into()));
    for text in [outside.as_str(), "../outside", "/proc/self/root", "/proc/self/cwd", "/proc/1/root/tmp"] {
        let error = refusal(Tar::default().symlink("l", text).file("l/victim", "overwritten"));
        assert!(error.contains("link to nothing"), "{text}: {error}");
        let error = refusal(Tar::default().symlink("l", text).directory("l/new"));
        assert!(error.contains("link to nothing"), "{text}: {error}");
    }
    let error = refusal(Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", ""));
    assert!(error.contains("circles"), "{error}");
    let error = refusal(Tar::default().file("f", "").file("f/x", ""));
    assert!(error.contains("no directory"), "{error}");
    // A directory that becomes a link after something was put into it.
    let swapped = Place::new();
    let tar = Tar::default().directory("d").symlink("d", &outside).file("d/victim", "overwritten");
    assert!(swapped.unpack(tar).is_err());
}

#[test]
fn a049_every_mixture_of_links_and_parents_stays_inside() {
    // Short programs over a few names, all of them: whatever happens, `unpack` looks at the outside afterwards.
    let names = ["a", "b", "a/b", "a/victim", "b/victim"];
    let texts = ["..", "../outside", ".", "a", "/", "b/..", "../../"];
    let mut tried = 0;
    for first in names {
        for text in texts {
            for second in names {
                for (kind, again) in [
                    (EntryType::Regular, false),
                    (EntryType::Directory, false),
                    (EntryType::Link, true),
                    (EntryType::Symlink, true),
                ] {
                    let place = Place::new();
                    let outside = place.outside();
                    let target = if again { text } else { "" };
                    let tar = Tar::default()
                        .symlink(first, if text == "/" { &outside } else { text })
                        .link(kind, second, target)
                        .file("a/victim", "overwritten")
                        .file("b/victim", "overwritten")
                        .of_kind(EntryType::Regular, "a/.wh.victim");
                    let _ = place.unpack(tar);
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 700);
}

#[test]
fn a050_a_directory_over_a_link_replaces_the_link() {
    let place = Place::new();
    let outside = place.outside();
    let mut open = Tar::header(EntryType::Directory, b"l", 0);
    open.set_mode(0o777);
    place.unpack(Tar::default().symlink("l", &outside).raw(&open, b"")).unwrap();
    let status = place.layer().join("l").symlink_metadata().unwrap();
    assert!(status.is_dir());
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o755, "the target's mode is its own");
    // The same through the file that a link points to.
    let victim = format!("{outside}/victim");
    let files = Place::new();
    files.unpack(Tar::default().symlink("f", &victim).file("f", "own")).unwrap();
    assert_eq!(files.text("f"), "own");
}

#[test]
fn a051_hard_links_reach_files_of_the_layer_only() {
    let place = Place::new();
    let victim = format!("{}/victim", place.outside());
    for text in ["/etc/passwd", "../outside/victim", victim.as_str(), "", "a/../../outside/victim"] {
        assert!(refusal(Tar::default().directory("a").hard_link("x", text)).contains("hard link"), "{text}");
    }
    let error = refusal(Tar::default().hard_link("x", "missing"));
    assert!(error.contains("hard link to nothing"), "{error}");
    let error = refusal(Tar::default().directory("d").hard_link("x", "d"));
    assert!(error.contains("cannot be linked"), "{error}");
    // A link to a link is that link again: what it points to gets no second name.
    place.unpack(Tar::default().symlink("s", &victim).hard_link("x", "s").file("x", "own")).unwrap();
    assert_eq!(place.text("x"), "own");
    assert_eq!(fs::read_link(place.layer().join("s")).unwrap(), Path::new(&victim));
    // The target is replaced between the entries.
    let swapped = Place::new();
    let tar = Tar::default().file("t", "1").hard_link("x", "t").symlink("t", &victim).file("x", "2");
    swapped.unpack(tar).unwrap();
    assert_eq!(swapped.text("x"), "2");
    // Onto itself: nothing is lost.
    let own = Place::new();
    own.unpack(Tar::default().file("t", "1").hard_link("t", "t")).unwrap();
    assert_eq!(own.text("t"), "1");
}

#[test]
fn a052_whiteouts_hide_lower_layers_and_nothing_else() {
    let place = Place::new();
    let tar = Tar::default()
        .file("dir/.wh.gone", "")
        .file("deep/er/.wh..wh..opq", "")
        .file("deep/er/kept", "1")
        // Before and after an entry of the same name: the layer's own stays.
        .file(".wh.first", "")
        .file("first", "2")
        .file("second", "3")
        .file(".wh.second", "")
        .file(".wh.tree", "")
        .file("tree/leaf", "4")
        .file("wood/leaf", "5")
        .file(".wh.wood", "")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh.link", "");
    let unpacked = place.unpack(tar).unwrap();
    assert!(!unpacked.opaque);
    assert!(place.is_whiteout("dir/gone") && place.is_whiteout("link"));
    assert!(place.is_opaque("deep/er") && !place.is_opaque("deep"));
    assert_eq!((place.text("first"), place.text("second")), ("2".into(), "3".into()));
    assert!(place.is_opaque("tree") && place.is_opaque("wood"));
    assert_eq!((place.text("tree/leaf"), place.text("wood/leaf")), ("4".into(), "5".into()));
    assert!(!place.layer().join(".wh..wh.plnk").exists());
    let all = Place::new();
    assert!(all.unpack(Tar::default().file(".wh..wh..opq", "").file("x", "")).unwrap().opaque);
    // Of the top, of what is above it, and in odd places.
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh...", "a/.wh.b/c", ".wh.a/../b", "../.wh.x"] {
        assert!(refusal(Tar::default().directory("a").file(name, "")).contains("the entry"), "{name}");
    }
    assert!(refusal(Tar::default().directory(".wh.d")).contains("whiteout and a directory"));
    // Through a link: stays inside.
    let through = Place::new();
    let outside = through.outside();
    assert!(through.unpack(Tar::default().symlink("l", &outside).file("l/.wh.victim", "")).is_err());
    // Nobody can forge one by a device or a link.
    let forged = Place::new();
    forged.unpack(Tar::default().of_kind(EntryType::Char, "dev")).unwrap();
    assert!(!forged.layer().join("dev").exists());
    assert!(refusal(Tar::default().file(".wh.w", "").hard_link("x", "w")).contains("cannot be linked"));
}

#[test]
fn a053_headers_that_can_be_read_in_two_ways_are_refused() {
    let two_sizes = Tar::default().pax(&[("size", b"0"), ("size", b"512")]).file("a", "");
    assert!(refusal(two_sizes).contains("twice"));
    for value in ["-1", "+5", "0x10", "1 ", "", "99999999999999999999"] {
        let odd = Tar::default().pax(&[("size", value.as_bytes())]).file("a", "");
        assert!(refusal(odd).contains("no number"), "{value:?}");
    }
    // Content where some readers expect none: the entry in it must stay hidden or be refused.
    let hidden = Tar::default().file("hidden", "boo").end();
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::Char, EntryType::Fifo]
    {
        let mut header = Tar::header(kind, b"x", 1024);
        header.as_mut_bytes()[157] = b'x';
        let error = refusal(Tar::default().raw(&header, &hidden[..1024]));
        assert!(error.contains("has content"), "{kind:?}: {error}");
    }
    let slashed = Tar::default().raw(&Tar::header(EntryType::Regular, b"x/", 1024), &hidden[..1024]);
    assert!(refusal(slashed).contains("has content"));
    // The extended size wins everywhere: a file that holds another archive's header is a file.
    let place = Place::new();
    let nested = Tar::default()
        .pax(&[("size", b"1024")])
        .raw(&Tar::header(EntryType::Regular, b"x", 0), &hidden[..1024]);
    place.unpack(nested).unwrap();
    assert_eq!(fs::metadata(place.layer().join("x")).unwrap().len(), 1024);
    assert!(!place.layer().join("hidden").exists());
    let sparse =
        Tar::default().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"evil")]).file("a", "");
    assert!(refusal(sparse).contains("sparse"));
    let global = Tar::default().extension(EntryType::XGlobalHeader, b"16 path=../../x\n").file("a", "");
    assert!(refusal(global).contains("all entries"));
    // Numbers: binary, negative, huge, and octal with spaces.
    let place = Place::new();
    let mut spaced = Tar::header(EntryType::Regular, b"s", 0);
    spaced.as_mut_bytes()[124..136].copy_from_slice(b"         3 \0");
    place.unpack(Tar::default().raw(&spaced, b"abc")).unwrap();
    assert_eq!(place.text("s"), "abc");
    for size in [
        [0xff; 12],
        [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        *b"77777777777\0",
        *b"-1\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut header = Tar::header(EntryType::Regular, b"n", 0);
        header.as_mut_bytes()[124..136].copy_from_slice(&size);
        assert!(Place::new().unpack(Tar::default().raw(&header, b"")).is_err(), "{size:?}");
    }
    // Attack A025: ids are not cut.
    for id in ["4294967295", "4294967296", "18446744073709551615"] {
        let tar = Tar::default().pax(&[("uid", id.as_bytes())]).file("a", "");
        assert!(refusal(tar).contains("no user id"), "{id}");
    }
    let damaged = Tar::default().extension(EntryType::XHeader, b"999 path=x\n").file("a", "");
    assert!(refusal(damaged).contains("damaged"));
}

#[test]
fn empty_fields_are_zero() {
    let place = Place::new();
    let mut header = Tar::header(EntryType::Regular, b"f", 0);
    for field in [108..116, 116..124] {
        header.as_mut_bytes()[field].fill(0);
    }
    header.as_mut_bytes()[136..148].fill(b' ');
    place.unpack(Tar::default().raw(&header, b"")).unwrap();
    let status = fs::metadata(place.layer().join("f")).unwrap();
    assert_eq!((status.mtime(), status.mode() & 0o777), (0, 0o644));
    if options().root {
        assert_eq!((status.uid(), status.gid()), (0, 0));
    }
}

#[test]
fn a054_bombs_end_at_the_limit() {
    let limits = Limits { layer_bytes_max: 1 << 20, ..Limits::default() };
    let small = Options { limits, ..options() };
    let zeros = vec![0u8; 8 << 20];
    let mut tar =
        Tar::default().raw(&Tar::header(EntryType::Regular, b"bomb", zeros.len() as u64), &zeros).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&tar[..], 19).unwrap();
    for (content, packing) in [(&gzip, Packing::Gzip), (&zstd, Packing::Zstd)] {
        let error = Place::new().unpack_with(content, packing, &small).unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");
    }
    // Behind the end of the tar, where no entry counts it.
    tar.truncate(0);
    tar.resize(4 << 20, 0);
    let error = Place::new().unpack_with(&tar, Packing::Plain, &small).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");
    // A ratio: a hundred times and a gigabyte is more than honest content reaches.
    assert_eq!(Limits::default().unpacked(1_000), (1 << 30) + 100_000);
    // A window of 1 GiB that the decoder would have to hold.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&Tar::default().file("a", "b").end()).unwrap();
    assert!(Place::new().unpack_with(&encoder.finish().unwrap(), Packing::Zstd, &options()).is_err());
    // Holes that take no room in the archive.
    let mut sparse = Header::new_gnu();
    sparse.as_mut_bytes()[..6].copy_from_slice(b"sparse");
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(0);
    sparse.set_mode(0o644);
    sparse.set_mtime(0);
    sparse.set_uid(0);
    sparse.set_gid(0);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.sparse[0].offset.copy_from_slice(b"77777777777\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    gnu.realsize.copy_from_slice(b"77777777777\0");
    let content = Tar::default().raw(&sparse, b"").end();
    let error = Place::new().unpack_with(&content, Packing::Plain, &small).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");
}

#[test]
fn a055_entries_names_depth_and_attributes_have_limits() {
    let few = Options { limits: Limits { layer_entries_max: 100, ..Limits::default() }, ..options() };
    let many = (0..200).fold(Tar::default(), |tar, index| tar.file(&index.to_string(), ""));
    let error = Place::new().unpack_with(&many.end(), Packing::Plain, &few).unwrap_err();
    assert_eq!(error.to_string(), "it has more than 100 entries");
    let long = |name: &[u8]| Tar::default().extension(EntryType::GNULongName, name).file("a", "");
    assert!(refusal(long(&vec![b'x'; 300])).contains("too long a name"));
    assert!(refusal(long(&vec![b'x'; 2 << 20])).contains("too long a name"));
    assert!(refusal(long(&b"a/".repeat(100_000))).contains("too deep"));
    assert!(refusal(long(&[&[b'x'; 200][..], b"/"].concat().repeat(30))).contains("too long a path"));
    let value = vec![b'x'; 40 << 10];
    let fat =
        Tar::default().pax(&[("SCHILY.xattr.user.a", &value), ("SCHILY.xattr.user.b", &value)]).file("a", "");
    assert!(refusal(fat).contains("too many attributes"));
    let endless = Tar::default().pax(&[("comment", &vec![b'x'; 2 << 20])]).file("a", "");
    assert!(refusal(endless).contains("too long a name or too many"));
    let text = vec![b'x'; 5_000];
    let link = Tar::default().extension(EntryType::GNULongLink, &text).symlink("a", "x");
    assert!(refusal(link).contains("nowhere"));
}

#[test]
fn a056_devices_are_left_out_and_pipes_are_never_opened() {
    let place = Place::new();
    let tar = Tar::default()
        .of_kind(EntryType::Char, "null")
        .of_kind(EntryType::Block, "disk")
        .of_kind(EntryType::Fifo, "pipe")
        // Replaced, not written through: opening a pipe would wait for a reader.
        .file("pipe", "plain")
        .of_kind(EntryType::Fifo, "other");
    assert_eq!(place.unpack(tar).unwrap().skipped, 2);
    assert!(!place.layer().join("null").exists() && !place.layer().join("disk").exists());
    assert_eq!(place.text("pipe"), "plain");
    // Reading the layer again passes the pipe by.
    let directory = fs::File::open(place.layer()).unwrap();
    crate::integrity::digest(directory.into()).unwrap();
    assert!(refusal(Tar::default().of_kind(EntryType::new(b'Z'), "x")).contains("unknown kind"));
}

#[test]
fn a057_attributes_of_overlayfs_are_refused() {
    for name in
        ["trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy"]
    {
        let key = format!("SCHILY.xattr.{name}");
        let error = refusal(Tar::default().pax(&[(&key, b"y")]).directory("d"));
        assert!(error.contains("overlayfs"), "{name}: {error}");
    }
    // A capability for another namespace's root is left out.
    let place = Place::new();
    let third: [u8; 24] = [1, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    place.unpack(Tar::default().pax(&[("SCHILY.xattr.security.capability", &third)]).file("f", "")).unwrap();
    let file = fs::File::open(place.layer().join("f")).unwrap();
    assert!(rustix::fs::fgetxattr(&file, "security.capability", &mut [0; 64][..]).is_err());
}

#[test]
fn a058_of_two_entries_of_one_name_the_later_wins() {
    let place = Place::new();
    let tar = Tar::default()
        .file("f", "first")
        .file("./f", "second")
        .file("d", "file")
        .directory("d/")
        .file("d/x", "")
        .directory("e")
        .file("e", "file again")
        .file("CASE", "1")
        .file("case", "2")
        .file("é", "composed")
        .file("e\u{301}", "decomposed");
    place.unpack(tar).unwrap();
    assert_eq!((place.text("f"), place.text("e")), ("second".into(), "file again".into()));
    assert_eq!((place.text("CASE"), place.text("case")), ("1".into(), "2".into()));
    assert_eq!((place.text("é"), place.text("e\u{301}")), ("composed".into(), "decomposed".into()));
    assert!(place.layer().join("d/x").exists());
    // Except that a directory with something in it is not thrown away for a file.
    let error = refusal(Tar::default().file("d/x", "").file("d", ""));
    assert!(error.contains("has entries"), "{error}");
}

#[test]
fn damaged_layers_are_refused() {
    let good = Tar::default().file("a", &"x".repeat(3_000)).end();
    for cut in [1, 511, 513, 1_000, 3_000] {
        assert!(Place::new().unpack_with(&good[..cut], Packing::Plain, &options()).is_err(), "{cut}");
    }
    let mut flipped = good;
    flipped[5] ^= 1;
    assert!(Place::new().unpack_with(&flipped, Packing::Plain, &options()).is_err(), "the checksum tells");
    assert!(Place::new().unpack_with(b"not packed", Packing::Gzip, &options()).is_err());
    assert!(Place::new().unpack_with(b"not packed", Packing::Zstd, &options()).is_err());
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever bytes come, nothing outside changes and nothing panics; `unpack_with` looks.
        #[test]
        fn any_bytes(content in proptest::collection::vec(any::<u8>(), 0..4_096)) {
            for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
                let _ = Place::new().unpack_with(&content, packing, &options());
            }
        }

        /// A good archive with a few bytes changed and its checksums made right again.
        #[test]
        fn changed_headers(changes in proptest::collection::vec((0usize..2_560, any::<u8>()), 1..12)) {
            let mut content = Tar::default().directory("a").symlink("l", "a").file("l/f", "x").hard_link("a/h", "a/f").end();
            for (at, byte) in changes {
                content[at] = byte;
            }
            for start in [0, 512, 1_024, 2_048] {
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(&content[start..start + 512]);
                header.set_cksum();
                content[start..start + 512].copy_from_slice(header.as_bytes());
            }
            let _ = Place::new().unpack_with(&content, Packing::Plain, &options());
        }
    }
}
