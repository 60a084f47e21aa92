//! Images of containers: which is asked for, having it, and giving it back.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicBool},
    thread,
    time::{Duration, Instant, SystemTime},
};

use mezzo_agent::ContainerSpec;
use mezzo_container::{BackEnd, ImageLayers, Root};
use mezzo_images::{
    Accounts, Image, Listed, OpenError, Policy, Progress, PullError, PullOptions, Reference,
    RegistrySettings, Source, Store,
};
use mezzo_mesos::v1::{self, container_info, image, secret};
use serde::Deserialize;
use tracing::{info, warn};

use crate::pulls::Pulls;

/// How often the core hears of a pull; it tells schedulers less often than that.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// How often a pull is told of in the log.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What `--image_providers` and the flags that go with it say.
#[derive(Clone, Debug)]
pub struct ImageSettings {
    /// The store (`--docker_store_dir`).
    pub store_dir: PathBuf,
    /// Where images come from (`--docker_registry`): an address, or an absolute path of a folder.
    pub registry: String,
    /// Our accounts (`--docker_config`).
    pub accounts: Accounts,
    /// How layers become a file system (`--image_provisioner_backend`).
    pub back_end: BackEnd,
    /// Where a sandbox appears in a container with an image (`--sandbox_directory`).
    pub sandbox_directory: PathBuf,
    /// Whether images say nothing about how they are run (`--docker_ignore_runtime`).
    pub ignore_runtime: bool,
    /// When unused images are deleted (`--image_gc_config`); only when asked to, if `None`.
    pub collection: Option<Collection>,
}

impl ImageSettings {
    /// Mesos' defaults.
    pub fn new(store_dir: PathBuf) -> Self {
        Self {
            store_dir,
            registry: RegistrySettings::default().default,
            accounts: Accounts::default(),
            back_end: BackEnd::default(),
            sandbox_directory: "/mnt/mesos/sandbox".into(),
            ignore_runtime: false,
            collection: None,
        }
    }
}

/// When unused images are deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Part of the store's disk that is kept free.
    pub headroom: f64,
    /// How often it is measured.
    pub interval: Duration,
    /// Images that stay.
    pub excluded: Vec<Reference>,
}

impl Collection {
    /// Reads the flag's JSON, Mesos' message `ImageGcConfig`.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Nanoseconds {
            nanoseconds: u64,
        }
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            image_disk_headroom: Option<f64>,
            #[serde(default)]
            image_disk_watch_interval: Option<Nanoseconds>,
            #[serde(default)]
            excluded_images: Vec<serde_json::Value>,
        }
        let raw: Raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let headroom = raw.image_disk_headroom.unwrap_or(0.1);
        if !(0.0..=1.0).contains(&headroom) {
            return Err("image_disk_headroom is between 0 and 1".to_owned());
        }
        let interval =
            raw.image_disk_watch_interval.map_or(3600 * 1_000_000_000, |interval| interval.nanoseconds);
        let mut excluded = Vec::new();
        for image in raw.excluded_images {
            let image = mezzo_json::from_slice::<v1::Image>(image.to_string().as_bytes());
            excluded.push(reference(&image.map_err(|error| error.to_string())?)?);
        }
        // Less than a second would be no watching but work.
        let interval = Duration::from_nanos(interval).max(Duration::from_secs(1));
        Ok(Self { headroom, interval, excluded })
    }
}

/// An image that a container asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    reference: Reference,
    options: PullOptions,
    /// It is the container's root, and otherwise one of its volumes.
    is_root: bool,
}

/// The images of one container.
#[derive(Debug, Default)]
pub(crate) struct Had {
    pub(crate) root: Option<Image>,
    /// In the order of the volumes that they are for.
    pub(crate) volumes: Vec<Image>,
}

impl Had {
    /// Adds the image that was asked for next.
    pub(crate) fn add(&mut self, wanted: &Wanted, image: Image) {
        if wanted.is_root {
            self.root = Some(image);
        } else {
            self.volumes.push(image);
        }
    }
}

/// Who holds the image of a container's volume: no container id has this sign.
fn volume_holder(container: &str, number: usize) -> String {
    format!("{container}#{number}")
}

