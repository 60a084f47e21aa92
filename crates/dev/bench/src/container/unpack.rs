//! An image of twenty layers, unpacked by the store and by `gunzip` and `tar`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::channel,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use mezzo_images::{PullOptions, Settings, Source, Store};

use super::{
    layout::{self, done},
    wait::PATIENCE,
};
use crate::{
    daemons::Folder,
    table::{Table, percentile},
};

const LAYERS: usize = 20;
const LAYER_BYTES: u64 = 25 << 20;
/// How often each unpacks.
const TIMES: usize = 2;
/// Where files like those of images are: programs, libraries, texts.
const LIKE_IMAGES: [&str; 3] = ["/usr/lib", "/usr/share", "/usr/bin"];

pub(crate) fn unpack(table: &mut Table) -> Result<()> {
    let folder = Folder::new("unpack")?;
    let path = folder.path();
    let layers = fill(path)?;
    eprintln!("  packing {LAYERS} layers");
    let packed = layout::write(&path.join("registry"), "bench", &layers)?;
    let bytes: u64 = packed.iter().filter_map(|layer| Some(layer.metadata().ok()?.len())).sum();
    // Nothing is deleted before the end: ext4 searches past every inode that was freed in the last minutes for
    // each one that it gives out, and whoever came next would pay for that.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        done(&mut Command::new("sync"))?;
        ours.push(pull(path, n)?);
        done(&mut Command::new("sync"))?;
        theirs.push(tar(path, n, &packed)?);
        eprintln!("  {} of {TIMES}: {:.1} s, gunzip and tar {:.1} s", n + 1, ours[n], theirs[n]);
    }
    let (ours, theirs) = (percentile(&mut ours, 0.5), percentile(&mut theirs, 0.5));
    table.row(
        "unpacking an image of 500 MB in 20 layers",
        &format!("{ours:.2} s, {:.0} % of tar's rate", 100.0 * theirs / ours),
        &format!("gunzip and tar x: {theirs:.2} s; {} MB packed, {TIMES} times each", bytes >> 20),
        ">= 70 %",
    );
    Ok(())
}

/// Copies files of this host until each layer has its share.
fn fill(path: &Path) -> Result<Vec<PathBuf>> {
    let mut queue: Vec<PathBuf> = LIKE_IMAGES.iter().map(PathBuf::from).collect();
    let mut layers = vec![path.join("layer-0")];
    fs::create_dir_all(&layers[0])?;
    let (mut left, mut files) = (LAYER_BYTES, 0);
    while let Some(next) = queue.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(status) = entry.path().symlink_metadata() else { continue };
            if status.is_dir() {
                queue.push(entry.path());
            }
            if !status.is_file() || status.len() > LAYER_BYTES {
                continue;
            }
            if left < status.len() {
                if layers.len() == LAYERS {
                    return Ok(layers);
                }
                let layer = path.join(format!("layer-{}", layers.len()));
                fs::create_dir(&layer)?;
                layers.push(layer);
                left = LAYER_BYTES;
            }
            // In folders, as in images.
            let to = layers[layers.len() - 1].join((files / 100).to_string());
            fs::create_dir_all(&to)?;
            fs::copy(entry.path(), to.join(files.to_string()))?;
            left = left.saturating_sub(status.len());
            files += 1;
        }
    }
    bail!("this host has too few files: {} layers", layers.len())
}

fn pull(path: &Path, n: usize) -> Result<f64> {
    let directory = path.join(format!("store-{n}"));
    let settings = Settings { source: Source::Folder(path.join("registry")), ..Settings::default() };
    let store = Store::open(&directory, settings)?;
    let (sender, pulled) = channel();
    let begun = Instant::now();
    // In a thread of its own, as it has no end that it could be given.
    thread::spawn(move || {
        let image = "bench".parse().map_err(anyhow::Error::from);
        let image = image.and_then(|image| Ok(store.pull(&image, &PullOptions::default(), &|_| {})?));
        drop(sender.send((image, begun.elapsed())));
    });
    let (image, took) = pulled.recv_timeout(PATIENCE).context("wait for the image")?;
    let layers = image?.layers.len();
    if layers != LAYERS {
        bail!("{layers} layers");
    }
    Ok(took.as_secs_f64())
}

fn tar(path: &Path, n: usize, packed: &[PathBuf]) -> Result<f64> {
    let directory = path.join(format!("tar-{n}"));
    let begun = Instant::now();
    for (n, layer) in packed.iter().enumerate() {
        let to = directory.join(n.to_string());
        fs::create_dir_all(&to)?;
        done(Command::new("sh").args(["-c", "gunzip -c < \"$0\" | tar -x -C \"$1\""]).arg(layer).arg(&to))
            .context("unpack")?;
    }
    Ok(begun.elapsed().as_secs_f64())
}
