//! Tasks and task groups.

use std::collections::BTreeMap;

use mezzo_mesos::v1::{self, executor_info, offer};
use mezzo_resources::{Form, Resources};
use mezzo_services_model::{
    App, AppCommand, Condition, Instance, Pod, PodContainer, Reservation, ReservationState, RunSpec, Task,
    TaskId,
};
use rand_core::Rng;

use super::{
    Placement, checks, container, custom_executor, discovery,
    environment::{self, Facts},
    parts::{kill_policy, labels, limits, uri},
    ports,
};
use crate::matching::{Need, Opened, Taken, Terms};

/// How reservations are written: as the offer does, which is as the master writes them for what we can read.
pub(super) fn form(offer: &v1::Offer) -> Form {
    let older = offer.resources.iter().any(|resource| {
        #[expect(deprecated, reason = "frameworks that cannot read stacks of reservations get this one")]
        let role = &resource.role;
        role.is_some()
    });
    if older { Form::PreRefinement } else { Form::PostRefinement }
}

/// Launches an instance with what it has taken.
pub(super) fn launch(
    taken: &Taken,
    offer: &Opened,
    need: &Need<'_>,
    terms: &Terms<'_>,
    rng: &mut dyn Rng,
) -> Placement {
    let incarnation = need.instance.incarnation + 1;
    let job = Job { taken, offer, need, terms, incarnation, form: form(offer.offer()) };
    let operation = match need.run_spec {
        RunSpec::App(app) => job.app(app, rng),
        RunSpec::Pod(pod) => job.pod(pod, rng),
    };
    Placement { operations: vec![operation], instance: job.instance() }
}

struct Job<'a> {
    taken: &'a Taken,
    offer: &'a Opened,
    need: &'a Need<'a>,
    terms: &'a Terms<'a>,
    incarnation: u64,
    form: Form,
}