/// The agent's images.
pub(crate) struct Images {
    settings: ImageSettings,
    store: Store,
    pulls: Pulls,
}

impl Images {
    pub(crate) fn open(settings: &ImageSettings) -> Result<Self, OpenError> {
        let registry =
            RegistrySettings { accounts: settings.accounts.clone(), ..RegistrySettings::default() };
        let (source, registry) = match settings.registry.as_str() {
            folder if folder.starts_with('/') => (Source::Folder(folder.into()), registry),
            address => {
                let address =
                    if address.contains("://") { address.into() } else { format!("https://{address}") };
                (Source::Registry, RegistrySettings { default: address, ..registry })
            }
        };
        let store_settings = mezzo_images::Settings { source, registry, ..mezzo_images::Settings::default() };
        let store = Store::open(&settings.store_dir, store_settings)?;
        Ok(Self { settings: settings.clone(), store, pulls: Pulls::default() })
    }

    /// Lets go of images of containers that are not there any more.
    pub(crate) fn recovered<'c>(&self, containers: impl Iterator<Item = &'c str> + Clone) {
        for holder in self.store.holders() {
            let name = holder.split('#').next().unwrap_or(&holder);
            if !containers.clone().any(|container| container == name) {
                self.store.release(&holder);
            }
        }
    }

    /// The image, when it can be had at once.
    pub(crate) fn here(&self, wanted: &Wanted) -> Option<Image> {
        self.store.here(&wanted.reference, &wanted.options)
    }

    /// What is here.
    pub(crate) fn list(&self) -> Vec<Listed> {
        self.store.list()
    }

    /// What is on its way.
    pub(crate) fn pulls(&self) -> &Pulls {
        &self.pulls
    }

    /// Brings an image that nobody needs yet; blocks. What is here is compared with where it came from.
    pub(crate) fn fetch(
        &self,
        reference: Reference,
        cancelled: &Arc<AtomicBool>,
        told: &(dyn Fn(Progress) + Sync),
    ) -> Result<Image, PullError> {
        let options =
            PullOptions { cached: false, cancelled: Arc::clone(cancelled), ..PullOptions::default() };
        self.bring(&Wanted { reference, options, is_root: true }, told)
    }

    /// Brings an image for a container; blocks. `told` hears how far it is, not too often.
    pub(crate) fn pull(
        &self,
        wanted: &Wanted,
        told: &(dyn Fn(mezzo_agent::Pull) + Sync),
    ) -> Result<Image, PullError> {
        let last = Mutex::new(Instant::now());
        self.bring(wanted, &|now| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= HEARD_EVERY {
                *last = Instant::now();
                let Progress { bytes, bytes_total, layers, layers_total } = now;
                let image = wanted.reference.to_string();
                told(mezzo_agent::Pull { image, bytes, bytes_total, layers, layers_total });
            }
        })
    }

    fn bring(&self, wanted: &Wanted, heard: &(dyn Fn(Progress) + Sync)) -> Result<Image, PullError> {
        let name = wanted.reference.to_string();
        info!(image = name, "pull");
        let waiting = self.pulls.begin(&name);
        let told = Mutex::new(SystemTime::now());
        let image = self.store.pull(&wanted.reference, &wanted.options, &|now: Progress| {
            waiting.told(now);
            heard(now);
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed().is_ok_and(|since| since >= TOLD_EVERY) {
                *told = SystemTime::now();
                let Progress { bytes, bytes_total, layers, layers_total } = now;
                info!(image = name, bytes, bytes_total, layers, layers_total, "pull goes on");
            }
        })?;
        info!(image = name, id = %image.id, "pulled");
        Ok(image)
    }

    /// Keeps its images for a container.
    pub(crate) fn keep(&self, images: &Had, container: &str) -> Result<(), String> {
        let root = images.root.iter().map(|image| (image, container.to_owned()));
        let volume = |(number, image)| (image, volume_holder(container, number));
        for (image, holder) in root.chain(images.volumes.iter().enumerate().map(volume)) {
            self.store.keep(image, &holder).map_err(|reason| reason.to_string())?;
        }
        Ok(())
    }

    /// Says that a container is gone.
    pub(crate) fn release(&self, container: &str) {
        self.store.release(container);
        for number in 0.. {
            if !self.store.release(&volume_holder(container, number)) {
                return;
            }
        }
    }

    /// What the images of its volumes stand for.
    pub(crate) fn volumes(&self, images: &Had) -> Vec<ImageLayers> {
        images.volumes.iter().map(|image| (image.layers.clone(), self.settings.back_end)).collect()
    }

    /// The root file system that an image stands for.
    pub(crate) fn root(&self, image: &Image) -> Root {
        Root {
            layers: image.layers.clone(),
            back_end: self.settings.back_end,
            read_only: false,
            sandbox: self.settings.sandbox_directory.clone(),
        }
    }

    pub(crate) fn settings(&self) -> &ImageSettings {
        &self.settings
    }

    /// Deletes all images but those in use and these (PRUNE_IMAGES); without any, but those of the flag.
    pub(crate) fn prune(&self, excluded: &[v1::Image]) -> Result<(), String> {
        let mut keep = Vec::with_capacity(excluded.len());
        for image in excluded {
            keep.push(reference(image)?);
        }
        if keep.is_empty() {
            keep = self.settings.collection.as_ref().map(|flag| flag.excluded.clone()).unwrap_or_default();
        }
        let policy = Policy { bytes_max: Some(0), keep, ..Policy::default() };
        let collected =
            self.store.collect(&policy, SystemTime::now()).map_err(|reason| reason.to_string())?;
        info!(
            images = collected.images,
            layers = collected.layers,
            bytes = collected.bytes,
            "images were pruned"
        );
        Ok(())
    }

    /// Starts watching the store's disk, for as long as the agent has these images.
    pub(crate) fn watch(self: &Arc<Self>) -> io::Result<()> {
        let Some(interval) = self.settings.collection.as_ref().map(|collection| collection.interval) else {
            return Ok(());
        };
        let images = Arc::downgrade(self);
        thread::Builder::new().name("images".into()).spawn(move || watch(&images, interval)).map(drop)
    }
}

