//! What the definitions of apps and pods have in common.

use std::collections::BTreeMap;

use mezzo_json::Writer;
use mezzo_services_model::{
    Artifact, CheckTarget, Constraint, EnvValue, ExecutorResources, HttpScheme, KillSelection, Limit,
    LinuxInfo, Network, NetworkMode, PersistentKind, PersistentVolume, PortRef, Protocols, PullConfig,
    ResourceLimits, ShellOrArgs, UnreachableStrategy, UpgradeStrategy, VersionInfo,
};

use super::fields::{key, list, map, number, seconds, texts, time};

pub(crate) fn write_env(w: &mut Writer<'_>, env: &BTreeMap<String, EnvValue>) {
    w.begin_object();
    for (name, value) in env {
        w.key(name);
        match value {
            EnvValue::Text(text) => w.string(text),
            EnvValue::Secret(secret) => {
                w.begin_object();
                key!(w, "secret");
                w.string(secret);
                w.end_object();
            }
        }
    }
    w.end_object();
}

pub(crate) fn write_secrets(w: &mut Writer<'_>, secrets: &BTreeMap<String, String>) {
    w.begin_object();
    for (name, source) in secrets {
        w.key(name);
        w.begin_object();
        key!(w, "source");
        w.string(source);
        w.end_object();
    }
    w.end_object();
}

pub(crate) fn write_artifact(w: &mut Writer<'_>, artifact: &Artifact) {
    w.begin_object();
    key!(w, "uri");
    w.string(&artifact.uri);
    key!(w, "extract");
    w.boolean(artifact.extract);
    key!(w, "executable");
    w.boolean(artifact.executable);
    key!(w, "cache");
    w.boolean(artifact.cache);
    if let Some(path) = &artifact.dest_path {
        key!(w, "destPath");
        w.string(path);
    }
    w.end_object();
}

pub(crate) fn write_networks(w: &mut Writer<'_>, networks: &[Network]) {
    list(w, networks, |w, network| {
        w.begin_object();
        if let Some(name) = &network.name {
            key!(w, "name");
            w.string(name);
        }
        key!(w, "mode");
        w.string(match network.mode {
            NetworkMode::Host => "host",
            NetworkMode::Bridge => "container/bridge",
            NetworkMode::Container => "container",
        });
        if !network.labels.is_empty() {
            key!(w, "labels");
            map(w, &network.labels);
        }
        w.end_object();
    });
}

/// The protocols of an app's port: one text.
pub(crate) fn protocol_text(protocols: Protocols) -> &'static str {
    match (protocols.udp, protocols.tcp) {
        (true, true) => "udp,tcp",
        (true, false) => "udp",
        (false, _) => "tcp",
    }
}

/// A constraint of an app or a volume: a list of two or three texts.
pub(crate) fn write_constraint_list(w: &mut Writer<'_>, constraint: &Constraint) {
    let value = constraint.value.as_deref();
    texts(w, [constraint.field.as_str(), constraint.operator.name()].into_iter().chain(value));
}

pub(crate) fn write_linux_info(w: &mut Writer<'_>, info: &LinuxInfo) {
    w.begin_object();
    if let Some(seccomp) = &info.seccomp {
        key!(w, "seccomp");
        w.begin_object();
        if let Some(name) = &seccomp.profile_name {
            key!(w, "profileName");
            w.string(name);
        }
        key!(w, "unconfined");
        w.boolean(seccomp.unconfined);
        w.end_object();
    }
    if let Some(ipc) = &info.ipc {
        key!(w, "ipcInfo");
        w.begin_object();
        key!(w, "mode");
        w.string(if ipc.share_parent { "SHARE_PARENT" } else { "PRIVATE" });
        if let Some(size) = ipc.shm_size {
            key!(w, "shmSize");
            w.unsigned(size.into());
        }
        w.end_object();
    }
    w.end_object();
}

pub(crate) fn write_executor_resources(w: &mut Writer<'_>, resources: &ExecutorResources) {
    w.begin_object();
    key!(w, "cpus");
    number(w, resources.cpus);
    key!(w, "mem");
    number(w, resources.mem);
    key!(w, "disk");
    number(w, resources.disk);
    w.end_object();
}

pub(crate) fn write_resource_limits(w: &mut Writer<'_>, limits: &ResourceLimits) {
    let limit = |w: &mut Writer<'_>, limit: Limit| match limit {
        Limit::Unlimited => w.string("unlimited"),
        Limit::Value(value) => number(w, value),
    };
    w.begin_object();
    if let Some(cpus) = limits.cpus {
        key!(w, "cpus");
        limit(w, cpus);
    }
    if let Some(mem) = limits.mem {
        key!(w, "mem");
        limit(w, mem);
    }
    w.end_object();
}

