use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use super::*;

struct Fixture {
    _directory: TempDir,
    sandbox: PathBuf,
}

fn fixture() -> Fixture {
    let directory = TempDir::new().unwrap();
    let sandbox = directory.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    fs::write(directory.path().join("outside"), "untouched").unwrap();
    Fixture { _directory: directory, sandbox }
}

impl Fixture {
    fn extract(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let path = self.sandbox.join(name);
        fs::write(&path, bytes).unwrap();
        let directory = File::open(&self.sandbox).unwrap();
        let kind = Kind::of(name).unwrap();
        let result = extract(kind, File::open(path).unwrap(), name, directory.as_fd());
        let outside = self.sandbox.parent().unwrap();
        assert_eq!(fs::read_to_string(outside.join("outside")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 2, "nothing new beside the sandbox");
        result
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.sandbox.join(name)).unwrap().permissions().mode() & 0o7777
    }
}

/// One entry of a tar; names are written into the header as they are.
fn entry(kind: EntryKind, name: &str, link: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

use tar::EntryType as EntryKind;

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryKind::Regular, name, "", 0o644, content.as_bytes())
}

fn link(name: &str, text: &str) -> Vec<u8> {
    entry(EntryKind::Symlink, name, text, 0o777, b"")
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn compressed(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        "gz" => {
            let level = flate2::Compression::fast();
            flate2::read::GzEncoder::new(bytes, level).read_to_end(&mut out).unwrap();
        }
        "bz2" => {
            let level = bzip2::Compression::fast();
            bzip2::read::BzEncoder::new(bytes, level).read_to_end(&mut out).unwrap();
        }
        _ => {
            liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut out).unwrap();
        }
    }
    out
}

#[test]
fn rule_385_all_suffixes_are_extracted() {
    let plain = tar_of(&[file("dir/inner", "content")]);
    for (name, bytes) in [
        ("a.tar", plain.clone()),
        ("a.tgz", compressed("gz", &plain)),
        ("a.tar.gz", compressed("gz", &plain)),
        ("a.tbz2", compressed("bz2", &plain)),
        ("a.tar.bz2", compressed("bz2", &plain)),
        ("a.txz", compressed("xz", &plain)),
        ("a.tar.xz", compressed("xz", &plain)),
    ] {
        let fixture = fixture();
        fixture.extract(name, &bytes).unwrap();
        assert_eq!(fixture.text("dir/inner"), "content", "{name}");
    }
    let fixture = fixture();
    fixture.extract("notes.txt.gz", &compressed("gz", b"text")).unwrap();
    assert_eq!(fixture.text("notes.txt"), "text");
    assert!(fixture.sandbox.join("notes.txt.gz").exists(), "the archive is kept");
    assert_eq!(Kind::of("a.txt"), None);
    assert_eq!(Kind::of("a.7z"), None);
}

#[test]
fn rule_385_zip_is_extracted() {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o4777);
    writer.add_directory("dir", options).unwrap();
    writer.start_file("dir/inner", options).unwrap();
    writer.write_all(b"content").unwrap();
    writer.add_symlink("link", "dir/inner", options).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let fixture = fixture();
    fixture.extract("a.zip", &bytes).unwrap();
    assert_eq!(fixture.text("link"), "content");
    assert_eq!(fixture.mode("dir/inner"), 0o755);
}

#[test]
fn a073_names_that_leave_the_sandbox_are_refused() {
    for name in ["../outside", "/etc/x", "a/../../outside", "a/..", "./../outside", "..", "a/b/../../../x"] {
        let fixture = fixture();
        let result = fixture.extract("a.tar", &tar_of(&[file(name, "bad")]));
        assert!(matches!(result, Err(ArchiveError::Name { .. })), "{name}: {result:?}");
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let _ = fixture.extract("a.zip", &bytes);
        assert!(!fixture.sandbox.join("../x").exists());
    }
}

#[test]
fn a073_links_that_leave_the_sandbox_are_refused() {
    for (name, text) in [
        ("l", "/etc/passwd"),
        ("l", ".."),
        ("l", "../outside"),
        ("d/l", "../../outside"),
        ("l", "d/../.."),
        ("l", "d/.."),
        ("l", "."),
    ] {
        let fixture = fixture();
        let result = fixture.extract("a.tar", &tar_of(&[link(name, text)]));
        let fine = text == ".";
        assert_eq!(result.is_ok(), fine, "{name} -> {text}: {result:?}");
    }
    let fixture = fixture();
    fixture.extract("a.tar", &tar_of(&[file("f", "x"), link("d/l", "../f")])).unwrap();
    assert_eq!(fixture.text("d/l"), "x");
}