fn watch(images: &Weak<Images>, interval: Duration) {
    loop {
        thread::sleep(interval);
        let Some(images) = images.upgrade() else { return };
        let headroom = images.settings.collection.as_ref().map_or(0.0, |collection| collection.headroom);
        if crate::perform::disk_usage(&images.settings.store_dir) > 1.0 - headroom
            && let Err(why) = images.prune(&[])
        {
            warn!(why, "delete unused images");
        }
    }
}

/// Images of one container's volumes.
const VOLUMES_MAX: usize = 64;

/// The images that a container asks for: that of its root, and those of its volumes in their order. A container
/// without any has the host's files.
pub(crate) fn wanted(spec: &ContainerSpec, cancelled: &Arc<AtomicBool>) -> Result<Vec<Wanted>, String> {
    let Some(info) = spec.container_info.as_ref().filter(|info| info.r#type() == container_info::Type::Mesos)
    else {
        return Ok(Vec::new());
    };
    let root = info.mesos.as_ref().and_then(|mesos| mesos.image.as_ref());
    let volumes: Vec<&v1::Image> = info.volumes.iter().filter_map(|volume| volume.image.as_ref()).collect();
    if volumes.len() > VOLUMES_MAX {
        return Err(format!("more than {VOLUMES_MAX} volumes come from images"));
    }
    let roots = root.into_iter().map(|image| wanted_one(image, true, cancelled));
    roots.chain(volumes.into_iter().map(|image| wanted_one(image, false, cancelled))).collect()
}

fn wanted_one(image: &v1::Image, is_root: bool, cancelled: &Arc<AtomicBool>) -> Result<Wanted, String> {
    let reference = reference(image)?;
    let accounts = match image.docker.as_ref().and_then(|docker| docker.config.as_ref()) {
        None => None,
        Some(config) if config.r#type() == secret::Type::Value => {
            let value = config.value.as_ref().map(|value| &value.data[..]).unwrap_or_default();
            Some(Accounts::parse(value).map_err(|error| error.to_string())?)
        }
        Some(_) => {
            return Err(
                "the image's docker config is a reference to a secret, which nothing here resolves".into()
            );
        }
    };
    let options = PullOptions {
        cached: image.cached.unwrap_or(true),
        accounts,
        cancelled: Arc::clone(cancelled),
        ..PullOptions::default()
    };
    Ok(Wanted { reference, options, is_root })
}

