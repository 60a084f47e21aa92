use std::path::PathBuf;

use mezzo_json::{from_slice, list_from_slice};
use mezzo_mesos::v1;
use mezzo_resources::{Quantities, Resources};

use crate::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut w = Writer::new();
    write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

/// The body of a recorded answer of a genuine Mesos, when this checkout has them beside it.
fn recorded(case: &str) -> Option<String> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/reference/golden"));
    if !folder.is_dir() {
        println!("recorded answers are not here; nothing compared");
        return None;
    }
    let whole = std::fs::read_to_string(folder.join(format!("{case}.response.http"))).unwrap();
    Some(whole.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The text of the value under `key` at the first place where `json` has it.
fn under<'j>(json: &'j str, key: &str) -> &'j str {
    let start = json.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key}")) + key.len() + 3;
    let (mut depth, mut quoted) = (0, false);
    let mut previous = b' ';
    for (at, byte) in json.bytes().enumerate().skip(start) {
        match byte {
            b'"' if previous != b'\\' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        previous = byte;
        if depth == 0 && !quoted && matches!(byte, b'}' | b']' | b'"') {
            return &json[start..=at];
        }
        if depth <= 0 && !quoted && matches!(byte, b',' | b'}') {
            return &json[start..at];
        }
    }
    panic!("{key} does not end")
}

fn resources(text: &str) -> Resources {
    mezzo_resources::parse_resources(text, "*").unwrap()
}

/// What the v1 answers of the same cluster life say, as a view of one framework and one agent.
struct Cluster {
    agent: v1::master::response::get_agents::Agent,
    framework: v1::master::response::get_frameworks::Framework,
    tasks: v1::master::response::GetTasks,
}

impl Cluster {
    fn read() -> Option<Self> {
        let body = recorded("v1-master-busy/GET_STATE")?;
        let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
        let state = response.get_state.unwrap();
        Some(Cluster {
            agent: state.get_agents.unwrap().agents.remove(0),
            framework: state.get_frameworks.unwrap().frameworks.remove(0),
            tasks: state.get_tasks.unwrap(),
        })
    }
}

fn proto(list: &[v1::Resource]) -> Resources {
    Resources::from_proto(list).unwrap()
}

fn seconds(time: &Option<v1::TimeInfo>) -> f64 {
    let micros = time.as_ref().map_or(0, |t| (t.nanoseconds + 500) / 1000);
    micros as f64 / 1e6
}

#[test]
fn rule_19_tasks_come_as_recorded() {
    let Some(cluster) = Cluster::read() else { return };
    let master = recorded("v0-master-busy/master.state").unwrap();
    let list = |tasks: &[v1::Task]| {
        written(|w| {
            w.begin_array();
            tasks.iter().for_each(|task| write_task(w, task));
            w.end_array();
        })
    };
    assert_eq!(list(&cluster.tasks.tasks), under(&master, "tasks"));
    assert_eq!(list(&cluster.tasks.completed_tasks), under(&master, "completed_tasks"));

    let all: Vec<&v1::Task> = cluster.tasks.tasks.iter().chain(&cluster.tasks.completed_tasks).collect();
    for (case, parameters) in [
        ("master.tasks", &[][..]),
        ("tasks-asc", &[("order", "asc")]),
        ("tasks-limit1", &[("limit", "1")]),
        ("tasks-limit1-offset1", &[("limit", "1"), ("offset", "1")]),
        ("tasks-bad-limit", &[("limit", "x")]),
    ] {
        let query =
            TaskQuery::new(|name| parameters.iter().find(|(n, _)| *n == name).map(|(_, value)| *value));
        let mut chosen = all.clone();
        order_tasks(&mut chosen, &query);
        let theirs = recorded(&format!("v0-master-busy/{case}")).unwrap();
        assert_eq!(written(|w| tasks(w, &chosen)), theirs, "{case}");
    }
}

