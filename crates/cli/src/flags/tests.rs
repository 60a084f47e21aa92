use super::*;

fn agent(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Values, CliError> {
    AGENT.parse(
        arguments.iter().map(|a| (*a).to_owned()),
        environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    )
}

fn refusal(arguments: &[&str]) -> String {
    agent(arguments, &[]).expect_err("refused").to_string()
}

#[test]
fn rule_531_forms_of_a_flag_and_the_command_line_wins() {
    let values = agent(
        &["--master=m:5050", "--no-switch_user", "--strict=0", "--cgroups_enable_cfs"],
        &[("MESOS_MASTER", "other:1"), ("MESOS_WORK_DIR", "/w")],
    )
    .expect("read");
    assert_eq!(values.get("master"), Some("m:5050"));
    assert_eq!(values.get("work_dir"), Some("/w"));
    assert!(!values.switch("switch_user") && !values.switch("strict") && values.switch("cgroups_enable_cfs"));
    assert!(refusal(&["--master", "m:5050"]).contains("--master has no value"));
    assert!(refusal(&["--no-master"]).contains("cannot be used"));
}

#[test]
fn rule_532_unknown_flags_stop_and_unknown_variables_do_not() {
    assert!(refusal(&["--work_dri=/w"]).contains("did you mean --work_dir?"));
    assert!(refusal(&["positional"]).contains("unexpected argument"));
    assert!(agent(&[], &[("MESOS_SANDBOX", "/x"), ("HOME", "/")]).is_ok());
}

#[test]
fn rule_533_a_flag_given_twice_stops_also_through_its_alias() {
    assert!(refusal(&["--port=1", "--port=2"]).contains("given twice"));
    let master = MASTER.parse(["--agent_ping_timeout=1secs".into(), "--slave_ping_timeout=2secs".into()], []);
    assert!(master.expect_err("refused").to_string().contains("given twice"));
}

#[test]
fn rule_534_values_come_from_files() {
    let path = std::env::temp_dir().join(format!("mezzo-flag-{}", std::process::id()));
    std::fs::write(&path, "rack:r1\n").expect("written");
    let values = agent(&[&format!("--attributes=file://{}", path.display())], &[]).expect("read");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(values.get("attributes"), Some("rack:r1"));
    assert!(refusal(&["--attributes=file:///no/such/file"]).contains("cannot be read"));
    // A bare path is a file for JSON flags only.
    assert_eq!(agent(&["--work_dir=/no/such"], &[]).expect("read").get("work_dir"), Some("/no/such"));
    assert!(refusal(&["--domain=/no/such/file"]).contains("cannot be read"));
}

#[test]
fn rule_535_help_lists_every_flag() {
    let help = AGENT.help();
    assert!(AGENT.flags.iter().all(|flag| help.contains(flag.name)));
}

#[test]
fn rule_536_durations_and_sizes_say_what_they_want() {
    let values = agent(&["--gc_delay=2weeks", "--fetcher_cache_size=10MB", "--recovery_timeout=5"], &[])
        .expect("read");
    assert_eq!(values.duration("gc_delay").expect("read"), Some(Duration::from_secs(1_209_600)));
    assert_eq!(values.bytes("fetcher_cache_size").expect("read"), Some(10 << 20));
    assert!(values.duration("recovery_timeout").is_err());
}

#[test]
fn rule_537_required_flags() {
    let values = agent(&[], &[]).expect("read");
    assert!(values.required("master").expect_err("missing").to_string().contains("--master is missing"));
    assert!(values.required("work_dir").is_err());
}

#[test]
fn unsupported_flags_say_so_unless_they_ask_for_the_default() {
    assert!(refusal(&["--docker_mesos_image=x"]).contains("not supported"));
    assert!(agent(&["--containerizers=mesos", "--authenticate_http_readonly=false"], &[]).is_ok());
    assert!(refusal(&["--containerizers=docker,mesos"]).contains("not supported"));
}

#[test]
fn flags_with_a_value_are_shown_under_the_name_they_were_given() {
    let values = MASTER.parse(["--slave_ping_timeout=2secs".into()], []).expect("read").effective();
    assert_eq!(values.get("slave_ping_timeout").map(String::as_str), Some("2secs"));
    assert!(!values.contains_key("agent_ping_timeout") && !values.contains_key("cluster"));
    assert_eq!(values.get("registry").map(String::as_str), Some("replicated_log"));
}