fn reference(image: &v1::Image) -> Result<Reference, String> {
    match (image.r#type(), &image.docker) {
        (image::Type::Docker, Some(docker)) => docker.name.parse().map_err(|error| format!("{error}")),
        (image::Type::Appc, _) => Err("images of type APPC are not supported: use DOCKER".to_owned()),
        _ => Err("the image has no name".to_owned()),
    }
}

/// What a container with an image runs, by the rules of Mesos' docker/runtime (rules 308, 353 and 369). Returns
/// the directory in which it starts, when the image names one.
pub(crate) fn apply(
    spec: &mut ContainerSpec,
    config: &mezzo_images::ImageConfig,
    settings: &ImageSettings,
) -> Result<Option<PathBuf>, String> {
    let sandbox = settings.sandbox_directory.to_string_lossy();
    if let Some((_, value)) = spec.environment.iter_mut().find(|(name, _)| name == "MESOS_SANDBOX") {
        *value = sandbox.into_owned();
    }
    if settings.ignore_runtime {
        return Ok(None);
    }
    let own = spec.command.environment.as_ref().map(|own| own.variables.as_slice()).unwrap_or_default();
    for (name, value) in &config.env {
        let given = own.iter().any(|variable| variable.name == *name);
        match spec.environment.iter_mut().find(|(known, _)| known == name) {
            // Everybody has a path from the agent; the image's is the one its programs lie in.
            Some((_, known)) if name == "PATH" && !given => known.clone_from(value),
            Some(_) => {}
            None => spec.environment.push((name.clone(), value.clone())),
        }
    }
    command(&mut spec.command, config)?;
    Ok(config.working_dir.as_ref().map(|path| Path::new(path).to_owned()))
}

/// Fills in a command from the image.
fn command(command: &mut v1::CommandInfo, config: &mezzo_images::ImageConfig) -> Result<(), String> {
    let shell = command.shell.unwrap_or(true);
    if command.value.is_some() {
        return Ok(());
    }
    if shell {
        return Err("Shell specified but no command value provided".to_owned());
    }
    let mut words: Vec<String> = config.entrypoint.clone();
    match (words.is_empty(), command.arguments.is_empty()) {
        (false, true) => words.extend(config.cmd.iter().cloned()),
        (true, true) => words.clone_from(&config.cmd),
        (false, false) => words.append(&mut command.arguments),
        (true, false) => {
            words.extend(config.cmd.first().cloned());
            if !words.is_empty() {
                words.append(&mut command.arguments);
            }
        }
    }
    let Some(program) = words.first() else {
        return Err("No executable is found: neither the command nor the image names one".to_owned());
    };
    command.value = Some(program.clone());
    command.arguments = words;
    Ok(())
}

#[cfg(test)]
mod tests {
    use mezzo_images::ImageConfig;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// What runs, by entry point and Cmd of the image and shell, value and arguments of the command.
    fn runs(
        image: (&str, &str),
        shell: bool,
        value: Option<&str>,
        arguments: &str,
    ) -> Result<String, String> {
        let config =
            ImageConfig { entrypoint: words(image.0), cmd: words(image.1), ..ImageConfig::default() };
        let mut given = v1::CommandInfo {
            shell: Some(shell),
            value: value.map(str::to_owned),
            arguments: words(arguments),
            ..v1::CommandInfo::default()
        };
        command(&mut given, &config)?;
        Ok(format!("{}: {}", given.value.unwrap_or_default(), given.arguments.join(" ")))
    }

    #[test]
    fn rule_369_entrypoint_and_cmd_against_the_command() {
        let (nothing, cmd, entry, both) = (("", ""), ("", "c d"), ("e f", ""), ("e f", "c d"));
        for (image, plain, with_arguments) in [
            (nothing, None, None),
            (cmd, Some("c: c d"), Some("c: c x y")),
            (entry, Some("e: e f"), Some("e: e f x y")),
            (both, Some("e: e f c d"), Some("e: e f x y")),
        ] {
            assert_eq!(runs(image, false, None, "").ok().as_deref(), plain);
            assert_eq!(runs(image, false, None, "x y").ok().as_deref(), with_arguments);
            assert_eq!(runs(image, false, Some("v"), "").unwrap(), "v: ");
            assert_eq!(runs(image, false, Some("v"), "v x").unwrap(), "v: v x");
            assert!(runs(image, true, None, "").is_err() && runs(image, true, None, "x").is_err());
            assert_eq!(runs(image, true, Some("v"), "").unwrap(), "v: ");
        }
    }

