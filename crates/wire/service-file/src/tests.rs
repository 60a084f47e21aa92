use serde_json::json;

use super::*;

fn toml(text: &str) -> Result<Vec<Entry>, Problem> {
    read("shop.toml", text, Form::Toml, "/srv/shop")
}

fn app(text: &str) -> Value {
    let text = format!("[app.web]\n{text}");
    toml(&text).unwrap_or_else(|problem| panic!("{problem}")).remove(0).value
}

#[test]
fn a_file_becomes_documents() {
    let text = r#"
        group = "/shop"
        [app.web]
        image     = "shop/web:1"
        instances = 2
        cpus      = 0.5
        memory    = "256 MiB"
        network   = "bridge"
        port      = 3000
        check     = "http /healthz"
        ready     = "http /ready"
        secret    = { DB_PASSWORD = "shop/db" }
        env       = { LOG = "info", N = 3 }
        after     = ["redis", "/other/thing"]
        constraints = ["hostname UNIQUE", "zone GROUP_BY 3"]
        upgrade   = { min_healthy = 0.5 }
        unreachable = { replace_after = "5m", forget_after = "1h" }
        [app.redis]
        image  = "redis:7"
        volume = { "/data" = "1 GiB" }
        unreachable = "wait"
    "#;
    let entries = toml(text).unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
        ["/shop/web", "/shop/redis"]
    );
    assert_eq!(entries[1].place.as_ref().map(|place| place.line), Some(18));
    assert_eq!(
        entries[0].value,
        json!({
            "id": "/shop/web", "instances": 2, "cpus": 0.5, "mem": 256.0,
            "env": { "LOG": "info", "N": "3", "DB_PASSWORD": { "secret": "db_password" } },
            "secrets": { "db_password": { "source": "shop/db" } },
            "dependencies": ["/shop/redis", "/other/thing"],
            "constraints": [["hostname", "UNIQUE"], ["zone", "GROUP_BY", "3"]],
            "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 1.0 },
            "unreachableStrategy": { "inactiveAfterSeconds": 300, "expungeAfterSeconds": 3600 },
            "networks": [{ "mode": "container/bridge" }],
            "container": {
                "type": "MESOS", "docker": { "image": "shop/web:1" },
                "portMappings": [{ "name": "http", "containerPort": 3000, "hostPort": 0 }],
            },
            "healthChecks": [{
                "protocol": "MESOS_HTTP", "path": "/healthz", "portIndex": 0, "intervalSeconds": 10, "timeoutSeconds": 5,
                "delaySeconds": 0,
            }],
            "readinessChecks": [{
                "protocol": "HTTP", "path": "/ready", "portName": "http", "intervalSeconds": 2, "timeoutSeconds": 1,
            }],
        })
    );
    assert_eq!(
        entries[1].value["container"]["volumes"],
        json!([{ "containerPath": "data", "persistent": { "size": 1024 }, "mode": "RW" }])
    );
    assert_eq!(entries[1].value["unreachableStrategy"], "disabled");
}

#[test]
fn ports_on_the_agents_network() {
    let any = app("cmd = 'x y'\nport = 'any'");
    assert_eq!(any["portDefinitions"], json!([{ "name": "http", "port": 0 }]));
    assert_eq!(any.get("requirePorts"), None);
    let fixed = app("cmd = 'x y'\nports = { admin = 9000, http = 'any' }");
    assert_eq!(fixed["requirePorts"], true);
    assert_eq!(app("cmd = 'x y'")["portDefinitions"], json!([]), "an app that names no port gets none");
}

#[test]
fn what_is_fetched_by_a_relative_path_lies_beside_the_file() {
    let fetched = app("cmd = 'x y'\nfetch = ['web.py', '/etc/site', 'https://example.com/a.tar.gz']");
    let uris: Vec<_> = fetched["fetch"].as_array().unwrap().iter().map(|one| one["uri"].clone()).collect();
    assert_eq!(uris, ["/srv/shop/web.py", "/etc/site", "https://example.com/a.tar.gz"]);
}

#[test]
fn checks_in_all_forms() {
    let check = |text: &str| app(&format!("cmd = 'x y'\nport = 'any'\n{text}"))["healthChecks"][0].clone();
    assert_eq!(check("check = 'tcp'")["protocol"], "MESOS_TCP");
    assert_eq!(check("check = 'command true'")["command"]["value"], "true");
    let table = check("check = { https = '/h', every = '3s', timeout = '1s', grace = '1m', failures = 0 }");
    assert_eq!(
        (table["protocol"].as_str(), table["intervalSeconds"].as_u64(), table["gracePeriodSeconds"].as_u64()),
        (Some("MESOS_HTTPS"), Some(3), Some(60))
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, line, column, words) in [
        ("[app.web]\nmemroy = '1 GiB'", 2, 1, "knows no key 'memroy'"),
        ("[app.web]\nmemory = 64", 2, 10, "'memory' is 64"),
        ("[app.web]\ncheck = 'htp /'", 2, 9, "is not understood"),
        ("[app.web]\nport = 70000", 2, 8, "'port' is 70000"),
        ("[app.web]\ncmd = 'a b'\nargs = ['x']", 2, 7, "both 'cmd' and 'args'"),
        ("[app.web]\nconstraints = ['hostname']", 2, 16, "constraint \"hostname\""),
        ("[ap.web]\ncmd = 'a b'", 1, 2, "knows no key 'ap'"),
        ("[app.web]\ncmd = ", 2, 7, "not TOML"),
        ("app = 3", 1, 7, "'app' is 3"),
    ] {
        let problem = toml(text).unwrap_err();
        let place = problem.place.as_ref().unwrap_or_else(|| panic!("{text}: {problem}"));
        assert!(problem.what.contains(words), "{text}: {problem}");
        assert_eq!((place.line, place.column), (line, column), "{text}: {problem}");
    }
    let problem = toml("[app.web]\nmemroy = '1 GiB'").unwrap_err();
    assert!(problem.help.iter().any(|help| help.contains("'memory'")), "{problem}");
    assert!(toml("group = '/shop'").unwrap_err().what.contains("names no service"));
}

