//! Images as OCI layout folders, made here.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use mezzo_images::Digest;
use serde_json::{Value, json};

use super::wait;

/// Packs folders as the layers of an image of this name, and returns the packed layers, lowest first.
pub(super) fn write(registry: &Path, name: &str, layers: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let folder = registry.join(name);
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let (mut packed, mut diff_ids, mut described) = (Vec::new(), Vec::new(), Vec::new());
    for layer in layers {
        let tar = folder.join("layer.tar");
        done(Command::new("tar").arg("-C").arg(layer).arg("-cf").arg(&tar).arg("."))?;
        diff_ids.push(Digest::of(&fs::read(&tar)?).to_string());
        let gz = folder.join("layer.tar.gz");
        // As fast as most builders pack.
        done(Command::new("gzip").args(["-c", "-4"]).stdin(File::open(&tar)?).stdout(File::create(&gz)?))?;
        fs::remove_file(&tar)?;
        let content = fs::read(&gz)?;
        let digest = Digest::of(&content);
        let blob = blobs.join(digest.hex());
        fs::rename(&gz, &blob)?;
        described.push(descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest, content.len()));
        packed.push(blob);
    }
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = blob(&blobs, &config, "application/vnd.oci.image.config.v1+json")?;
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let document = json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": described});
    let manifest = blob(&blobs, &document, manifest)?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    Ok(packed)
}

fn blob(blobs: &Path, document: &Value, kind: &str) -> Result<Value> {
    let content = document.to_string();
    let digest = Digest::of(content.as_bytes());
    File::create(blobs.join(digest.hex()))?.write_all(content.as_bytes())?;
    Ok(descriptor(kind, digest, content.len()))
}

fn descriptor(kind: &str, digest: Digest, size: usize) -> Value {
    json!({"mediaType": kind, "digest": digest.to_string(), "size": size})
}

pub(super) fn done(command: &mut Command) -> Result<()> {
    let output = wait::output(command.stderr(Stdio::piped()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
