//! Compiles the .proto files of this crate to Rust structs, without an installed protoc.

use std::path::{Path, PathBuf};

/// Fields that are kept behind a pointer.
const BOXED: [&str; 28] = [
    ".mesos.v1.ExecutorInfo.container",
    ".mesos.v1.Offer.Operation.create_disk",
    ".mesos.v1.Offer.Operation.destroy_disk",
    ".mesos.v1.Offer.Operation.grow_volume",
    ".mesos.v1.Offer.Operation.launch_group",
    ".mesos.v1.Offer.Operation.shrink_volume",
    ".mesos.v1.Resource.disk",
    ".mesos.v1.Resource.reservation",
    ".mesos.v1.Task.container",
    ".mesos.v1.Task.discovery",
    ".mesos.v1.Task.health_check",
    ".mesos.v1.TaskInfo.check",
    ".mesos.v1.TaskInfo.container",
    ".mesos.v1.TaskInfo.discovery",
    ".mesos.v1.TaskInfo.executor",
    ".mesos.v1.TaskInfo.health_check",
    ".mesos.v1.master.Event.agent_added",
    ".mesos.v1.master.Event.agent_removed",
    ".mesos.v1.master.Event.framework_added",
    ".mesos.v1.master.Event.framework_removed",
    ".mesos.v1.master.Event.framework_updated",
    ".mesos.v1.master.Event.subscribed",
    ".mesos.v1.master.Event.task_added",
    ".mesos.v1.master.Event.task_updated",
    ".mesos.v1.scheduler.Call.subscribe",
    ".mesos.v1.scheduler.Call.update_framework",
    ".mesos.v1.scheduler.Event.subscribed",
    ".mesos.v1.scheduler.Event.update_operation_status",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed=proto");
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let mut config = prost_build::Config::new();
    // Big and rarely there: inline they would make every resource of every task and offer as big.
    for field in BOXED {
        config.boxed(field);
    }
    config.btree_map(["."]).include_file("mod.rs").compile_fds(descriptors)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
