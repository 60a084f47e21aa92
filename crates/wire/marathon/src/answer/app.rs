//! The definition of an app in the API's own form: no deprecated field, empty lists left out where the API leaves them out
//! (rule.output).

use mezzo_json::Writer;
use mezzo_services_model::{
    App, AppCommand, AppHealthCheck, AppVolume, Check, Container, Docker, Engine, ExternalVolume,
    HealthProtocol, PortDefinition, PortMapping, ReadMode, ReadinessCheck, VolumeSource,
};

use super::{
    canary::write_canary,
    fields::{key, list, map, number, seconds, texts, time},
    shared::{
        kill_selection_name, protocol_text, scheme_name, write_artifact, write_check_target,
        write_constraint_list, write_env, write_executor_resources, write_linux_info, write_networks,
        write_persistent, write_port_ref, write_pull_config, write_resource_limits, write_secrets,
        write_unreachable_strategy, write_upgrade_strategy, write_version_info,
    },
};

/// The definition as one object.
pub fn write_app(w: &mut Writer<'_>, app: &App) {
    w.begin_object();
    write_app_fields(w, app);
    w.end_object();
}

/// The fields of the definition within an object that the caller opens and may add to.
pub(crate) fn write_app_fields(w: &mut Writer<'_>, app: &App) {
    key!(w, "id");
    w.string(app.id.as_str());
    match &app.command {
        Some(AppCommand::Shell(line)) => {
            key!(w, "cmd");
            w.string(line);
        }
        Some(AppCommand::Args(args)) => {
            key!(w, "args");
            texts(w, args.iter().map(String::as_str));
        }
        None => {}
    }
    if let Some(roles) = &app.accepted_resource_roles {
        key!(w, "acceptedResourceRoles");
        texts(w, roles.iter().map(String::as_str));
    }
    key!(w, "backoffFactor");
    number(w, app.backoff.factor);
    key!(w, "backoffSeconds");
    seconds(w, app.backoff.first);
    key!(w, "maxLaunchDelaySeconds");
    seconds(w, app.backoff.longest);
    if !app.constraints.is_empty() {
        key!(w, "constraints");
        list(w, &app.constraints, write_constraint_list);
    }
    if let Some(container) = &app.container {
        key!(w, "container");
        write_container(w, container, !app.is_on_host_network());
    }
    key!(w, "cpus");
    number(w, app.resources.cpus);
    key!(w, "mem");
    number(w, app.resources.mem);
    key!(w, "disk");
    number(w, app.resources.disk);
    key!(w, "gpus");
    w.unsigned(app.resources.gpus.into());
    write_behaviour(w, app);
    key!(w, "networks");
    write_networks(w, &app.networks);
    if app.is_on_host_network() {
        key!(w, "portDefinitions");
        list(w, &app.port_definitions, write_port_definition);
    }
    key!(w, "requirePorts");
    w.boolean(app.require_ports);
    write_checks(w, app);
    key!(w, "role");
    w.string(&app.role);
    key!(w, "version");
    time(w, app.version);
    key!(w, "versionInfo");
    write_version_info(w, app.version_info);
}