    fn spec(environment: &[(&str, &str)], own: &[&str]) -> ContainerSpec {
        let variable = |name: &&str| v1::environment::Variable { name: (*name).into(), ..Default::default() };
        let environment_own = v1::Environment { variables: own.iter().map(variable).collect() };
        ContainerSpec {
            container: "c1".into(),
            parent: None,
            framework: None,
            sandbox: "/s".into(),
            command: v1::CommandInfo {
                value: Some("true".into()),
                environment: Some(environment_own),
                ..Default::default()
            },
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            user: None,
            resources: Vec::new(),
            limits: Default::default(),
            container_info: None,
            volumes: Vec::new(),
            working_directory: None,
            debug: false,
            pod: false,
            executor: None,
        }
    }

    #[test]
    fn rule_308_the_images_environment_is_below_the_tasks_and_rule_353_the_sandbox_moves() {
        let settings = ImageSettings::new("/store".into());
        let config = ImageConfig {
            env: vec![
                ("PATH".into(), "/image".into()),
                ("A".into(), "image".into()),
                ("B".into(), "image".into()),
            ],
            working_dir: Some("/srv".into()),
            user: Some("1000".into()),
            ..ImageConfig::default()
        };
        let mut plain = spec(&[("PATH", "/agent"), ("A", "task"), ("MESOS_SANDBOX", "/s")], &["A"]);
        assert_eq!(apply(&mut plain, &config, &settings).unwrap(), Some("/srv".into()));
        let expected =
            [("PATH", "/image"), ("A", "task"), ("MESOS_SANDBOX", "/mnt/mesos/sandbox"), ("B", "image")];
        assert_eq!(plain.environment, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(plain.user, None, "rule 369: USER is ignored");
        let mut own = spec(&[("PATH", "/task")], &["PATH"]);
        apply(&mut own, &config, &settings).unwrap();
        assert_eq!(own.environment[0].1, "/task");
        let mut ignored = spec(&[("PATH", "/agent")], &[]);
        let settings = ImageSettings { ignore_runtime: true, ..settings };
        assert_eq!(apply(&mut ignored, &config, &settings).unwrap(), None);
        assert_eq!(ignored.environment.len(), 1);
    }

    #[test]
    fn images_are_asked_for_by_name() {
        let with = |image: v1::Image| {
            let mesos = container_info::MesosInfo { image: Some(image) };
            let info = v1::ContainerInfo {
                r#type: container_info::Type::Mesos as i32,
                mesos: Some(mesos),
                ..Default::default()
            };
            wanted(&ContainerSpec { container_info: Some(info), ..spec(&[], &[]) }, &Arc::default())
        };
        let docker = |name: &str| v1::Image {
            r#type: image::Type::Docker as i32,
            docker: Some(image::Docker { name: name.into(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(with(docker("alpine")).unwrap()[0].reference.to_string(), "alpine:latest");
        assert!(with(docker("../x")).unwrap_err().contains("not the name of an image"));
        let appc = v1::Image { r#type: image::Type::Appc as i32, ..Default::default() };
        assert!(with(appc).unwrap_err().contains("APPC"));
        assert!(wanted(&spec(&[], &[]), &Arc::default()).unwrap().is_empty());
    }

    #[test]
    fn collection_is_read_from_the_flag() {
        let text = r#"{"image_disk_headroom":0.2,"image_disk_watch_interval":{"nanoseconds":7200000000000},
            "excluded_images":[{"type":"DOCKER","docker":{"name":"alpine"}}]}"#;
        let read = Collection::parse(text).unwrap();
        assert_eq!((read.headroom, read.interval.as_secs(), read.excluded.len()), (0.2, 7200, 1));
        assert_eq!(Collection::parse("{}").unwrap().interval.as_secs(), 3600);
        assert!(Collection::parse(r#"{"image_disk_headroom":2}"#).is_err());
    }
}
