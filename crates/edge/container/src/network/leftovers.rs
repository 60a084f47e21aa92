//! What an earlier agent has left: networks that go on, and networks that nobody uses any more.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use rustix::fs::FlockOperation;

use super::{
    CONTAINERS, Member, Networks,
    answer::Answer,
    catalogue,
    config::{Call, Network},
    plugin::{self, Invocation},
    record::{self, Record},
};

impl Networks {
    /// Takes over what earlier agents have left: the networks of containers that run are theirs, and
    /// [`Networks::settle`] leaves all others.
    pub(crate) fn recover(&self, runs: impl Fn(&str) -> bool) -> io::Result<Vec<ContainerId>> {
        let mut unwanted = Vec::new();
        for (name, folder) in record::folders(&self.records_dir.join(CONTAINERS))? {
            let record = Record::read(&folder).unwrap_or_default();
            let (hostname, infos) = record.map(|record| record.told()).unwrap_or_default();
            let id = ContainerId::from(name.as_str());
            if !runs(&name) {
                unwanted.push(id.clone());
            }
            self.state().members.insert(id, Member { hostname, infos });
        }
        // Namespaces whose record was deleted with the agent's work directory.
        if let Ok(entries) = fs::read_dir(&self.namespaces) {
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let id = ContainerId::from(name.as_str());
                if !self.has(&id) && !runs(&name) {
                    let member = Member { hostname: String::new(), infos: Vec::new() };
                    self.state().members.insert(id.clone(), member);
                    unwanted.push(id);
                }
            }
        }
        let collects = self.to_collect().next().is_some();
        let mut state = self.state();
        state.recovering = collects || !state.members.is_empty();
        Ok(unwanted)
    }

    /// Waits for plugins of an earlier agent, leaves networks that nobody uses, and has the others checked.
    pub(crate) fn settle(&self, unwanted: &[ContainerId]) {
        if self.state().recovering {
            if let Err(error) = self.await_earlier_plugins() {
                tracing::error!(%error, "waiting for an earlier agent's network plugins failed");
            }
            // While nobody joins: who is not named here would be forgotten.
            self.collect(unwanted);
            self.state().recovering = false;
            self.changed.notify_all();
        }
        for id in unwanted {
            self.leave(id);
        }
        let kept: Vec<ContainerId> = self.state().members.keys().cloned().collect();
        for id in kept.iter().filter(|id| !unwanted.contains(id)) {
            self.check(id);
        }
    }

    /// Networks whose plugins forget whoever is not there.
    fn to_collect(&self) -> impl Iterator<Item = Network> {
        let found = self.settings.config_dir.as_deref().map(catalogue::configurations);
        let networks =
            found.and_then(Result::ok).into_iter().flatten().filter_map(|(_, network)| network.ok());
        networks.filter(Network::collects)
    }

    /// Tells plugins who is there. What is left of others, of whom nothing is written down here any more, is
    /// theirs to undo.
    fn collect(&self, unwanted: &[ContainerId]) {
        let mut networks = self.to_collect().peekable();
        if networks.peek().is_none() {
            return;
        }
        let mut there = Vec::new();
        let kept: Vec<ContainerId> = self.state().members.keys().cloned().collect();
        for id in kept.iter().filter(|id| !unwanted.contains(id)) {
            match Record::read(&self.folder_of(id)) {
                Ok(Some(record)) => there.push(record),
                Ok(None) => {}
                // Nobody is forgotten because a file cannot be read.
                Err(error) => {
                    return tracing::warn!(container = %id, %error, "networks are not cleaned up");
                }
            }
        }
        for network in networks {
            let of_network = |record: &Record| {
                let joined = record.networks.iter().filter(|joined| joined.network.name == network.name);
                joined.map(|joined| (record.container.clone(), joined.interface.clone())).collect::<Vec<_>>()
            };
            let attachments: Vec<_> = there.iter().flat_map(of_network).collect();
            for (n, plugin) in network.programs() {
                let input = network.roll_call(n, &attachments);
                if let Err(why) = self.call_for_nobody(&network, n, &input) {
                    tracing::warn!(network = network.name, plugin, why, "a network is not cleaned up");
                }
            }
        }
    }

    fn call_for_nobody(&self, network: &Network, n: usize, input: &[u8]) -> Result<(), String> {
        let program = self.program(network.plugin(n))?;
        let lock = self.plugins_lock().map_err(|error| format!("lock: {error}"))?;
        let _turn = self.turn();
        plugin::run(&Invocation {
            program: &program,
            call: Call::Collect,
            container: "",
            namespace: None,
            interface: "",
            folders: &self.folders(),
            input,
            time_max: self.settings.plugin_time_max,
            lock: &lock,
        })?;
        Ok(())
    }

    /// A plugin dies with its agent, but what it has started may take a moment longer.
    fn await_earlier_plugins(&self) -> io::Result<()> {
        let lock = self.plugins_lock()?;
        let deadline = Instant::now() + self.settings.plugin_time_max;
        loop {
            match rustix::fs::flock(&*lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(errno) => {
                    rustix::fs::flock(&*lock, FlockOperation::LockShared)?;
                    return Err(errno.into());
                }
            }
        }
        Ok(rustix::fs::flock(&*lock, FlockOperation::LockShared)?)
    }

    /// Asks the plugins whether all is as they made it. What is not is for the operator to know.
    fn check(&self, id: &ContainerId) {
        let _claim = self.claim(id);
        let Ok(Some(record)) = Record::read(&self.folder_of(id)) else { return };
        let namespace = self.namespace_of(id);
        for joined in &record.networks {
            if !joined.network.can_check() || joined.answer.is_none() {
                continue;
            }
            for plugin in 0..joined.network.len() {
                let answer = joined.answer.as_ref();
                if let Err(error) = self.call(&record, joined, plugin, Call::Check, Some(&namespace), answer)
                {
                    tracing::warn!(container = %id, %error, "the network of a container is not as it was made");
                }
            }
        }
    }
}

impl Record {
    /// What the API tells of it.
    fn told(&self) -> (String, Vec<v1::NetworkInfo>) {
        let infos = self.networks.iter().map(|joined| {
            let addresses = joined.answer.as_ref().and_then(|answer| Answer::parse(answer).ok());
            joined.asked.to_info(&joined.network.name, &addresses.unwrap_or_default().addresses)
        });
        (self.hostname.clone(), infos.collect())
    }
}