pub(crate) fn write_pull_config(w: &mut Writer<'_>, config: &PullConfig) {
    w.begin_object();
    key!(w, "secret");
    w.string(&config.secret);
    w.end_object();
}

pub(crate) fn write_upgrade_strategy(w: &mut Writer<'_>, strategy: UpgradeStrategy) {
    w.begin_object();
    key!(w, "maximumOverCapacity");
    number(w, strategy.maximum_over_capacity);
    key!(w, "minimumHealthCapacity");
    number(w, strategy.minimum_health_capacity);
    w.end_object();
}

pub(crate) fn write_unreachable_strategy(w: &mut Writer<'_>, strategy: UnreachableStrategy) {
    match strategy {
        UnreachableStrategy::Disabled => w.string("disabled"),
        UnreachableStrategy::Enabled { inactive_after, expunge_after } => {
            w.begin_object();
            key!(w, "inactiveAfterSeconds");
            seconds(w, inactive_after);
            key!(w, "expungeAfterSeconds");
            seconds(w, expunge_after);
            w.end_object();
        }
    }
}

pub(crate) fn kill_selection_name(selection: KillSelection) -> &'static str {
    match selection {
        KillSelection::YoungestFirst => "YOUNGEST_FIRST",
        KillSelection::OldestFirst => "OLDEST_FIRST",
    }
}

pub(crate) fn scheme_name(scheme: HttpScheme) -> &'static str {
    match scheme {
        HttpScheme::Http => "HTTP",
        HttpScheme::Https => "HTTPS",
    }
}

pub(crate) fn write_version_info(w: &mut Writer<'_>, info: VersionInfo) {
    w.begin_object();
    key!(w, "lastScalingAt");
    time(w, info.last_scaling_at);
    key!(w, "lastConfigChangeAt");
    time(w, info.last_config_change_at);
    w.end_object();
}

pub(crate) fn write_persistent(w: &mut Writer<'_>, volume: &PersistentVolume) {
    w.begin_object();
    key!(w, "type");
    w.string(match volume.kind {
        PersistentKind::Root => "root",
        PersistentKind::Path => "path",
        PersistentKind::Mount => "mount",
    });
    key!(w, "size");
    w.unsigned(volume.size);
    if let Some(size) = volume.max_size {
        key!(w, "maxSize");
        w.unsigned(size);
    }
    if let Some(name) = &volume.profile_name {
        key!(w, "profileName");
        w.string(name);
    }
    key!(w, "constraints");
    list(w, &volume.constraints, write_constraint_list);
    w.end_object();
}

pub(crate) fn write_shell_or_args(w: &mut Writer<'_>, command: &ShellOrArgs) {
    w.begin_object();
    match command {
        ShellOrArgs::Shell(line) => {
            key!(w, "shell");
            w.string(line);
        }
        ShellOrArgs::Args(args) => {
            key!(w, "argv");
            texts(w, args.iter().map(String::as_str));
        }
    }
    w.end_object();
}

/// The field of a check that says what is looked at, within its object.
pub(crate) fn write_check_target(w: &mut Writer<'_>, target: &CheckTarget) {
    match target {
        CheckTarget::Http { port, path, scheme } => {
            key!(w, "http");
            w.begin_object();
            write_port_ref(w, port.as_ref());
            if let Some(path) = path {
                key!(w, "path");
                w.string(path);
            }
            key!(w, "scheme");
            w.string(scheme_name(*scheme));
            w.end_object();
        }
        CheckTarget::Tcp { port } => {
            key!(w, "tcp");
            w.begin_object();
            write_port_ref(w, port.as_ref());
            w.end_object();
        }
        CheckTarget::Command(command) => {
            key!(w, "exec");
            w.begin_object();
            key!(w, "command");
            write_shell_or_args(w, command);
            w.end_object();
        }
    }
}

pub(crate) fn write_port_ref(w: &mut Writer<'_>, port: Option<&PortRef>) {
    match port {
        None => {}
        Some(PortRef::Index(index)) => {
            key!(w, "portIndex");
            w.unsigned(*index as u64);
        }
        Some(PortRef::Number(port)) => {
            key!(w, "port");
            w.unsigned((*port).into());
        }
        Some(PortRef::Endpoint(name)) => {
            key!(w, "endpoint");
            w.string(name);
        }
    }
}
