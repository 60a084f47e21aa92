//! Plugins that fail in every way there is, and what is told of them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use super::{Agent, address, is_left, isolation, named, shell, wait_until};

const ANSWER: &str =
    r#"{"cniVersion":"1.0.0","ips":[{"address":"10.9.9.9/24"}],"dns":{"nameservers":["10.9.9.1"]}}"#;

/// Makes a plugin that writes down how it is called and then runs a script.
fn plugin(dir: &Path, name: &str, script: &str) {
    let folder = dir.join("plugins");
    fs::create_dir_all(&folder).expect("a folder");
    let log = dir.join("calls");
    let text = format!(
        "#!/bin/sh\ncat > {input}\necho {name} $CNI_COMMAND $CNI_IFNAME ${{CNI_NETNS:+inside}} >> {log}\n{script}\n",
        input = dir.join(format!("{name}.input")).display(),
        log = log.display()
    );
    let program = folder.join(name);
    fs::write(&program, text).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// A network of plugins; each answers unless it is another that was made before.
fn configure(dir: &Path, name: &str, plugins: &[&str]) {
    for plugin in plugins {
        if !dir.join("plugins").join(plugin).exists() {
            self::plugin(dir, plugin, &format!("echo '{ANSWER}'"));
        }
    }
    let plugins: Vec<_> = plugins.iter().map(|kind| serde_json::json!({ "type": kind })).collect();
    let configuration = serde_json::json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins});
    fs::create_dir_all(dir.join("cni")).expect("a folder");
    fs::write(dir.join("cni").join(format!("{name}.conflist")), configuration.to_string()).expect("a file");
}

fn calls(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("calls")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// What plugins get, and those that never end; each also has to begin in it, on whatever machine.
const TIME_MAX: Duration = Duration::from_secs(120);
const TIME_MAX_OF_ENDLESS: Duration = Duration::from_secs(10);

fn start(dir: &Path) -> Option<Agent> {
    start_with(dir, TIME_MAX)
}

fn start_with(dir: &Path, time_max: Duration) -> Option<Agent> {
    if !rustix::process::geteuid().is_root() {
        println!("    skipped: needs root");
        return None;
    }
    Some(Agent::isolated(dir, isolation(dir, &dir.join("plugins"), time_max)))
}

/// The loopback interface is up without it.
pub(crate) fn the_program_of_the_loopback_plugin_is_not_run(dir: &Path) {
    configure(dir, "one", &["a", "loopback"]);
    fs::write(
        dir.join("cni/alone.conflist"),
        r#"{"cniVersion": "1.0.0", "name": "alone", "plugins": [{"type": "loopback"}]}"#,
    )
    .expect("a file");
    fs::remove_file(dir.join("plugins/loopback")).expect("a file");
    let Some(agent) = start(dir) else { return };
    let joined = agent.join("c1", &[named("one"), named("alone")]).expect("joined");
    let addresses: Vec<_> =
        joined.iter().map(|info| info.ip_addresses[0].ip_address.clone().unwrap_or_default()).collect();
    assert_eq!(addresses, ["10.9.9.9", "127.0.0.1"]);
    agent.containers.launch(&shell(dir, "c1", "ip -o link show dev lo up | grep -q LOOPBACK"));
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(calls(dir), ["a ADD eth0 inside", "a DEL eth0 inside"]);
    assert_eq!(is_left(dir), None);
}

pub(crate) fn a_chain_of_plugins_is_joined_in_order_and_left_backwards(dir: &Path) {
    configure(dir, "one", &["a", "b"]);
    configure(dir, "two", &["c"]);
    let Some(agent) = start(dir) else { return };
    let joined = agent.join("c1", &[named("one"), named("two")]).expect("joined");
    assert_eq!((joined.len(), address(&joined)), (2, "10.9.9.9".to_owned()));
    assert_eq!(calls(dir), ["a ADD eth0 inside", "b ADD eth0 inside", "c ADD eth1 inside"]);
    let input: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("b.input")).expect("a file")).expect("JSON");
    assert_eq!(input["prevResult"]["ips"][0]["address"], "10.9.9.9/24");
    let resolv_conf = fs::read_to_string(dir.join("networks/containers/c1/resolv.conf")).expect("a file");
    assert_eq!(resolv_conf, "nameserver 10.9.9.1\n");
    fs::remove_file(dir.join("calls")).expect("a file");
    // What is written down is left, whatever has become of the file.
    fs::remove_file(dir.join("cni/one.conflist")).expect("a file");
    agent.containers.launch(&shell(dir, "c1", "true"));
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(calls(dir), ["c DEL eth1 inside", "b DEL eth0 inside", "a DEL eth0 inside"]);
    assert_eq!(is_left(dir), None);
}