/// How it runs and what becomes of it.
fn write_behaviour(w: &mut Writer<'_>, app: &App) {
    if !app.dependencies.is_empty() {
        key!(w, "dependencies");
        texts(w, app.dependencies.iter().map(|id| id.as_str()));
    }
    if !app.env.is_empty() {
        key!(w, "env");
        write_env(w, &app.env);
    }
    key!(w, "executor");
    w.string(&app.executor);
    if let Some(resources) = &app.executor_resources {
        key!(w, "executorResources");
        write_executor_resources(w, resources);
    }
    if !app.fetch.is_empty() {
        key!(w, "fetch");
        list(w, &app.fetch, write_artifact);
    }
    key!(w, "instances");
    w.unsigned(app.instances.into());
    key!(w, "killSelection");
    w.string(kill_selection_name(app.kill_selection));
    key!(w, "labels");
    map(w, &app.labels);
    if app.is_resident() {
        // It has no effect; the API shows it for apps with persistent volumes.
        key!(w, "residency");
        w.raw(br#"{"relaunchEscalationTimeoutSeconds":3600,"taskLostBehavior":"WAIT_FOREVER"}"#);
    }
    if let Some(limits) = &app.resource_limits {
        key!(w, "resourceLimits");
        write_resource_limits(w, limits);
    }
    if !app.secrets.is_empty() {
        key!(w, "secrets");
        write_secrets(w, &app.secrets);
    }
    if let Some(period) = app.kill_grace_period {
        key!(w, "taskKillGracePeriodSeconds");
        seconds(w, period);
    }
    if let Some(tty) = app.tty {
        key!(w, "tty");
        w.boolean(tty);
    }
    key!(w, "unreachableStrategy");
    write_unreachable_strategy(w, app.unreachable_strategy);
    key!(w, "upgradeStrategy");
    write_upgrade_strategy(w, app.upgrade_strategy);
    if let Some(canary) = &app.canary {
        key!(w, "canary");
        write_canary(w, canary);
    }
    if let Some(user) = &app.user {
        key!(w, "user");
        w.string(user);
    }
}

fn write_checks(w: &mut Writer<'_>, app: &App) {
    if !app.health_checks.is_empty() {
        key!(w, "healthChecks");
        list(w, &app.health_checks, write_app_health_check);
    }
    if let Some(check) = &app.check {
        key!(w, "check");
        write_check(w, check);
    }
    if !app.readiness_checks.is_empty() {
        key!(w, "readinessChecks");
        list(w, &app.readiness_checks, write_readiness_check);
    }
}

fn write_port_definition(w: &mut Writer<'_>, port: &PortDefinition) {
    w.begin_object();
    key!(w, "port");
    w.unsigned(port.port.into());
    key!(w, "protocol");
    w.string(protocol_text(port.protocols));
    if let Some(name) = &port.name {
        key!(w, "name");
        w.string(name);
    }
    if !port.labels.is_empty() {
        key!(w, "labels");
        map(w, &port.labels);
    }
    w.end_object();
}

fn write_container(w: &mut Writer<'_>, container: &Container, with_mappings: bool) {
    w.begin_object();
    key!(w, "type");
    w.string(match container.engine {
        Engine::Mesos => "MESOS",
        Engine::Docker => "DOCKER",
    });
    if let Some(docker) = &container.docker {
        key!(w, "docker");
        write_docker(w, docker);
    }
    key!(w, "volumes");
    list(w, &container.volumes, write_volume);
    if with_mappings {
        key!(w, "portMappings");
        list(w, &container.port_mappings, write_port_mapping);
    }
    if let Some(info) = &container.linux_info {
        key!(w, "linuxInfo");
        write_linux_info(w, info);
    }
    w.end_object();
}

fn write_docker(w: &mut Writer<'_>, docker: &Docker) {
    w.begin_object();
    key!(w, "image");
    w.string(&docker.image);
    key!(w, "forcePullImage");
    w.boolean(docker.force_pull_image);
    key!(w, "privileged");
    w.boolean(docker.privileged);
    key!(w, "parameters");
    list(w, &docker.parameters, |w, parameter| {
        w.begin_object();
        key!(w, "key");
        w.string(&parameter.key);
        key!(w, "value");
        w.string(&parameter.value);
        w.end_object();
    });
    if let Some(config) = &docker.pull_config {
        key!(w, "pullConfig");
        write_pull_config(w, config);
    }
    w.end_object();
}

fn write_port_mapping(w: &mut Writer<'_>, mapping: &PortMapping) {
    w.begin_object();
    key!(w, "containerPort");
    w.unsigned(mapping.container_port.into());
    if let Some(port) = mapping.host_port {
        key!(w, "hostPort");
        w.unsigned(port.into());
    }
    key!(w, "labels");
    map(w, &mapping.labels);
    if let Some(name) = &mapping.name {
        key!(w, "name");
        w.string(name);
    }
    key!(w, "protocol");
    w.string(protocol_text(mapping.protocols));
    key!(w, "servicePort");
    w.unsigned(mapping.service_port.into());
    if !mapping.network_names.is_empty() {
        key!(w, "networkNames");
        texts(w, mapping.network_names.iter().map(String::as_str));
    }
    w.end_object();
}

fn write_volume(w: &mut Writer<'_>, volume: &AppVolume) {
    let mode = match volume.mode {
        ReadMode::Ro => "RO",
        ReadMode::Rw => "RW",
    };
    w.begin_object();
    key!(w, "containerPath");
    w.string(&volume.container_path);
    match &volume.source {
        VolumeSource::Host(path) => {
            key!(w, "hostPath");
            w.string(path);
            key!(w, "mode");
            w.string(mode);
        }
        VolumeSource::Persistent(persistent) => {
            key!(w, "persistent");
            write_persistent(w, persistent);
            key!(w, "mode");
            w.string(mode);
        }
        VolumeSource::External(external) => {
            key!(w, "external");
            write_external(w, external);
            key!(w, "mode");
            w.string(mode);
        }
        VolumeSource::Secret(secret) => {
            key!(w, "secret");
            w.string(secret);
        }
        // Volumes of pods only.
        VolumeSource::Ephemeral => {}
    }
    w.end_object();
}

fn write_external(w: &mut Writer<'_>, external: &ExternalVolume) {
    w.begin_object();
    if let Some(name) = &external.name {
        key!(w, "name");
        w.string(name);
    }
    key!(w, "provider");
    w.string(&external.provider);
    if let Some(size) = external.size {
        key!(w, "size");
        w.unsigned(size);
    }
    if !external.options.is_empty() {
        key!(w, "options");
        map(w, &external.options);
    }
    key!(w, "shared");
    w.boolean(external.shared);
    w.end_object();
}

/// A health check of an app; events carry it too.
pub(crate) fn write_app_health_check(w: &mut Writer<'_>, check: &AppHealthCheck) {
    use HealthProtocol::{Command, Http, Https, MesosHttp, MesosHttps, MesosTcp, Tcp};
    w.begin_object();
    key!(w, "protocol");
    w.string(match check.protocol {
        Http => "HTTP",
        Https => "HTTPS",
        Tcp => "TCP",
        Command => "COMMAND",
        MesosHttp => "MESOS_HTTP",
        MesosHttps => "MESOS_HTTPS",
        MesosTcp => "MESOS_TCP",
    });
    if let Some(command) = &check.command {
        key!(w, "command");
        w.begin_object();
        key!(w, "value");
        w.string(command);
        w.end_object();
    }
    if let Some(path) = &check.path {
        key!(w, "path");
        w.string(path);
    }
    write_port_ref(w, check.port.as_ref());
    if matches!(check.protocol, Http | Https) || check.ignore_http_1xx {
        key!(w, "ignoreHttp1xx");
        w.boolean(check.ignore_http_1xx);
    }
    if matches!(check.protocol, MesosHttp | MesosHttps | MesosTcp) || check.ipv6 {
        key!(w, "ipProtocol");
        w.string(if check.ipv6 { "IPv6" } else { "IPv4" });
    }
    key!(w, "gracePeriodSeconds");
    seconds(w, check.grace_period);
    key!(w, "intervalSeconds");
    seconds(w, check.interval);
    key!(w, "timeoutSeconds");
    seconds(w, check.timeout);
    key!(w, "delaySeconds");
    seconds(w, check.delay);
    key!(w, "maxConsecutiveFailures");
    w.unsigned(check.max_consecutive_failures.into());
    w.end_object();
}

/// A generic check, of an app or of a container of a pod.
pub(crate) fn write_check(w: &mut Writer<'_>, check: &Check) {
    w.begin_object();
    write_check_target(w, &check.target);
    key!(w, "intervalSeconds");
    seconds(w, check.interval);
    key!(w, "timeoutSeconds");
    seconds(w, check.timeout);
    key!(w, "delaySeconds");
    seconds(w, check.delay);
    w.end_object();
}

fn write_readiness_check(w: &mut Writer<'_>, check: &ReadinessCheck) {
    w.begin_object();
    key!(w, "name");
    w.string(&check.name);
    key!(w, "protocol");
    w.string(scheme_name(check.scheme));
    key!(w, "path");
    w.string(&check.path);
    key!(w, "portName");
    w.string(&check.port_name);
    key!(w, "intervalSeconds");
    seconds(w, check.interval);
    key!(w, "timeoutSeconds");
    seconds(w, check.timeout);
    key!(w, "httpStatusCodesForReady");
    list(w, &check.ready_statuses, |w, status| w.unsigned((*status).into()));
    key!(w, "preserveLastResponse");
    w.boolean(check.preserve_last_response);
    w.end_object();
}
