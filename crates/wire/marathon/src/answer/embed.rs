//! The words of `embed=`, which choose the parts of an answer (rule.embed.app, rule.embed.group).

/// What an answer about an app holds beside its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppEmbeds {
    /// The list of tasks.
    pub tasks: bool,
    /// How many tasks are in which state.
    pub counts: bool,
    /// The ids of deployments that touch it.
    pub deployments: bool,
    /// What readiness checks say.
    pub readiness: bool,
    /// The last failure.
    pub last_task_failure: bool,
    /// Counts and ages by version.
    pub task_stats: bool,
}

impl AppEmbeds {
    /// What a list of apps always holds.
    pub const LIST: Self = Self {
        tasks: false,
        counts: true,
        deployments: true,
        readiness: false,
        last_task_failure: false,
        task_stats: false,
    };

    /// What an answer about one app always holds.
    pub const SINGLE: Self = Self { tasks: true, last_task_failure: true, ..Self::LIST };

    /// These and what the words ask for: `app.` or `apps.` in front, the rest is ignored.
    pub fn with_words<'w>(mut self, words: impl IntoIterator<Item = &'w str>) -> Self {
        for word in words {
            if let Some(word) = word.strip_prefix("apps.").or_else(|| word.strip_prefix("app.")) {
                self.add(word);
            }
        }
        self
    }

    fn add(&mut self, word: &str) {
        match word {
            "tasks" => (self.tasks, self.deployments) = (true, true),
            "counts" => self.counts = true,
            "deployments" => self.deployments = true,
            "readiness" => self.readiness = true,
            "lastTaskFailure" => self.last_task_failure = true,
            "failures" => (self.last_task_failure, self.tasks, self.deployments) = (true, true, true),
            "taskStats" => self.task_stats = true,
            _ => {}
        }
    }
}

/// What an answer about a group holds beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEmbeds {
    /// The groups in it, at any depth.
    pub groups: bool,
    /// The apps.
    pub apps: bool,
    /// The status of the pods.
    pub pods: bool,
    /// What apps are shown with.
    pub app: AppEmbeds,
}

impl GroupEmbeds {
    /// Everything, but of apps only their definitions: what is shown when nothing is asked for.
    pub const DEFAULT: Self = Self {
        groups: true,
        apps: true,
        pods: true,
        app: AppEmbeds {
            tasks: false,
            counts: false,
            deployments: false,
            readiness: false,
            last_task_failure: false,
            task_stats: false,
        },
    };

    /// What the words ask for, which takes the place of the default; without words the default.
    pub fn from_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut words = words.into_iter().peekable();
        if words.peek().is_none() {
            return Self::DEFAULT;
        }
        let mut embeds = Self { groups: false, apps: false, pods: false, app: AppEmbeds::default() };
        for word in words {
            match word {
                "group.groups" => embeds.groups = true,
                "group.apps" => embeds.apps = true,
                "group.pods" => embeds.pods = true,
                _ => {
                    if let Some(word) = word.strip_prefix("group.apps.") {
                        embeds.app.add(word);
                    }
                }
            }
        }
        embeds
    }
}