pub(crate) fn plugins_forget_who_is_not_there_only_where_the_operator_says_so(dir: &Path) {
    configure(dir, "ours", &["a"]);
    configure(dir, "shared", &["b"]);
    let file = dir.join("cni/ours.conflist");
    let text = fs::read_to_string(&file).expect("a file");
    let text = text.replace("\"1.0.0\"", "\"1.1.0\"").replacen('{', "{\"disableGC\":false,", 1);
    fs::write(&file, text).expect("a file");
    let Some(agent) = start(dir) else { return };
    wait_until("the roll call", || calls(dir) == ["a GC"]);
    agent.join("c1", &[named("ours"), named("shared")]).expect("joined");
    agent.containers.launch(&shell(dir, "c1", "sleep 1000"));
    agent.started();
    drop(agent);
    fs::remove_file(dir.join("calls")).expect("a file");
    let Some(agent) = start(dir) else { return };
    wait_until("the checks", || calls(dir).iter().any(|line| line.starts_with("b CHECK")));
    assert_eq!(calls(dir), ["a GC", "a CHECK eth0 inside", "b CHECK eth1 inside"]);
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    assert_eq!(is_left(dir), None);
}

pub(crate) fn plugins_that_fail_are_named_and_nothing_is_left(dir: &Path) {
    plugin(dir, "refuses", r#"[ $CNI_COMMAND = DEL ] || { echo '{"code":11,"msg":"no space"}'; exit 1; }"#);
    plugin(dir, "hangs", "[ $CNI_COMMAND = DEL ] || sleep 1000");
    plugin(dir, "talks", "[ $CNI_COMMAND = DEL ] || cat /dev/zero");
    plugin(dir, "babbles", "echo hello");
    plugin(dir, "silent", "true");
    plugin(dir, "lies", r#"echo '{"ips":[{"address":"10.9.9.9 x"}]}'"#);
    plugin(dir, "dies", "[ $CNI_COMMAND = DEL ] || kill -9 $$");
    let all = [
        ("refuses", "no space (code 11)"),
        ("hangs", "it did not end within 10 seconds"),
        ("talks", "its answer has more than 1048576 bytes"),
        ("babbles", "its answer is no JSON object"),
        ("silent", "its answer is no JSON object"),
        ("lies", "'10.9.9.9 x' is no address"),
        ("dies", "it ended with signal: 9 (SIGKILL)"),
    ];
    for (name, _) in all {
        configure(dir, name, &["fine", name]);
    }
    for (name, why) in all {
        let time_max = if name == "hangs" { TIME_MAX_OF_ENDLESS } else { TIME_MAX };
        let Some(agent) = start_with(dir, time_max) else { return };
        let _ = fs::remove_file(dir.join("calls"));
        let told = agent.join("c1", &[named(name)]).expect_err(name).to_string();
        assert_eq!(told, format!("Failed to join network '{name}': plugin '{name}': {why}"));
        let backwards = [format!("{name} DEL eth0 inside"), "fine DEL eth0 inside".to_owned()];
        assert!(calls(dir).ends_with(&backwards), "{:?}", calls(dir));
        assert_eq!(is_left(dir), None, "{name}");
        assert!(!agent.containers.has_network(&"c1".into()), "{name}");
    }
}

pub(crate) fn what_cannot_be_joined_is_told_before_anything_is_made(dir: &Path) {
    configure(dir, "one", &["a"]);
    configure(dir, "gone", &["missing"]);
    fs::remove_file(dir.join("plugins/missing")).expect("a file");
    fs::write(dir.join("cni/bad.conf"), "{").expect("a file");
    let Some(agent) = start(dir) else { return };
    let refusal = |id: &str, wanted: &[_]| agent.join(id, wanted).expect_err("an error").to_string();
    // Rule 368.
    assert_eq!(refusal("c1", &[named("one"), named("one")]), "Network 'one' cannot be joined twice");
    let told = refusal("c1", &[named("nowhere")]);
    assert!(told.starts_with("There is no network 'nowhere' in '") && told.contains("bad.conf"), "{told}");
    let told = refusal("c1", &[named("gone")]);
    assert!(told.starts_with("Failed to join network 'gone': plugin 'missing': there is no such"), "{told}");
    assert!(refusal("-c", &[named("one")]).contains("cannot be the name"));
    let many: Vec<_> = (0..17).map(|n| named(&format!("n{n}"))).collect();
    assert!(refusal("c1", &many).contains("more than 16"));
    let mut mapped = named("one");
    mapped.port_mappings.push(mezzo_mesos::v1::network_info::PortMapping {
        host_port: 31_000,
        container_port: 80,
        protocol: None,
    });
    assert!(refusal("c1", &[mapped]).contains("none of its plugins maps ports"));
    assert!(calls(dir).is_empty(), "{:?}", calls(dir));
    assert_eq!(is_left(dir), None);
}

pub(crate) fn f136_addresses_are_given_back_after_a_reboot(dir: &Path) {
    configure(dir, "one", &["a"]);
    let Some(agent) = start(dir) else { return };
    agent.join("c1", &[named("one")]).expect("joined");
    drop(agent);
    // What a reboot takes.
    let namespace = dir.join("run/networks/c1");
    for place in [namespace.as_path(), &dir.join("run/networks")] {
        rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    }
    fs::remove_dir_all(dir.join("run")).expect("deleted");
    let _agent = start(dir);
    wait_until("everything is given back", || is_left(dir).is_none());
    assert_eq!(calls(dir), ["a ADD eth0 inside", "a DEL eth0"]);
}

pub(crate) fn what_cannot_be_left_is_tried_again(dir: &Path) {
    plugin(
        dir,
        "a",
        &format!("[ $CNI_COMMAND = ADD ] || [ -e {0}/mended ] || exit 1; echo '{ANSWER}'", dir.display()),
    );
    configure(dir, "one", &["a", "b"]);
    let Some(agent) = start(dir) else { return };
    agent.join("c1", &[named("one")]).expect("joined");
    agent.containers.launch(&shell(dir, "c1", "true"));
    agent.started();
    // Its end is told all the same.
    assert_eq!(agent.exited(), Some(0));
    assert!(dir.join("networks/containers/c1/record").exists() && !dir.join("run/networks/c1").exists());
    fs::write(dir.join("mended"), "").expect("a file");
    agent.containers.remove(&"c1".into());
    wait_until("it is left", || is_left(dir).is_none());
}

pub(crate) fn networks_of_running_containers_are_checked_by_a_later_agent(dir: &Path) {
    configure(dir, "one", &["a"]);
    let Some(agent) = start(dir) else { return };
    agent.join("c1", &[named("one")]).expect("joined");
    agent.containers.launch(&shell(dir, "c1", "sleep 1000"));
    agent.started();
    drop(agent);
    let Some(agent) = start(dir) else { return };
    wait_until("it is checked", || calls(dir).iter().any(|call| call == "a CHECK eth0 inside"));
    let input: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("a.input")).expect("a file")).expect("JSON");
    assert_eq!(input["prevResult"]["ips"][0]["address"], "10.9.9.9/24");
    assert_eq!(address(&agent.containers.networks()[0].1), "10.9.9.9");
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    assert_eq!(is_left(dir), None);
}