#[test]
fn a079_nothing_is_written_through_a_link() {
    let fixture = fixture();
    // A link of an earlier task, and one of the archive itself.
    std::os::unix::fs::symlink("..", fixture.sandbox.join("up")).unwrap();
    for entries in [
        vec![file("up/outside", "bad")],
        vec![link("l", "."), file("l/x", "bad")],
        vec![entry(EntryKind::Directory, "up/", "", 0o777, b"")],
    ] {
        assert!(fixture.extract("a.tar", &tar_of(&entries)).is_err());
    }
    // The link itself is replaced, not what it points to.
    std::os::unix::fs::symlink("../outside", fixture.sandbox.join("f")).unwrap();
    fixture.extract("a.tar", &tar_of(&[file("f", "good")])).unwrap();
    assert_eq!(fixture.text("f"), "good");
}

#[test]
fn a051_hard_links_only_reach_files_of_the_sandbox() {
    let hard = |name: &str, existing: &str| entry(EntryKind::Link, name, existing, 0o644, b"");
    let fixture = fixture();
    std::os::unix::fs::symlink("../outside", fixture.sandbox.join("link")).unwrap();
    for existing in ["../outside", "/etc/passwd", "link", "missing"] {
        assert!(fixture.extract("a.tar", &tar_of(&[hard("h", existing)])).is_err(), "{existing}");
    }
    fixture.extract("a.tar", &tar_of(&[file("f", "x"), hard("h", "f")])).unwrap();
    assert_eq!(fixture.text("h"), "x");
}

#[test]
fn a081_modes_are_masked_and_devices_refused() {
    let fixture = fixture();
    let bytes = tar_of(&[
        entry(EntryKind::Directory, "d/", "", 0o7777, b""),
        entry(EntryKind::Regular, "d/f", "", 0o6777, b"x"),
        entry(EntryKind::Directory, "./", "", 0o777, b""),
        entry(EntryKind::Directory, "closed/", "", 0o000, b""),
    ]);
    let before = fixture.mode("");
    fixture.extract("a.tar", &bytes).unwrap();
    assert_eq!((fixture.mode("d"), fixture.mode("d/f"), fixture.mode("closed")), (0o755, 0o755, 0o700));
    assert_eq!(fixture.mode(""), before);
    for kind in [EntryKind::Char, EntryKind::Block, EntryKind::Fifo] {
        let result = fixture.extract("a.tar", &tar_of(&[entry(kind, "dev", "", 0o666, b"")]));
        assert!(matches!(result, Err(ArchiveError::Special(_))), "{kind:?}");
    }
}

#[test]
fn a078_bombs_end_at_the_bound() {
    // 3 GiB of zeros in 3 MB of gzip, in a tar that announces them.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(1 << 40);
    header.set_cksum();
    let fixture = fixture();
    let directory = File::open(&fixture.sandbox).unwrap();
    let mut target = Target::new(directory.as_fd(), 10);
    target.bytes_left = 1 << 20;
    let stream = header.as_bytes().chain(io::repeat(0));
    let result = tarball::extract(stream, &mut target);
    assert!(matches!(result, Err(ArchiveError::TooLarge(_))), "{result:?}");
    assert!(fs::metadata(fixture.sandbox.join("zeros")).unwrap().len() <= 1 << 20);
    let mut target = Target::new(directory.as_fd(), 10);
    target.entries_left = 3;
    let many: Vec<_> = (0..4).map(|n| file(&format!("f{n}"), "")).collect();
    assert!(matches!(tarball::extract(&*tar_of(&many), &mut target), Err(ArchiveError::TooMany)));
    assert_eq!(Target::new(directory.as_fd(), 1 << 30).bytes_left, 100 << 30);
}

#[test]
fn damaged_archives_are_errors() {
    let plain = tar_of(&[file("dir/inner", &"content".repeat(1000))]);
    let packed = compressed("gz", &plain);
    let fixture = fixture();
    for length in [0, 1, 10, packed.len() / 2, packed.len() - 9] {
        let result = fixture.extract("a.tar.gz", &packed[..length]);
        assert!(result.is_err(), "{length}: {result:?}");
    }
    assert!(fixture.extract("a.zip", b"not a zip").is_err());
    assert!(fixture.extract("a.tar.xz", &packed).is_err());
    for position in (0..plain.len()).step_by(7) {
        let mut bytes = plain.clone();
        bytes[position] ^= 0xff;
        let _ = fixture.extract("b.tar", &bytes);
    }
}
