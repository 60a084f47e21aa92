//! Programs that are no runtimes, or none any more.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use mezzo_container::{Containers, OciRuntime};

use super::{Agent, assert_clean, cgroups_root, config, mounts, rooted, text};

/// A program that says it is a runtime, and then does something else.
fn script(dir: &Path, name: &str, does: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(
        &path,
        format!("#!/bin/sh\n[ \"$1\" = --version ] && {{ echo script 1.0; exit 0; }}\n{does}\n"),
    )
    .expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

pub(crate) fn programs_that_are_no_runtime_fail_in_their_own_words(dir: &Path) {
    let mounted = mounts();
    for (n, (does, expected)) in [
        ("echo no luck >&2; exit 3", "create' ended with exit status 3: no luck"),
        ("kill -9 $$", "create' was ended by signal 9; it said nothing"),
        ("echo garbage; exit 0", "create' has written no process id"),
        (
            "while [ $# -gt 0 ]; do [ \"$1\" = --pid-file ] && echo 1x > \"$2\"; shift; done",
            "has written no process id",
        ),
        (
            "while [ $# -gt 0 ]; do [ \"$1\" = --pid-file ] && echo 2 > \"$2\"; shift; done",
            "has made process 2, not one whose end",
        ),
        ("setsid sleep 1000 & sleep 1000", "create' did not end within 2 s and was killed"),
    ]
    .into_iter()
    .enumerate()
    {
        let program = script(dir, &format!("runtime-{n}"), does);
        let mut runtime = OciRuntime::new(&program);
        if does.contains("sleep") {
            // The others end, however slow this machine is.
            runtime.patience = Duration::from_secs(2);
        }
        let agent = Agent::with(dir, Some(runtime));
        let why = agent.refusal(&rooted(dir, "c1", "true"));
        assert!(why.contains(expected) && why.contains(&*program.to_string_lossy()), "{does}: {why}");
        assert_eq!(text(dir.join("run/containers/c1/failed")), why);
        agent.containers.remove(&"c1".into());
        assert_clean(dir, &cgroups_root(), &mounted);
        // It goes away between two containers.
        if n == 0 {
            fs::remove_file(&program).expect("removed");
            let why = agent.refusal(&rooted(dir, "c2", "true"));
            assert!(why.starts_with("Failed to run the runtime '") && why.contains("No such file"), "{why}");
            agent.containers.remove(&"c2".into());
        }
    }
}

pub(crate) fn what_cannot_be_a_runtime_is_refused_at_start(dir: &Path) {
    let silent = script(dir, "silent", "");
    fs::write(&silent, "#!/bin/sh\n").expect("a script");
    let failing = script(dir, "failing", "");
    fs::write(&failing, "#!/bin/sh\necho what >&2\nexit 2\n").expect("a script");
    let plain = dir.join("plain");
    fs::write(&plain, "").expect("a file");
    for (program, expected) in [
        (dir.join("missing"), "No such file or directory"),
        (plain, "it is not a file that can be executed"),
        (dir.to_path_buf(), "it is not a file that can be executed"),
        (silent, "it is no OCI runtime: '--version' says nothing"),
        (failing, "it is no OCI runtime: '--version' ended with exit status: 2: what"),
    ] {
        let started = Containers::start(config(dir, Some(OciRuntime::new(&program))), |_| {});
        let Err(error) = started else { panic!("{} was taken", program.display()) };
        let error = error.to_string();
        assert!(error.starts_with(&format!("'{}' cannot run containers: ", program.display())), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let quick = OciRuntime::new(script(dir, "good", ""));
    assert_eq!(quick.check().expect("a version"), "script 1.0");
}
