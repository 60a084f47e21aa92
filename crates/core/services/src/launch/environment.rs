//! The variables of tasks (rules 195 to 209).

use std::collections::BTreeMap;

use mezzo_mesos::v1::{self, environment::variable};
use mezzo_services_model::{App, Engine, EnvValue, Pod, PodContainer, Resources};
use mezzo_time::Timestamp;

use super::{parts::secret, ports::Port};

/// Labels whose names or values are as long as this are not told as variables (rule 204).
const LABEL_VALUE_MAX: usize = 512;
const LABEL_PREFIX: &str = "MARATHON_APP_LABEL_";

/// Variables; a later one of the same name wins.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, EnvValue>);

impl Variables {
    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), EnvValue::Text(value.into()));
    }

    fn user(&mut self, environment: &BTreeMap<String, EnvValue>) {
        for (name, value) in environment {
            self.0.insert(name.clone(), value.clone());
        }
    }

    /// Secrets go as references, and whoever sends the call fills their values in; a key that is not declared is left out (rule 209).
    pub(super) fn into_message(self, secrets: &BTreeMap<String, String>) -> v1::Environment {
        let variables = self.0.into_iter().filter_map(|(name, value)| {
            Some(match value {
                EnvValue::Text(text) => {
                    v1::environment::Variable { name, value: Some(text), ..Default::default() }
                }
                EnvValue::Secret(key) => v1::environment::Variable {
                    name,
                    r#type: Some(variable::Type::Secret.into()),
                    secret: Some(secret(secrets.get(&key)?)),
                    ..Default::default()
                },
            })
        });
        v1::Environment { variables: variables.collect() }
    }

    /// Rules 203 and 204.
    fn labels<'a>(&mut self, labels: impl Iterator<Item = (&'a String, &'a String)>) {
        let told: Vec<(String, &String)> = labels
            .filter(|(name, value)| {
                name.len() < LABEL_VALUE_MAX - LABEL_PREFIX.len() && value.len() < LABEL_VALUE_MAX
            })
            .map(|(name, value)| (variable_name(name), value))
            .collect();
        let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
        self.set("MARATHON_APP_LABELS", names.join(" "));
        for (name, value) in told {
            self.set(format!("{LABEL_PREFIX}{name}"), value.as_str());
        }
    }

    /// Rules 196 to 200.
    fn ports(&mut self, ports: &[Port<'_>], prefix: &str) {
        for (i, port) in ports.iter().enumerate() {
            self.set(format!("{prefix}PORT{i}"), port.told().to_string());
        }
        for port in ports {
            let told = port.told();
            let number = if port.requested == 0 { told } else { port.requested };
            self.set(format!("{prefix}PORT_{number}"), told.to_string());
            if let Some(name) = port.name {
                self.set(format!("{prefix}PORT_{}", name.to_uppercase()), told.to_string());
            }
        }
        let on_host = ports.iter().filter_map(|port| port.host);
        let made_up = ports.iter().filter(|port| port.host.is_none() && port.made_up).map(Port::told);
        let all: Vec<String> = on_host.chain(made_up).map(|port| port.to_string()).collect();
        if let Some(first) = all.first() {
            self.set(format!("{prefix}PORT"), first.as_str());
            self.set(format!("{prefix}PORTS"), all.join(","));
        }
    }
}

/// What the variables of a task are made of.
pub(super) struct Facts<'a> {
    pub(super) task: &'a str,
    pub(super) host: &'a str,
    pub(super) enforce_role: bool,
    /// `env_vars_prefix` (rule 205).
    pub(super) prefix: &'a str,
}

impl Facts<'_> {
    fn common(&self, variables: &mut Variables, id: &str, version: Timestamp) {
        variables.set("MESOS_TASK_ID", self.task);
        variables.set("MARATHON_APP_ID", id);
        variables.set("MARATHON_APP_VERSION", date(version));
        variables.set("MARATHON_APP_ENFORCE_GROUP_ROLE", if self.enforce_role { "TRUE" } else { "FALSE" });
    }
}

/// The variables of an app's task; its own override what is generated (rule 206).
pub(super) fn of_app(app: &App, facts: &Facts<'_>, ports: &[Port<'_>]) -> Variables {
    let mut variables = Variables::default();
    variables.set(format!("{}HOST", facts.prefix), facts.host);
    facts.common(&mut variables, app.id.as_str(), app.version);
    resources(&mut variables, "MARATHON_APP_RESOURCE", app.resources);
    let image = app.container.as_ref().filter(|container| container.engine == Engine::Docker);
    if let Some(docker) = image.and_then(|container| container.docker.as_ref()) {
        variables.set("MARATHON_APP_DOCKER_IMAGE", docker.image.as_str());
    }
    variables.labels(app.labels.iter());
    variables.ports(ports, facts.prefix);
    variables.user(&app.env);
    variables
}

/// The variables of a container of a pod; what is generated overrides the pod's own (rules 207 and 208).
pub(super) fn of_container(
    pod: &Pod,
    container: &PodContainer,
    facts: &Facts<'_>,
    executor: &str,
    ports: &[Vec<Port<'_>>],
) -> Variables {
    let mut variables = Variables::default();
    variables.user(&pod.environment);
    variables.user(&container.environment);
    variables.set(format!("{}HOST", facts.prefix), facts.host);
    facts.common(&mut variables, pod.id.as_str(), pod.version);
    variables.set("MESOS_EXECUTOR_ID", executor);
    variables.set("MARATHON_CONTAINER_ID", container.name.as_str());
    resources(&mut variables, "MARATHON_CONTAINER_RESOURCE", container.resources);
    let labels: BTreeMap<&String, &String> = pod.labels.iter().chain(&container.labels).collect();
    variables.labels(labels.into_iter());
    // The containers of a pod share its network, so each is told where the others listen.
    for port in ports.iter().flatten() {
        let name = variable_name(port.name.unwrap_or_default());
        variables.set(format!("ENDPOINT_{name}"), port.inside().to_string());
        if let Some(host) = port.host {
            variables.set(format!("EP_HOST_{name}"), host.to_string());
        }
        if let Some(inside) = port.container {
            variables.set(format!("EP_CONTAINER_{name}"), inside.to_string());
        }
    }
    variables
}

fn resources(variables: &mut Variables, prefix: &str, resources: Resources) {
    // Whole numbers keep one decimal, as Marathon writes them.
    variables.set(format!("{prefix}_CPUS"), format!("{:?}", resources.cpus));
    variables.set(format!("{prefix}_MEM"), format!("{:?}", resources.mem));
    variables.set(format!("{prefix}_DISK"), format!("{:?}", resources.disk));
    variables.set(format!("{prefix}_GPUS"), resources.gpus.to_string());
}

/// Upper case, with one underscore for each run of characters that variables do not have.
fn variable_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.chars() {
        let fits = character.is_ascii_alphanumeric() || character == '_';
        if fits {
            name.push(character.to_ascii_uppercase());
        } else if !gap {
            name.push('_');
        }
        gap = !fits;
    }
    name
}

/// A point in time as versions are written: `2026-01-31T23:59:59.123Z` (rule 240).
pub(super) fn date(at: Timestamp) -> String {
    const DAY: i64 = 86_400_000;
    let millis = at.as_nanos().div_euclid(1_000_000);
    let (days, of_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    // Years begin in March here, so that the leap day is the last; 400 years are one cycle of 146,097 days.
    let shifted = days + 719_468;
    let (cycle, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, wrapped) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + 400 * cycle + wrapped;
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
