//! `mezzo run` and `mezzo logs -f` while the master and the agent restart.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    chaos::{Cluster, Random},
    support::{Folder, PATIENCE},
};

#[test]
fn output_is_followed_through_restarts() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let folder = Folder::new(&format!("commands-{seed}"));
        let mut cluster = Cluster::start(folder.path(), &[], &[]);
        let end = folder.path().join("end");
        let script = format!(
            "n=0; while [ ! -e {} ]; do n=$((n+1)); echo line $n; sleep 0.05; done; echo last; exit 3",
            end.display()
        );
        let run = ["run", "--name", "talker", "--", "sh", "-c", &script];
        let mut run = Follower::start(cluster.master.port, folder.path(), "run", &run);
        run.wait_for_lines(5, &cluster);
        let mut logs = Follower::start(cluster.master.port, folder.path(), "logs", &["logs", "-f", "talker"]);
        logs.wait_for_lines(5, &cluster);
        for (hit_master, hit_agent) in [(false, true), (true, false), (true, true)] {
            thread::sleep(Duration::from_millis(random.below(1000)));
            if hit_master {
                cluster.master.kill();
            }
            if hit_agent {
                cluster.agent.kill();
            }
            thread::sleep(Duration::from_millis(random.below(1000)));
            // In some runs the task ends while nobody is there.
            if hit_master && hit_agent && seed % 2 == 1 {
                fs::write(&end, "").expect("let the task end");
                thread::sleep(Duration::from_millis(300));
            }
            if hit_agent {
                cluster.agent.start();
            }
            if hit_master {
                cluster.master.start();
            }
            if !end.exists() {
                run.wait_for_lines(run.lines().len() + 3, &cluster);
                logs.wait_for_lines(logs.lines().len() + 3, &cluster);
            }
        }
        fs::write(&end, "").expect("let the task end");
        assert_eq!(run.finish(&cluster).code(), Some(3), "seed {seed}: mezzo run\n{}", run.errors());
        assert_eq!(logs.finish(&cluster).code(), Some(0), "seed {seed}: mezzo logs\n{}", logs.errors());
        cluster.check(seed);
        let lines = run.lines();
        let expected: Vec<String> =
            (1..lines.len()).map(|n| format!("line {n}")).chain(["last".to_owned()]).collect();
        assert_eq!(lines, expected, "seed {seed}: mezzo run\n{}", run.errors());
        assert_eq!(logs.lines(), expected, "seed {seed}: mezzo logs\n{}", logs.errors());
        println!("commands, seed {seed}: {} lines", lines.len());
    }
}

/// A command whose output goes to files.
struct Follower {
    child: Child,
    name: &'static str,
    folder: std::path::PathBuf,
}

impl Follower {
    fn start(master: u16, folder: &Path, name: &'static str, arguments: &[&str]) -> Self {
        let file = |kind: &str| File::create(folder.join(format!("{name}.{kind}"))).expect("open the output");
        let child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(arguments)
            .env("MEZZO_MASTER", format!("127.0.0.1:{master}"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("start mezzo");
        Self { child, name, folder: folder.to_owned() }
    }

    fn read(&self, kind: &str) -> String {
        fs::read_to_string(self.folder.join(format!("{}.{kind}", self.name))).unwrap_or_default()
    }

    fn errors(&self) -> String {
        self.read("err")
    }

    fn lines(&self) -> Vec<String> {
        self.read("out").lines().map(String::from).collect()
    }

    fn wait_for_lines(&mut self, count: usize, cluster: &Cluster) {
        let start = Instant::now();
        while self.lines().len() < count {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("mezzo {} ended with {status} too early:\n{}", self.name, self.errors());
            }
            assert!(
                start.elapsed() < PATIENCE,
                "mezzo {} stands at {} lines:\n{}\n{}",
                self.name,
                self.lines().len(),
                self.errors(),
                cluster.master.log_tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn finish(&mut self, cluster: &Cluster) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "mezzo {} does not end:\n{}\n{}\n{}",
                self.name,
                self.errors(),
                cluster.master.log_tail(),
                cluster.agent.log_tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Already over when the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
