use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;

struct Fixture {
    _directory: TempDir,
    base: PathBuf,
    files: VirtualFiles,
}

/// A sandbox attached as `/sandbox` (with its real path as a second name), beside a secret.
fn fixture() -> Fixture {
    let directory = TempDir::new().unwrap();
    let base = directory.path().canonicalize().unwrap();
    let sandbox = base.join("sandbox");
    fs::create_dir_all(sandbox.join("sub")).unwrap();
    fs::write(sandbox.join("stdout"), "hello from stdout\n").unwrap();
    fs::write(sandbox.join("sub/file"), "x").unwrap();
    fs::write(base.join("secret"), "secret").unwrap();
    let files = VirtualFiles::default();
    files.attach("/sandbox", &sandbox);
    files.attach(sandbox.to_str().unwrap(), &sandbox);
    Fixture { _directory: directory, base, files }
}

fn bad_request(result: Result<Part, FilesError>) -> String {
    match result {
        Err(FilesError::BadRequest(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rule_21_reading() {
    let fixture = fixture();
    let files = &fixture.files;
    let path = "/sandbox/stdout";
    let part = |offset, length| files.read(path, offset, length).unwrap();
    let whole = Part { offset: 0, size: 18, data: b"hello from stdout\n".to_vec() };
    assert_eq!(part(0, None), whole);
    assert_eq!(part(0, Some(100)), whole);
    assert_eq!(part(0, Some(-1)), whole);
    assert_eq!(part(-1, None), Part { offset: 18, size: 18, data: Vec::new() });
    assert_eq!(part(100_000, Some(10)), Part { offset: 100_000, size: 18, data: Vec::new() });
    assert_eq!(part(6, Some(4)).data, b"from");
    assert_eq!(bad_request(files.read(path, 0, Some(-5))), "Negative length provided: -5.\n");
    assert!(bad_request(files.read(path, i64::MIN, None)).starts_with("Negative offset"));
    assert_eq!(part(i64::MAX, Some(i64::MAX)).data, b"");
    assert_eq!(bad_request(files.read("/sandbox", 0, None)), "Cannot read a directory.\n");
}

#[test]
fn rule_21_length_is_cut_to_16_pages() {
    let fixture = fixture();
    let file = fs::File::create(fixture.base.join("sandbox/sparse")).unwrap();
    // Attack A085: a sparse file of 10 TB costs no more than 16 pages either.
    file.set_len(10 << 40).unwrap();
    let part = fixture.files.read("/sandbox/sparse", 5, None).unwrap();
    assert_eq!(part.data.len(), 16 * rustix::param::page_size());
    assert_eq!(part.size, 10 << 40);
}

#[test]
fn rule_22_browsing() {
    let fixture = fixture();
    let files = &fixture.files;
    let found = files.browse("/sandbox/").unwrap();
    let paths: Vec<_> = found.iter().map(|info| info.path.as_str()).collect();
    assert_eq!(paths, ["/sandbox/stdout", "/sandbox/sub"]);
    assert_eq!((found[0].size, found[0].nlink), (18, 1));
    assert_eq!(mode_text(found[0].mode & !0o777 | 0o644), "-rw-r--r--");
    assert_eq!(mode_text(found[1].mode & !0o777 | 0o750), "drwxr-x---");
    assert!(found[0].mtime_seconds > 0);
    assert!(files.browse("/sandbox/stdout").unwrap().is_empty());
    for path in ["/nonexistent", "", "/", "/five/", "/sandbox/nothere", "/sandboxes", "sandbox"] {
        assert!(matches!(files.browse(path), Err(FilesError::NotFound)), "{path:?}");
    }
}

#[test]
fn rule_399_the_longest_attached_path_wins() {
    let fixture = fixture();
    let files = &fixture.files;
    files.attach("/sandbox/sub/volume", fixture.base.join("sandbox/sub"));
    files.attach("/slave/log", fixture.base.join("sandbox/stdout"));
    assert_eq!(files.read("/sandbox/sub/volume/file", 0, None).unwrap().data, b"x");
    assert_eq!(files.read("/slave/log", 0, Some(5)).unwrap().data, b"hello");
    assert!(matches!(files.read("/slave/log/x", 0, None), Err(FilesError::NotFound)));
    assert_eq!(files.debug().len(), 4);
    files.detach("/sandbox/sub/volume/");
    assert!(matches!(files.browse("/sandbox/sub/volume"), Err(FilesError::NotFound)));
}

#[test]
fn downloads_have_a_name_and_a_size() {
    let fixture = fixture();
    let files = &fixture.files;
    let download = files.download("/sandbox/stdout").unwrap();
    assert_eq!((download.name.as_str(), download.size), ("stdout", 18));
    assert!(matches!(files.download("/sandbox/sub"), Err(FilesError::BadRequest(_))));
    assert!(matches!(files.download("/nope"), Err(FilesError::NotFound)));
}

fn refused(files: &VirtualFiles, path: &str) {
    let read = files.read(path, 0, None);
    assert!(read.is_err(), "{path:?} gave {read:?}");
    assert!(files.download(path).is_err(), "{path:?}");
    assert!(!files.browse(path).is_ok_and(|found| !found.is_empty()), "{path:?}");
}

#[test]
fn a082_odd_paths_lead_nowhere() {
    let fixture = fixture();
    let pieces = ["..", ".", "", "...", "..\\", "%2e%2e", "\0", "..\0", "\u{2025}", " ..", ".. ", "\n"];
    let tails = ["secret", "/secret", "etc/passwd", "../secret", "sub/../../secret", "./../secret"];
    for piece in pieces {
        for tail in tails {
            for path in [
                format!("/sandbox/{piece}/{tail}"),
                format!("/sandbox{piece}/{tail}"),
                format!("/sandbox//{piece}//{tail}"),
                format!("{piece}/sandbox/{tail}"),
            ] {
                refused(&fixture.files, &path);
            }
        }
    }
    refused(&fixture.files, &format!("/sandbox/{}", "a/".repeat(40_000)));
    refused(&fixture.files, &format!("/sandbox/{}", "a".repeat(300)));
}

#[test]
fn a083_links_out_of_the_sandbox_are_refused() {
    let fixture = fixture();
    let sandbox = fixture.base.join("sandbox");
    let link = |target: &Path, name: &str| symlink(target, sandbox.join(name)).unwrap();
    link(&fixture.base.join("secret"), "absolute");
    link(Path::new("../secret"), "relative");
    link(Path::new("/proc/self/environ"), "proc");
    link(Path::new("/proc/self/root/etc/passwd"), "magic");
    link(Path::new(".."), "up");
    link(&sandbox.join("../secret"), "through");
    link(Path::new("loop"), "loop");
    for name in ["absolute", "relative", "proc", "magic", "up", "up/secret", "through", "loop"] {
        refused(&fixture.files, &format!("/sandbox/{name}"));
    }
}

#[test]
fn links_inside_the_sandbox_are_followed() {
    let fixture = fixture();
    let sandbox = fixture.base.join("sandbox");
    symlink("sub/file", sandbox.join("relative")).unwrap();
    // As rule 317's tasks/<task id>.
    symlink(sandbox.join("sub"), sandbox.join("absolute")).unwrap();
    assert_eq!(fixture.files.read("/sandbox/relative", 0, None).unwrap().data, b"x");
    assert_eq!(fixture.files.read("/sandbox/absolute/file", 0, None).unwrap().data, b"x");
    assert_eq!(fixture.files.browse("/sandbox/absolute").unwrap()[0].path, "/sandbox/absolute/file");
}

#[test]
fn a084_a_link_swapped_in_while_reading_gives_no_foreign_byte() {
    let fixture = fixture();
    let sandbox = fixture.base.join("sandbox");
    let (good, bad) = (sandbox.join("good"), sandbox.join("bad"));
    fs::write(&good, "good").unwrap();
    symlink(fixture.base.join("secret"), &bad).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let directory = rustix::fs::CWD;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(directory, &good, directory, &bad, exchange).unwrap();
            }
        });
        for _ in 0..10_000 {
            if let Ok(part) = fixture.files.read("/sandbox/good", 0, None) {
                assert_eq!(part.data, b"good");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a085_special_files_neither_block_nor_are_read() {
    let fixture = fixture();
    let sandbox = fixture.base.join("sandbox");
    nix::unistd::mkfifo(&sandbox.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(sandbox.join("socket")).unwrap();
    for name in ["fifo", "socket"] {
        let error = bad_request(fixture.files.read(&format!("/sandbox/{name}"), 0, None));
        assert_eq!(error, "Cannot read a special file.\n");
    }
    let kinds: String = fixture
        .files
        .browse("/sandbox")
        .unwrap()
        .iter()
        .map(|info| mode_text(info.mode)[..1].to_owned())
        .collect();
    assert_eq!(kinds, "ps-d");
}

#[test]
fn what_was_attached_below_a_path_is_hidden_with_it() {
    let files = VirtualFiles::default();
    for name in ["/e", "/e/runs/latest", "/e/runs/latest/tasks/t", "/e.f", "/e0", "/d"] {
        files.attach(name, "/tmp");
    }
    files.detach("/e");
    let left: Vec<String> = files.debug().into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["/d", "/e.f", "/e0"]);
}
