//! Compiles the .proto files of this crate to Rust structs, without an installed protoc.

use std::path::{Path, PathBuf};

/// Fields that are kept behind a pointer.
const BOXED: [&str; 1] = [".mesos.v1.Resource.disk"];

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