#[test]
fn marathon_documents_in_json_and_yaml() {
    let list =
        read("a.json", r#"[{"id": "a", "cmd": "sleep 1"}, {"id": "/p", "containers": []}]"#, Form::Json, "/")
            .unwrap();
    assert_eq!(
        list.iter().map(|entry| (entry.kind, entry.id.as_str())).collect::<Vec<_>>(),
        [(Kind::App, "/a"), (Kind::Pod, "/p")]
    );
    let group = read("a.yaml", "id: /shop\napps:\n  - id: web\n    cmd: sleep 1\n", Form::Yaml, "/").unwrap();
    assert_eq!((group[0].kind, &group[0].value["apps"][0]["cmd"]), (Kind::Group, &json!("sleep 1")));
    let problem = read("a.json", "{\n  \"id\": }", Form::Json, "/").unwrap_err();
    assert_eq!(problem.place.map(|place| (place.line, place.column)), Some((2, 9)));
    let problem = read("a.yaml", "id: [\n", Form::Yaml, "/").unwrap_err();
    assert!(problem.what.contains("not YAML"), "{problem}");
    assert!(read("a.json", "3", Form::Json, "/").unwrap_err().what.contains("no definition"));
    assert!(read("a.json", "{\"cmd\": \"x\"}", Form::Json, "/").unwrap_err().what.contains("no id"));
}

#[test]
fn a_yaml_bomb_and_a_huge_file_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{before}*a{}]\n", level - 1));
    }
    assert!(read("a.yaml", &bomb, Form::Yaml, "/").is_err());
    assert!(
        read("a.json", &" ".repeat(FILE_BYTES_MAX + 1), Form::Json, "/").unwrap_err().what.contains("bytes")
    );
}

#[test]
fn a_compose_file_becomes_ours_and_says_what_it_lost() {
    let compose = r#"
name: shop
services:
  web:
    build: .
    image: shop/web:1
    command: ["serve", "--port", "3000"]
    environment:
      LOG: info
      TOKEN:
    ports: ["8080:3000"]
    depends_on:
      redis: { condition: service_started }
    deploy:
      replicas: 2
      resources: { limits: { cpus: "0.5", memory: 256M } }
    healthcheck: { test: ["CMD", "curl", "-f", "http://localhost:3000"], interval: 10s, retries: 5 }
    restart: on-failure
    cap_add: [NET_ADMIN]
  Redis_1:
    image: redis:7
    entrypoint: ["redis-server"]
    command: ["--save", "it's"]
    volumes: ["data:/data", "/etc/r:/etc/r:ro", "./x:/x"]
networks: { back: {} }
"#;
    let imported = import("compose.yaml", compose).unwrap();
    assert_eq!(imported.services, 2);
    let entries = toml(&imported.text).unwrap_or_else(|problem| panic!("{problem}\n{}", imported.text));
    let web = &entries.iter().find(|entry| entry.id == "/web").unwrap().value;
    assert_eq!(
        (&web["args"], &web["env"], &web["instances"]),
        (&json!(["serve", "--port", "3000"]), &json!({ "LOG": "info" }), &json!(2))
    );
    assert_eq!(
        (&web["cpus"], &web["mem"], &web["dependencies"]),
        (&json!(0.5), &json!(256.0), &json!(["/redis"]))
    );
    assert_eq!(web["healthChecks"][0]["command"]["value"], "curl -f http://localhost:3000");
    assert_eq!(web["container"]["portMappings"][0]["containerPort"], 3000);
    let redis = &entries.iter().find(|entry| entry.id == "/redis-1").unwrap().value;
    assert_eq!(redis["cmd"], "exec redis-server --save 'it'\\''s'");
    assert_eq!(
        redis["container"]["volumes"][1],
        json!({ "containerPath": "/etc/r", "hostPath": "/etc/r", "mode": "RO" })
    );
    let left = imported.left.join("\n");
    for lost in [
        "`networks` at the top",
        "web: `build`",
        "TOKEN",
        "8080:3000",
        "service_started",
        "on-failure",
        "`cap_add`",
        "Redis_1",
        "size of the volume `data`",
        "./x:/x",
    ] {
        assert!(left.contains(lost), "{lost} in\n{left}");
    }
    assert!(import("x.yaml", "a: 1").unwrap_err().what.contains("no compose file"));
}