#[test]
fn state_comes_as_recorded() {
    let Some(cluster) = Cluster::read() else { return };
    let theirs = recorded("v0-master-busy/master.state").unwrap();
    let value: serde_json::Value = serde_json::from_str(&theirs).unwrap();
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let flag_values: Vec<(&str, &str)> =
        value["flags"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();

    let (total, used, offered) = (
        proto(&cluster.agent.total_resources),
        proto(&cluster.agent.allocated_resources),
        proto(&cluster.agent.offered_resources),
    );
    // On this agent nothing is reserved.
    let agent = AgentView {
        info: &cluster.agent.agent_info,
        pid: cluster.agent.pid.as_deref().unwrap(),
        registered: seconds(&cluster.agent.registered_time),
        reregistered: None,
        total: &total,
        used: &used,
        offered: &offered,
        reserved: &[],
        unreserved: &total,
        active: cluster.agent.active,
        deactivated: cluster.agent.deactivated.unwrap(),
        version: &cluster.agent.version,
        capabilities: &cluster.agent.capabilities,
        drain: None,
        drain_started: None,
    };
    let both = {
        let mut both = used.clone();
        offered.iter().for_each(|r| both.add_one(r));
        both
    };
    let tasks: Vec<&v1::Task> = cluster.tasks.tasks.iter().collect();
    let completed: Vec<&v1::Task> = cluster.tasks.completed_tasks.iter().collect();
    let offer_id = value["frameworks"][0]["offers"][0]["id"].as_str().unwrap();
    let framework_id = cluster.framework.framework_info.id.clone().unwrap().value;
    let agent_id = cluster.agent.agent_info.id.clone().unwrap().value;
    let offer = OfferView {
        id: offer_id,
        framework: &framework_id,
        role: "*",
        agent: &agent_id,
        resources: &offered,
    };
    let framework = FrameworkView {
        info: &cluster.framework.framework_info,
        pid: None,
        used: &used,
        offered: &offered,
        total: &both,
        active: cluster.framework.active,
        connected: cluster.framework.connected,
        recovered: cluster.framework.recovered,
        registered: seconds(&cluster.framework.registered_time),
        reregistered: None,
        unregistered: None,
        tasks: &tasks,
        more_tasks: None,
        unreachable_tasks: &[],
        completed_tasks: &completed,
        offers: &[offer],
        executors: &[],
        constraints: None,
    };
    let (id, pid, hostname, build_date) = (text("id"), text("pid"), text("hostname"), text("build_date"));
    let git_sha = text("git_sha");
    let state = MasterState {
        build: Build {
            version: "1.12.0",
            git_sha: Some(&git_sha),
            date: &build_date,
            time: value["build_time"].as_f64().unwrap(),
            user: "mesos",
            ..Build::default()
        },
        start_time: value["start_time"].as_f64().unwrap(),
        elected_time: value["elected_time"].as_f64(),
        id: &id,
        pid: &pid,
        hostname: &hostname,
        capabilities: &["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"],
        activated_agents: 1,
        deactivated_agents: 0,
        unreachable_agents: 0,
        domain: None,
        leader: Some(LeaderView { id: &id, pid: &pid, port: 5050, hostname: &hostname, domain: None }),
        cluster: Some("golden"),
        log_dir: Some("/var/lib/mesos/log"),
        external_log_file: None,
        flags: Some(&flag_values),
        agents: &[agent],
        more_agents: None,
        recovered_agents: &[],
        frameworks: &[framework],
        completed_frameworks: &[],
    };
    assert_eq!(written(|w| master_state(w, &state)), theirs);

    // The same from what was written before.
    let pieces: Vec<String> = tasks.iter().map(|task| written(|w| write_task(w, task))).collect();
    let more_tasks = |w: &mut Writer<'_>| pieces.iter().for_each(|piece| w.raw(piece.as_bytes()));
    let piece = written(|w| write_agent(w, &agent));
    let again = MasterState {
        agents: &[],
        more_agents: Some(&|w| w.raw(piece.as_bytes())),
        frameworks: &[FrameworkView { tasks: &[], more_tasks: Some(&more_tasks), ..framework }],
        ..state
    };
    assert_eq!(written(|w| master_state(w, &again)), theirs);

    let mut counts = TaskCounts::default();
    tasks.iter().chain(&completed).for_each(|task| counts.add(task.state));
    let summary = StateSummary {
        hostname: &hostname,
        cluster: Some("golden"),
        agents: &[(agent, counts, vec![&framework_id])],
        frameworks: &[(framework, counts, vec![&agent_id])],
    };
    assert_eq!(
        written(|w| state_summary(w, &summary)),
        recorded("v0-master-busy/master.state-summary").unwrap()
    );
    let ours = written(|w| slaves(w, &[agent], &[]));
    same_keys(&ours, &recorded("v0-master-busy/master.slaves").unwrap());
    assert_eq!(
        written(|w| frameworks(w, &[framework], &[])),
        recorded("v0-master-busy/master.frameworks").unwrap()
    );
}

/// Compares the order of all keys, for answers with lists whose order is free.
fn same_keys(ours: &str, theirs: &str) {
    let keys = |json: &str| -> Vec<String> {
        json.split('"')
            .collect::<Vec<_>>()
            .windows(2)
            .filter(|w| w[1].starts_with(':'))
            .map(|w| w[0].to_owned())
            .collect()
    };
    let count = |keys: &[String]| keys.iter().filter(|k| k.contains('_')).count();
    let (ours, theirs) = (keys(ours), keys(theirs));
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(count(&ours), count(&theirs));
    assert_eq!(ours[..20], theirs[..20]);
}

#[test]
fn an_agent_in_drain_comes_as_recorded() {
    // drain_info and deactivated (rule 269), and the endpoint form of reservations (rule 440).
    let Some(theirs) = recorded("mutations/65-slaves") else { return };
    let body = recorded("mutations/65-GET_AGENTS-draining").unwrap();
    let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
    let agent = response.get_agents.unwrap().agents.remove(0);
    let total = proto(&agent.total_resources);
    let by_role = total.reservations();
    let reserved: Vec<(&str, &Resources)> = by_role.iter().map(|(role, r)| (role.as_str(), r)).collect();
    let unreserved = total.unreserved();
    let (used, offered) = (proto(&agent.allocated_resources), proto(&agent.offered_resources));
    let view = AgentView {
        info: &agent.agent_info,
        pid: agent.pid.as_deref().unwrap(),
        registered: seconds(&agent.registered_time),
        reregistered: None,
        total: &total,
        used: &used,
        offered: &offered,
        reserved: &reserved,
        unreserved: &unreserved,
        active: agent.active,
        deactivated: agent.deactivated.unwrap(),
        version: &agent.version,
        capabilities: &agent.capabilities,
        drain: agent.drain_info.as_ref(),
        drain_started: Some(1795257632.6297763),
    };
    // Mesos prints the other one of two texts that are equally short and read back the same.
    let theirs = theirs.replace("1795257632.6297763", "1795257632.6297762");
    assert_eq!(written(|w| slaves(w, &[view], &[])), theirs);
}

#[test]
fn agent_answers_come_as_recorded() {
    let Some(theirs) = recorded("v0-agent-busy/containers") else { return };
    let body = recorded("v1-agent-busy/GET_CONTAINERS").unwrap();
    let response: v1::agent::Response = from_slice(body.as_bytes()).unwrap();
    let containers_list = response.get_containers.unwrap().containers;
    let container = &containers_list[0];
    let executor = v1::ExecutorInfo {
        executor_id: container.executor_id.clone().unwrap(),
        framework_id: container.framework_id.clone(),
        name: container.executor_name.clone(),
        ..Default::default()
    };
    let view = ContainerView {
        container: &container.container_id.value,
        executor: &executor,
        statistics: container.resource_statistics.as_ref(),
        status: container.container_status.as_ref(),
    };
    let keys = |json: &str| -> Vec<String> {
        let parts: Vec<&str> = json.split('"').collect();
        parts.windows(2).filter(|w| w[1].starts_with(':')).map(|w| w[0].to_owned()).collect()
    };
    assert_eq!(keys(&written(|w| containers(w, &[view]))), keys(&theirs));
    assert_eq!(
        keys(&written(|w| monitor_statistics(w, &[view]))),
        keys(&recorded("v0-agent-busy/monitor-statistics").unwrap())
    );
}

#[test]
fn agent_state_has_the_recorded_keys_in_order() {
    let Some(theirs) = recorded("v0-agent-busy/slave1.state") else { return };
    let Some(cluster) = Cluster::read() else { return };
    let total = proto(&cluster.agent.total_resources);
    let used = proto(&cluster.tasks.tasks[0].resources);
    let tasks: Vec<&v1::Task> = cluster.tasks.tasks.iter().collect();
    let completed = v1::Task { resources: Vec::new(), ..cluster.tasks.completed_tasks[0].clone() };
    let info = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "long-task".into() },
        resources: cluster.tasks.tasks[0].resources.clone(),
        labels: cluster.tasks.tasks[0].labels.clone(),
        ..Default::default()
    };
    let executor = AgentStateExecutor {
        info: &info,
        container: "c",
        directory: "/d",
        resources: &used,
        tasks: &tasks,
        queued_tasks: &[],
        completed_tasks: &[&completed],
    };
    let executor = AgentStateExecutor { completed_tasks: &[], ..executor };
    let state = AgentState {
        build: Build { git_sha: Some("x"), ..Build::default() },
        start_time: 1.0,
        info: &cluster.agent.agent_info,
        pid: "slave(1)@127.0.0.1:5051",
        capabilities: &cluster.agent.capabilities,
        drain: None,
        drain_started: None,
        total: &total,
        reserved: &[],
        unreserved: &total,
        reserved_allocated: &[],
        unreserved_allocated: &used,
        resource_providers: &[],
        master_hostname: Some("localhost"),
        log_dir: Some("/var/lib/mesos/log"),
        external_log_file: None,
        flags: None,
        frameworks: &[AgentStateFramework {
            info: &cluster.framework.framework_info,
            executors: &[executor],
            completed_executors: &[],
        }],
        completed_frameworks: &[],
    };
    let ours = written(|w| agent_state(w, &state));
    // Up to the executors all keys must be there in this order; flags are the daemon's.
    let keys = |json: &str| -> Vec<String> {
        let json = json.split("\"completed_executors\"").next().unwrap().to_owned();
        let json = match json.find("\"flags\":{") {
            Some(start) => {
                let end = start + json[start..].find("},").unwrap();
                format!("{}{}", &json[..start], &json[end + 2..])
            }
            None => json,
        };
        let parts: Vec<&str> = json.split('"').collect();
        parts.windows(2).filter(|w| w[1].starts_with(':')).map(|w| w[0].to_owned()).collect()
    };
    assert_eq!(keys(&ours), keys(&theirs));
}

