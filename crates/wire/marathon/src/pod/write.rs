//! The definition of a pod in the API's own form.

use mezzo_json::Writer;
use mezzo_services_model::{
    Constraint, Endpoint, HealthCheck, Image, Pod, PodContainer, PodVolume, Resources, VolumeSource,
};

use crate::answer::{
    app::write_check,
    fields::{fractional_seconds, key, list, map, number, seconds, texts, time},
    shared::{
        kill_selection_name, write_artifact, write_check_target, write_env, write_executor_resources,
        write_linux_info, write_networks, write_persistent, write_pull_config, write_resource_limits,
        write_secrets, write_shell_or_args, write_unreachable_strategy, write_upgrade_strategy,
    },
};

/// The definition as one object.
pub fn write_pod(w: &mut Writer<'_>, pod: &Pod) {
    w.begin_object();
    key!(w, "id");
    w.string(pod.id.as_str());
    if !pod.labels.is_empty() {
        key!(w, "labels");
        map(w, &pod.labels);
    }
    key!(w, "version");
    time(w, pod.version);
    if let Some(user) = &pod.user {
        key!(w, "user");
        w.string(user);
    }
    if !pod.environment.is_empty() {
        key!(w, "environment");
        write_env(w, &pod.environment);
    }
    key!(w, "containers");
    list(w, &pod.containers, write_container);
    if !pod.secrets.is_empty() {
        key!(w, "secrets");
        write_secrets(w, &pod.secrets);
    }
    if !pod.volumes.is_empty() {
        key!(w, "volumes");
        list(w, &pod.volumes, write_volume);
    }
    if !pod.networks.is_empty() {
        key!(w, "networks");
        write_networks(w, &pod.networks);
    }
    key!(w, "scaling");
    w.begin_object();
    key!(w, "kind");
    w.string("fixed");
    key!(w, "instances");
    w.unsigned(pod.instances.into());
    w.end_object();
    key!(w, "scheduling");
    write_scheduling(w, pod);
    key!(w, "executorResources");
    write_executor_resources(w, &pod.executor_resources);
    if let Some(info) = &pod.linux_info {
        key!(w, "linuxInfo");
        write_linux_info(w, info);
    }
    if let Some(shared) = pod.legacy_shared_cgroups {
        key!(w, "legacySharedCgroups");
        w.boolean(shared);
    }
    key!(w, "role");
    w.string(&pod.role);
    w.end_object();
}

fn write_scheduling(w: &mut Writer<'_>, pod: &Pod) {
    w.begin_object();
    key!(w, "backoff");
    w.begin_object();
    key!(w, "backoff");
    fractional_seconds(w, pod.backoff.first);
    key!(w, "backoffFactor");
    number(w, pod.backoff.factor);
    key!(w, "maxLaunchDelay");
    fractional_seconds(w, pod.backoff.longest);
    w.end_object();
    key!(w, "upgrade");
    write_upgrade_strategy(w, pod.upgrade_strategy);
    key!(w, "placement");
    w.begin_object();
    if !pod.constraints.is_empty() {
        key!(w, "constraints");
        list(w, &pod.constraints, write_constraint);
    }
    if let Some(roles) = &pod.accepted_resource_roles {
        key!(w, "acceptedResourceRoles");
        texts(w, roles.iter().map(String::as_str));
    }
    w.end_object();
    key!(w, "killSelection");
    w.string(kill_selection_name(pod.kill_selection));
    key!(w, "unreachableStrategy");
    write_unreachable_strategy(w, pod.unreachable_strategy);
    w.end_object();
}

fn write_constraint(w: &mut Writer<'_>, constraint: &Constraint) {
    w.begin_object();
    key!(w, "fieldName");
    w.string(&constraint.field);
    key!(w, "operator");
    w.string(constraint.operator.name());
    if let Some(value) = &constraint.value {
        key!(w, "value");
        w.string(value);
    }
    w.end_object();
}

