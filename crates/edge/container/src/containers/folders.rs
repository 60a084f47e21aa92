//! Folders that the file system limits, where disk/xfs is.

use std::{io, path::Path};

use super::Containers;

impl Containers {
    /// Lets the file system limit a folder that is empty yet, a sandbox or a volume, where disk/xfs is. One that is
    /// limited gets another limit.
    pub fn limit_folder(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let assigned = self.shared.projects.as_ref().map(|projects| projects.assign(path, bytes));
        Ok(assigned.transpose().map(drop)?)
    }

    /// Notes a folder that an earlier agent has limited.
    pub fn limited_folder(&self, path: &Path) {
        if let Some(projects) = &self.shared.projects {
            projects.recover(path);
        }
    }

    /// Whether [`Containers::limit_folder`] does anything.
    pub fn limits_folders(&self) -> bool {
        self.shared.projects.is_some()
    }

    /// Deletes a folder by `delete`, and then frees what limits it.
    pub fn delete_folder<T>(&self, path: &Path, delete: impl FnOnce() -> T) -> T {
        let projects = self.shared.projects.as_ref();
        let project = projects.and_then(|projects| Some((projects, projects.of(path)?)));
        let done = delete();
        if let Some((projects, project)) = project.filter(|_| !path.exists()) {
            projects.free(project);
        }
        done
    }
}
