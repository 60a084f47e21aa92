use super::*;

const GOOD: &str = r#"
title = "Two teams"
row = "F241"
duration = "10m"
policy = ["fair-share", "random+pack", "most-free:gpus"]

[[nodes]]
name = "small"
count = 3
cpus = 8
memory = "32 GiB"
attributes = { rack = "r1" }
region = "eu"
zone = "eu-1"

[[roles]]
name = "web"
weight = 2.0
guarantee = { cpus = 4 }
limit = { cpus = 16, memory = "64 GiB" }

[[frameworks]]
name = "web"
[[frameworks.workloads]]
kind = "service"
tasks = 6
cpus = 0.5
memory = "256 MiB"
[[frameworks.workloads]]
kind = "batch"
tasks = 4
waves = 3
every = "1m"
cpus = 1
memory = "1 GiB"
runtime = ["10s", "40s"]

[[frameworks]]
name = "noise"
count = 2
behaviour = "flooder"

[[faults]]
at = "30s"
kind = "partition-agent"
agents = "2-3"
for = "75s"
direction = "to-master"

[[faults]]
every = "1m"
kind = "crash-agent"
for = "5s"

[[faults]]
at = "5m"
kind = "drain"
agents = "1"
for = "1m"

[master]
agent_ping_timeout = "5s"

[expect]
done_min = 12
[[expect.frameworks]]
name = "web"
wait_max = "1m"
"#;

fn read(text: &str) -> Result<Scenario, Problem> {
    Scenario::read("two.toml", text, Path::new("."))
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    read(&GOOD.replacen(from, to, 1)).expect_err("refused").to_string()
}

#[test]
fn a_scenario_is_read() {
    let scenario = read(GOOD).expect("good");
    assert_eq!(scenario.rows, ["F241"]);
    assert_eq!(scenario.policies[1].preference, Preference::Pack);
    assert_eq!(scenario.roles[0].limit, [("cpus".to_owned(), 16.0), ("mem".to_owned(), 65_536.0)]);
    assert_eq!(scenario.frameworks[1].count, 2);
    assert_eq!(scenario.faults[0].target, crate::Target::Nodes(vec![1, 2]));
    assert_eq!(scenario.faults[1].target, crate::Target::AnyNode);
    assert_eq!(scenario.expect.frameworks[0].1.wait_max, Some(Duration::from_secs(60)));
    assert_eq!(scenario.master.agent_ping_timeout, Some(Duration::from_secs(5)));
}

#[test]
fn an_unknown_key_is_told_with_what_was_meant() {
    assert_eq!(
        changed("tasks = 6", "taks = 6"),
        "[[frameworks.workloads]] knows no key 'taks'\n  --> two.toml:26:1\n    |\n 26 | taks = 6\n    | ^^^^\n   \
         = expected how many\n  help: did you mean 'tasks'?"
    );
    assert!(changed("tasks = 6", "").contains("two.toml:24:1"), "the table that lacks it");
    let text = changed("direction = \"to-master\"", "driection = \"to-master\"");
    assert!(text.contains("two.toml:48:1") && text.contains("did you mean 'direction'?"), "{text}");
    assert!(changed("[master]", "[mastr]").contains("did you mean 'master'?"));
    assert!(changed("\"flooder\"", "\"floder\"").contains("did you mean \"flooder\"?"));
    assert!(changed("\"crash-agent\"", "\"crash-agnet\"").contains("did you mean \"crash-agent\"?"));
    assert!(changed("\"drain\"", "\"darin\"").contains("did you mean \"drain\"?"));
    assert!(changed("\"random+pack\"", "\"random+pakc\"").contains("did you mean \"pack\"?"));
    assert!(changed("name = \"web\"\nwait", "name = \"wbe\"\nwait").contains("did you mean \"web\"?"));
}