fn write_container(w: &mut Writer<'_>, container: &PodContainer) {
    w.begin_object();
    key!(w, "name");
    w.string(&container.name);
    if let Some(exec) = &container.exec {
        key!(w, "exec");
        w.begin_object();
        key!(w, "command");
        write_shell_or_args(w, &exec.command);
        if let Some(yes) = exec.override_entrypoint {
            key!(w, "overrideEntrypoint");
            w.boolean(yes);
        }
        w.end_object();
    }
    key!(w, "resources");
    write_resources(w, container.resources);
    if let Some(limits) = &container.resource_limits {
        key!(w, "resourceLimits");
        write_resource_limits(w, limits);
    }
    if !container.endpoints.is_empty() {
        key!(w, "endpoints");
        list(w, &container.endpoints, write_endpoint);
    }
    if let Some(info) = &container.linux_info {
        key!(w, "linuxInfo");
        write_linux_info(w, info);
    }
    if let Some(image) = &container.image {
        key!(w, "image");
        write_image(w, image);
    }
    if !container.environment.is_empty() {
        key!(w, "environment");
        write_env(w, &container.environment);
    }
    if let Some(user) = &container.user {
        key!(w, "user");
        w.string(user);
    }
    if let Some(check) = &container.health_check {
        key!(w, "healthCheck");
        write_health_check(w, check);
    }
    if let Some(check) = &container.check {
        key!(w, "check");
        write_check(w, check);
    }
    if !container.volume_mounts.is_empty() {
        key!(w, "volumeMounts");
        list(w, &container.volume_mounts, |w, mount| {
            w.begin_object();
            key!(w, "name");
            w.string(&mount.name);
            key!(w, "mountPath");
            w.string(&mount.mount_path);
            if let Some(yes) = mount.read_only {
                key!(w, "readOnly");
                w.boolean(yes);
            }
            w.end_object();
        });
    }
    if !container.artifacts.is_empty() {
        key!(w, "artifacts");
        list(w, &container.artifacts, write_artifact);
    }
    if !container.labels.is_empty() {
        key!(w, "labels");
        map(w, &container.labels);
    }
    if let Some(period) = container.kill_grace_period {
        key!(w, "lifecycle");
        w.begin_object();
        key!(w, "killGracePeriodSeconds");
        fractional_seconds(w, period);
        w.end_object();
    }
    if let Some(tty) = container.tty {
        key!(w, "tty");
        w.boolean(tty);
    }
    w.end_object();
}

/// Resources as pods and the status of their instances show them.
pub(crate) fn write_resources(w: &mut Writer<'_>, resources: Resources) {
    w.begin_object();
    key!(w, "cpus");
    number(w, resources.cpus);
    key!(w, "mem");
    number(w, resources.mem);
    key!(w, "disk");
    number(w, resources.disk);
    key!(w, "gpus");
    w.unsigned(resources.gpus.into());
    w.end_object();
}

fn write_endpoint(w: &mut Writer<'_>, endpoint: &Endpoint) {
    w.begin_object();
    key!(w, "name");
    w.string(&endpoint.name);
    if let Some(port) = endpoint.container_port {
        key!(w, "containerPort");
        w.unsigned(port.into());
    }
    if let Some(port) = endpoint.host_port {
        key!(w, "hostPort");
        w.unsigned(port.into());
    }
    if endpoint.protocols.tcp || endpoint.protocols.udp {
        key!(w, "protocol");
        texts(w, endpoint.protocols.names());
    }
    if !endpoint.labels.is_empty() {
        key!(w, "labels");
        map(w, &endpoint.labels);
    }
    if !endpoint.network_names.is_empty() {
        key!(w, "networkNames");
        texts(w, endpoint.network_names.iter().map(String::as_str));
    }
    w.end_object();
}

fn write_image(w: &mut Writer<'_>, image: &Image) {
    w.begin_object();
    key!(w, "kind");
    w.string("DOCKER");
    key!(w, "id");
    w.string(&image.id);
    if let Some(config) = &image.pull_config {
        key!(w, "pullConfig");
        write_pull_config(w, config);
    }
    if let Some(yes) = image.force_pull {
        key!(w, "forcePull");
        w.boolean(yes);
    }
    if !image.labels.is_empty() {
        key!(w, "labels");
        map(w, &image.labels);
    }
    w.end_object();
}

fn write_health_check(w: &mut Writer<'_>, check: &HealthCheck) {
    w.begin_object();
    write_check_target(w, &check.target);
    key!(w, "gracePeriodSeconds");
    seconds(w, check.grace_period);
    key!(w, "intervalSeconds");
    seconds(w, check.interval);
    key!(w, "maxConsecutiveFailures");
    w.unsigned(check.max_consecutive_failures.into());
    key!(w, "timeoutSeconds");
    seconds(w, check.timeout);
    key!(w, "delaySeconds");
    seconds(w, check.delay);
    w.end_object();
}

fn write_volume(w: &mut Writer<'_>, volume: &PodVolume) {
    w.begin_object();
    key!(w, "name");
    w.string(&volume.name);
    match &volume.source {
        VolumeSource::Host(path) => {
            key!(w, "host");
            w.string(path);
        }
        VolumeSource::Persistent(persistent) => {
            key!(w, "persistent");
            write_persistent(w, persistent);
        }
        VolumeSource::Secret(secret) => {
            key!(w, "secret");
            w.string(secret);
        }
        // External volumes belong to apps only.
        VolumeSource::Ephemeral | VolumeSource::External(_) => {}
    }
    w.end_object();
}