impl Job<'_> {
    fn task_id(&self, container: Option<&str>) -> TaskId {
        TaskId::new(&self.need.instance.id, container, self.incarnation)
    }

    fn facts<'a>(&'a self, task: &'a TaskId) -> Facts<'a> {
        Facts {
            task: task.as_str(),
            host: &self.offer.agent().host,
            enforce_role: self.need.enforce_role,
            prefix: &self.terms.config.env_prefix,
        }
    }

    /// The volumes of the instance.
    fn disks(&self) -> Resources {
        self.taken.disks.iter().map(|disk| disk.resource.clone()).collect()
    }

    fn task(&self, id: &TaskId, name: String, resources: &Resources) -> v1::TaskInfo {
        v1::TaskInfo {
            name,
            task_id: v1::TaskId { value: id.as_str().into() },
            agent_id: self.offer.offer().agent_id.clone(),
            resources: resources.to_proto(self.form),
            ..Default::default()
        }
    }

    fn app(&self, app: &App, rng: &mut dyn Rng) -> offer::Operation {
        let id = self.task_id(None);
        let host_ports = self.taken.parts.first().map_or(&[][..], |part| &part.host_ports);
        let ports = ports::of_app(app, host_ports, rng);
        let mut resources =
            self.taken.parts.iter().fold(Resources::empty(), |sum, part| sum + &part.resources);
        resources += self.disks();
        // Rule 186.
        let mut task = self.task(&id, app.id.reversed(), &resources);
        let mut command = command(app);
        command.environment =
            Some(environment::of_app(app, &self.facts(&id), &ports).into_message(&app.secrets));
        let container = container::of_app(app, &ports, &self.terms.config.bridge);
        match custom_executor(app, self.terms.config) {
            None => {
                task.command = Some(command);
                task.container = container;
            }
            Some(path) => {
                task.executor = Some(Box::new(self.custom_executor(app, path, &id, command, container)));
            }
        }
        task.labels = labels(&app.labels);
        task.discovery = Some(discovery::info(&app.id, &ports, &app.networks));
        task.health_check = checks::of_app(app, &ports);
        task.check = app.check.as_ref().and_then(|check| checks::check(check, &ports));
        task.kill_policy = kill_policy(app.kill_grace_period);
        task.limits = limits(app.resource_limits);
        offer::Operation {
            r#type: Some(offer::operation::Type::Launch.into()),
            launch: Some(offer::operation::Launch { task_infos: vec![task] }),
            ..Default::default()
        }
    }

    /// A program of the user's that runs the task; it finds the command on its own command line.
    fn custom_executor(
        &self,
        app: &App,
        path: &str,
        id: &TaskId,
        mut command: v1::CommandInfo,
        container: Option<Box<v1::ContainerInfo>>,
    ) -> v1::ExecutorInfo {
        let line = match &app.command {
            Some(AppCommand::Shell(line)) => line.clone(),
            Some(AppCommand::Args(arguments)) => arguments.join(" "),
            None => String::new(),
        };
        command.shell = Some(true);
        command.arguments.clear();
        command.value = Some(format!("chmod ug+rx '{path}' && exec '{path}' {line}"));
        v1::ExecutorInfo {
            r#type: Some(executor_info::Type::Custom.into()),
            executor_id: v1::ExecutorId { value: format!("marathon-{id}") },
            framework_id: Some(self.terms.framework.clone()),
            command: Some(command),
            container,
            resources: self.taken.executor.to_proto(self.form),
            ..Default::default()
        }
    }

    fn pod(&self, pod: &Pod, rng: &mut dyn Rng) -> offer::Operation {
        let host_ports: Vec<&[Option<u16>]> =
            self.taken.parts.iter().map(|part| part.host_ports.as_slice()).collect();
        let ports = ports::of_pod(pod, &host_ports, rng);
        let all: Vec<ports::Port<'_>> = ports.iter().flatten().cloned().collect();
        let id = executor_id(&self.need.instance.id);
        let mut resources = self.taken.executor.clone();
        resources += self.disks();
        let mut tasks = Vec::new();
        for ((container, part), own) in pod.containers.iter().zip(&self.taken.parts).zip(&ports) {
            let task = self.task_id(Some(&container.name));
            // The network belongs to the executor, and so do the ports on the agent.
            let mut own_resources = part.resources.clone();
            resources += own_resources.extract(|resource| resource.name().as_str() == "ports");
            let mut info = self.task(&task, container.name.clone(), &own_resources);
            let environment = environment::of_container(pod, container, &self.facts(&task), &id, &ports);
            info.command =
                Some(self.container_command(pod, container, environment.into_message(&pod.secrets)));
            info.container = Some(container::of_container(pod, container));
            info.health_check =
                container.health_check.as_ref().and_then(|check| checks::of_container(check, &all));
            info.check = container.check.as_ref().and_then(|check| checks::check(check, &all));
            info.kill_policy = kill_policy(container.kill_grace_period);
            let merged: BTreeMap<&String, &String> = pod.labels.iter().chain(&container.labels).collect();
            info.labels = labels(merged);
            info.discovery = Some(discovery::info(&pod.id, own, &pod.networks));
            info.limits = limits(container.resource_limits);
            tasks.push(info);
        }
        let executor = v1::ExecutorInfo {
            r#type: Some(executor_info::Type::Default.into()),
            executor_id: v1::ExecutorId { value: id },
            framework_id: Some(self.terms.framework.clone()),
            container: Some(container::of_pod(pod, &all, &self.terms.config.bridge)),
            resources: resources.to_proto(self.form),
            labels: labels(&pod.labels),
            ..Default::default()
        };
        let group = offer::operation::LaunchGroup { executor, task_group: v1::TaskGroupInfo { tasks } };
        offer::Operation {
            r#type: Some(offer::operation::Type::LaunchGroup.into()),
            launch_group: Some(Box::new(group)),
            ..Default::default()
        }
    }

    fn container_command(
        &self,
        pod: &Pod,
        container: &PodContainer,
        environment: v1::Environment,
    ) -> v1::CommandInfo {
        let mut command = match &container.exec {
            Some(exec) => checks::command_of(&exec.command),
            None => v1::CommandInfo { shell: Some(false), ..Default::default() },
        };
        // Without a value the arguments go to the image's own program.
        let keeps_entrypoint =
            container.exec.as_ref().is_none_or(|exec| exec.override_entrypoint != Some(true));
        if command.shell == Some(false) && container.image.is_some() && keeps_entrypoint {
            command.value = None;
        }
        command.user = container.user.clone().or_else(|| pod.user.clone());
        command.uris = container.artifacts.iter().map(uri).collect();
        command.environment = Some(environment);
        command
    }

    /// The instance as it is once this is said.
    fn instance(&self) -> Instance {
        let now = self.terms.now;
        let task = |container: Option<&str>, host_ports: &[Option<u16>]| {
            let task = Task {
                id: self.task_id(container),
                condition: Condition::Provisioned,
                staged_at: now,
                started_at: None,
                status: None,
                host_ports: host_ports.iter().flatten().copied().collect(),
                healthy: None,
            };
            (container.unwrap_or(TaskId::APP).to_owned(), task)
        };
        let parts = self.taken.parts.iter();
        let tasks = match self.need.run_spec {
            RunSpec::App(_) => parts.map(|part| task(None, &part.host_ports)).collect(),
            RunSpec::Pod(pod) => {
                let named = pod.containers.iter().zip(parts);
                named.map(|(container, part)| task(Some(&container.name), &part.host_ports)).collect()
            }
        };
        let before = self.need.instance;
        Instance {
            version: self.need.run_spec.version(),
            condition: Condition::Provisioned,
            since: now,
            active_since: None,
            healthy: None,
            agent: Some(self.offer.agent().clone()),
            tasks,
            incarnation: self.incarnation,
            reservation: before
                .reservation
                .as_ref()
                .map(|kept| Reservation { volumes: kept.volumes.clone(), state: ReservationState::Launched }),
            id: before.id.clone(),
            run_spec: before.run_spec.clone(),
            goal: before.goal,
            role: before.role.clone(),
        }
    }
}

/// The id of the executor of a pod's instance (rule 185).
pub(super) fn executor_id(instance: &mezzo_services_model::InstanceId) -> String {
    let path = instance.as_str().strip_suffix(&format!(".instance-{}", instance.uuid()));
    format!("instance-{}.{}", path.unwrap_or_default(), instance.uuid())
}

fn command(app: &App) -> v1::CommandInfo {
    let has_image = app.container.as_ref().is_some_and(|container| container.docker.is_some());
    let mut command = match &app.command {
        Some(AppCommand::Shell(line)) => {
            v1::CommandInfo { shell: Some(true), value: Some(line.clone()), ..Default::default() }
        }
        Some(AppCommand::Args(arguments)) => v1::CommandInfo {
            shell: Some(false),
            // Without a value the arguments go to the image's own program.
            value: arguments.first().filter(|_| !has_image).cloned(),
            arguments: arguments.clone(),
            ..Default::default()
        },
        None => v1::CommandInfo { shell: Some(false), ..Default::default() },
    };
    command.user.clone_from(&app.user);
    command.uris = app.fetch.iter().map(uri).collect();
    command
}