#[test]
fn wrong_values_say_what_was_expected() {
    for (from, to, said) in [
        ("duration = \"10m\"", "duration = 10", "'duration' is 10"),
        ("duration = \"10m\"", "duration = \"10 parsecs\"", "expected a duration"),
        ("duration = \"10m\"", "", "has no 'duration'"),
        ("duration = \"10m\"", "duration = \"1m\"", "is after the end"),
        ("count = 3", "count = -3", "a whole number from 1 to 200000"),
        ("count = 3", "count = 300000", "a whole number from 1 to 200000"),
        ("cpus = 8", "cpus = \"8\"", "expected a number from 0"),
        ("cpus = 8", "cpus = inf", "expected a number from 0"),
        ("memory = \"32 GiB\"", "memory = 32", "expected a size in quotes"),
        ("zone = \"eu-1\"", "", "half a fault domain"),
        ("weight = 2.0", "weight = 0", "expected more than 0"),
        ("agents = \"2-3\"", "agents = \"2-9\"", "a range from 1 to 3"),
        ("agents = \"2-3\"", "", "whom it happens to"),
        ("for = \"75s\"", "", "how long it lasts"),
        ("row = \"F241\"", "row = \"241\"", "F and three digits"),
        ("name = \"noise\"", "name = \"web\"", "is there twice"),
        ("name = \"noise\"", "name = \"no/ise\"", "cannot be used"),
        ("runtime = [\"10s\", \"40s\"]", "runtime = [\"50s\", \"40s\"]", "ends before it starts"),
        ("runtime = [\"10s\", \"40s\"]", "", "how long a task runs"),
        ("every = \"1m\"\nkind", "every = \"1ms\"\nkind", "at least 100ms"),
        ("title = \"Two teams\"", "title = Two teams", "the file is not TOML"),
        ("\"random+pack\"", "\"spread+pack\"", "says two things at once"),
    ] {
        let text = changed(from, to);
        assert!(text.contains(said), "{to}: {text}");
        assert!(text.contains("--> two.toml:"), "{to}: {text}");
        assert!(text.contains("help: ") || text.contains("expected"), "{to}: {text}");
    }
}

#[test]
fn what_cannot_work_says_which_resource_lacks_how_much() {
    let text = changed("cpus = 1\nmemory = \"1 GiB\"", "cpus = 9\nmemory = \"40 GiB\"");
    assert!(
        text.contains(
            "nodes \"small\": cpus: needs 9, has 8, lacks 1; mem: needs 40960 MiB, has 32768 MiB, lacks 8192 MiB"
        ),
        "{text}"
    );
    let text = changed("guarantee = { cpus = 4 }", "guarantee = { cpus = 25 }");
    assert!(text.contains("cpus: guarantee 25, limit 16, lacks 9"), "{text}");
    let text = changed(
        "guarantee = { cpus = 4 }\nlimit = { cpus = 16, memory = \"64 GiB\" }",
        "guarantee = { cpus = 25, gpus = 1 }",
    );
    assert!(text.contains("cpus: needs 25, has 24, lacks 1; gpus: needs 1, has 0, lacks 1"), "{text}");
    let text = changed("limit = { cpus = 16,", "limit = { cpus = 0.4,");
    assert!(text.contains("lacks"), "{text}");
    let text = changed("guarantee = { cpus = 4 }\nlimit = { cpus = 16", "limit = { cpus = 0.4");
    assert!(text.contains("role web, cpus: needs 0.5, limit 0.4, lacks 0.1"), "{text}");
}

#[test]
fn hostile_files_are_refused() {
    let deep = format!("a = {}", "[".repeat(50_000));
    assert!(read(&deep).expect_err("refused").to_string().contains("not TOML"));
    let big = "#".repeat(FILE_BYTES_MAX + 1);
    assert!(read(&big).expect_err("refused").to_string().contains("expected at most 4194304"));
    let many = format!("{GOOD}\n{}", "[[faults]]\n".repeat(TABLES_MAX + 1));
    assert!(read(&many).expect_err("refused").to_string().contains("expected at most 10000"));
    assert!(read("").expect_err("refused").to_string().contains("has no 'duration'"));
    assert!(read("duration = \"1m\"").expect_err("refused").to_string().contains("a scenario needs nodes"));
}

#[test]
fn a_trace_is_found_beside_its_scenario() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("t.csv"), "submit,duration,cpus\n0,60,9\n").expect("written");
    let text = format!("{GOOD}\n[[frameworks]]\ntrace = \"t.csv\"\n");
    let error = Scenario::read("two.toml", &text, folder.path()).expect_err("too large").to_string();
    assert!(error.contains("needs 9, has 8, lacks 1"), "{error}");
    let error = Scenario::read("two.toml", &text.replace("t.csv", "u.csv"), folder.path());
    assert!(error.expect_err("missing").to_string().contains("cannot read the trace \"u.csv\""));
}