#[test]
fn small_answers_come_as_recorded() {
    let empty = Quantities::default();
    let some = Quantities::parse("cpus:0.5;mem:64;ports:2").unwrap();
    let all = Quantities::parse("cpus:4;disk:10240;mem:4096;ports:1001").unwrap();
    let offered = Quantities::parse("cpus:3.5;disk:10240;mem:4032;ports:999").unwrap();
    if let Some(theirs) = recorded("v0-master-busy/master.roles") {
        let value: serde_json::Value = serde_json::from_str(&theirs).unwrap();
        let framework = value["roles"][0]["frameworks"][0].as_str().unwrap();
        let role = RoleView {
            name: "*",
            weight: 1.0,
            guarantee: &empty,
            limit: &empty,
            consumed: &some,
            resources: &all,
            allocated: &some,
            offered: &offered,
            reserved: &empty,
            frameworks: &[framework],
        };
        assert_eq!(written(|w| roles(w, &[role])), theirs);
    }
    if let Some(theirs) = recorded("mutations/51-schedule") {
        let body = recorded("mutations/51-GET_MAINTENANCE_SCHEDULE").unwrap();
        let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
        let schedule = response.get_maintenance_schedule.unwrap().schedule;
        assert_eq!(written(|w| maintenance_schedule(w, &schedule)), theirs);
        let body = recorded("mutations/53-GET_MAINTENANCE_STATUS-accepted").unwrap();
        let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
        let status = response.get_maintenance_status.unwrap().status;
        assert_eq!(written(|w| maintenance_status(w, &status)), recorded("mutations/53-status").unwrap());
        // Old and new form side by side (rule 145).
        let body = recorded("mutations/06-GET_QUOTA").unwrap();
        let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
        let status = response.get_quota.unwrap().status;
        assert_eq!(written(|w| quota(w, &status)), recorded("mutations/06-quota").unwrap());
        // Only weights that were set (rule 150).
        assert_eq!(
            written(|w| weights(w, [("ops", 0.5), ("eng", 2.5)])),
            recorded("mutations/02-weights").unwrap()
        );
    }
    // The offset is the size when none was asked for (rule 21).
    if let Some(theirs) = recorded("v0-agent-busy/files-read-stdout-offset-minus-1") {
        assert_eq!(written(|w| files_read(w, 18, b"")), theirs);
    }
    if let Some(theirs) = recorded("v0-agent-busy/files-read-stdout") {
        assert_eq!(written(|w| files_read(w, 0, b"hello from stdout\n")), theirs);
    }
    let build = Build { version: "1.12.0", date: "d", time: 2.0, user: "u", ..Build::default() };
    assert_eq!(
        written(|w| version(w, &build)),
        r#"{"build_date":"d","build_time":2.0,"build_user":"u","version":"1.12.0"}"#
    );
    let file = FileEntry {
        path: "/p/stdout",
        nlink: 1,
        size: 18,
        mtime: 1.0,
        mode: 0o100_644,
        user: "root",
        group: "root",
    };
    assert_eq!(
        written(|w| files_browse(w, &[file])),
        r#"[{"gid":"root","mode":"-rw-r--r--","mtime":1.0,"nlink":1,"path":"/p/stdout","size":18,"uid":"root"}]"#
    );
    assert_eq!(written(|w| flags(w, &[("port", "5050")])), r#"{"flags":{"port":"5050"}}"#);
    assert_eq!(written(|w| metrics_snapshot(w, [("a/b", 1.0)])), r#"{"a/b":1.0}"#);
    assert_eq!(written(|w| files_debug(w, [("/v", "/r")])), r#"{"/v":"/r"}"#);
    assert_eq!(
        written(|w| system_stats(w, &SystemStats { cpus: Some(2), ..Default::default() })),
        r#"{"cpus_total":2}"#
    );
}

#[test]
fn the_registry_comes_as_recorded() {
    let Some(theirs) = recorded("v0-master-busy/registrar-registry") else { return };
    let cluster = Cluster::read().unwrap();
    let body = recorded("v1-master-busy/GET_MASTER").unwrap();
    let response: v1::master::Response = from_slice(body.as_bytes()).unwrap();
    let master = response.get_master.unwrap().master_info.unwrap();
    let view = RegistryView {
        master: &master,
        agents: &[(&cluster.agent.agent_info, false)],
        unreachable: &[],
        gone: &[],
        machines: None,
        schedules: &[],
        quotas: &[],
        weights: &[],
    };
    assert_eq!(written(|w| registry(w, &view)), theirs);
}

#[test]
fn resources_add_up_by_name() {
    let text = r#"[
        {"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*"},
        {"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"reservations":[{"type":"STATIC","role":"a"}]},
        {"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}},
        {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":8000,"end":8002}]}},
        {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":8003,"end":8004},{"begin":9000,"end":9000}]}},
        {"name":"zones","type":"SET","set":{"item":["b","a"]}},
        {"name":"bogomips","type":"SCALAR","scalar":{"value":0.125}}
    ]"#;
    let list: Vec<v1::Resource> = list_from_slice(text.as_bytes()).unwrap();
    let expected = concat!(
        r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":1.5,"cpus_revocable":2.0,"ports":"[8000-8004, 9000-9000]","#,
        r#""zones":"{a, b}","bogomips":0.125}"#
    );
    assert_eq!(written(|w| write_proto_resources(w, &list)), expected);
    let empty = r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0}"#;
    assert_eq!(written(|w| write_resources(w, &Resources::empty())), empty);
    let both = resources("cpus:1;mem:64;ports:[1-2];disks:{a,b}");
    assert_eq!(
        written(|w| write_resources(w, &both)),
        r#"{"disk":0.0,"mem":64.0,"gpus":0.0,"cpus":1.0,"ports":"[1-2]","disks":"{a, b}"}"#
    );
}

#[test]
fn rule_17_forms_are_decoded() {
    let form = parse_query(
        "slaveId=a%2Fb+c&resources=%5B%7B%22name%22%3A%22cpus%22%2C%22type%22%3A%22SCALAR%22%7D%5D&x",
    )
    .unwrap();
    assert_eq!(form.get("slaveId"), Some("a/b c"));
    assert_eq!(form.get("x"), Some(""));
    let list: Vec<v1::Resource> = form.required_list("resources").unwrap();
    assert_eq!(list[0].name, "cpus");
    assert_eq!(form.optional_list::<v1::Resource>("source"), Ok(Vec::new()));
    assert_eq!(
        parse_query("").unwrap().required("slaveId").unwrap_err().to_string(),
        "Missing 'slaveId' query parameter in the request body"
    );
    for bad in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
        assert!(matches!(parse_query(bad), Err(FormError::Encoding(_))), "{bad}");
    }
    assert_eq!(parse_query(&"a&".repeat(200)), Err(FormError::TooMany));
    assert!(matches!(
        parse_query("resources={}").unwrap().required_list::<v1::Resource>("resources"),
        Err(FormError::Json { .. })
    ));
    assert_eq!(path_tail("/master/quota/a/b", "/master/quota"), Some("a/b"));
    assert_eq!(path_tail("/master/quota", "/master/quota"), None);
}

#[test]
fn alphabetical_sorts_every_object() {
    let json = br#"{"b":[{"z":1,"a":"}\"{,"},[],2.5],"a":{},"":null}"#;
    assert_eq!(alphabetical(json), br#"{"":null,"a":{},"b":[{"a":"}\"{,","z":1},[],2.5]}"#);
    for odd in [&b""[..], b"{", b"[", b"{\"a", b"[1", b"{\"a\":", b"}", b"[}", b"{\"a\":1]"] {
        alphabetical(odd);
    }
}

#[test]
fn a_large_state_streams_in_pieces() {
    let task: v1::Task = from_slice(
        br#"{"name":"t","task_id":{"value":"t-1"},"framework_id":{"value":"f"},"agent_id":{"value":"a"},
        "state":"TASK_RUNNING","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"*"}},
        {"name":"mem","type":"SCALAR","scalar":{"value":32}}],"statuses":[{"task_id":{"value":"t-1"},"state":"TASK_RUNNING","timestamp":1795257511.087732}]}"#,
    )
    .unwrap();
    let list = vec![&task; 10_000];
    let (mut pieces, mut bytes, mut longest) = (0, 0, 0);
    let mut sink = |piece: Vec<u8>| {
        pieces += 1;
        bytes += piece.len();
        longest = longest.max(piece.len());
        piece
    };
    let mut w = Writer::streaming(&mut sink);
    tasks(&mut w, &list);
    w.finish();
    assert!(
        pieces > 5 && longest < 2 * mezzo_json::CHUNK_BYTES,
        "{pieces} pieces, {bytes} bytes, {longest} at most"
    );
}

#[test]
fn rule_16_jsonp_wraps_an_answer() {
    let json = written(|w| files_read(w, 0, b"hello from stdout\n"));
    let wrapped = format!("{}{json}{}", jsonp_start("cb"), jsonp_end());
    assert_eq!(wrapped, r#"cb({"data":"hello from stdout\n","offset":0})"#);
    if let Some(theirs) = recorded("v0-agent-busy/files-read-jsonp") {
        assert_eq!(wrapped, theirs);
    }
}

#[test]
fn rule_20_a_hidden_executor_is_an_empty_object() {
    let none = Resources::empty();
    let framework = FrameworkView {
        info: &v1::FrameworkInfo::default(),
        pid: None,
        used: &none,
        offered: &none,
        total: &none,
        active: false,
        connected: false,
        recovered: true,
        registered: 0.0,
        reregistered: Some(2.5),
        unregistered: None,
        tasks: &[],
        more_tasks: None,
        unreachable_tasks: &[],
        completed_tasks: &[],
        offers: &[],
        executors: &[ExecutorView { info: None, agent: "a" }],
        constraints: None,
    };
    let json = written(|w| write_framework(w, &framework));
    assert_eq!(under(&json, "executors"), "[{}]");
    assert_eq!((under(&json, "role"), under(&json, "reregistered_time")), (r#""*""#, "2.5"));
}

#[test]
fn what_secrets_hold_is_not_shown() {
    let value = Some(v1::secret::Value { data: b"hush".to_vec() });
    let secret = v1::Secret { r#type: Some(v1::secret::Type::Value.into()), reference: None, value };
    let variable =
        v1::environment::Variable { name: "DB".into(), secret: Some(secret), ..Default::default() };
    let environment = Some(v1::Environment { variables: vec![variable] });
    let command = v1::CommandInfo { environment, ..Default::default() };
    let shown = written(|w| crate::shapes::write_command(w, Some(&command)));
    // Bytes are written in base 64.
    assert!(shown.contains("\"DB\"") && !shown.contains("aHVzaA"), "{shown}");
}
