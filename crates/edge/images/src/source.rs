//! What an image consists of and where its parts are: the plan of a pull.

use std::path::PathBuf;

use crate::{
    Digest, Reference,
    config::{self, Parsed},
    error::Reason,
    limits::{CONFIG_BYTES_MAX, INDEX_DEPTH_MAX, LAYERS_MAX, Limits, MANIFEST_BYTES_MAX},
    local::{Files, Range},
    manifest::{self, Descriptor, Document, Manifest, Packing, Platform},
    progress::Watch,
    registry::{Place, Registry},
};

/// All that is known of an image before its layers are here.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of what the name stood for: an index, a manifest, or in archives the configuration.
    pub(crate) digest: Digest,
    /// Of what was chosen from it for this machine.
    pub(crate) id: Digest,
    /// The configuration as it came, whose digest was checked.
    pub(crate) config_content: Vec<u8>,
    pub(crate) config: Parsed,
    /// Lowest first.
    pub(crate) layers: Vec<LayerPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct LayerPlan {
    /// Of the unpacked tar: the layer's name in the store.
    pub(crate) diff_id: Digest,
    /// Of the packed one; `None` in archives, which do not name it.
    pub(crate) blob: Option<Digest>,
    pub(crate) packed_bytes: u64,
    /// `None` when the content has to tell.
    pub(crate) packing: Option<Packing>,
    /// Where it lies on this host; `None` in a registry.
    pub(crate) range: Option<Range>,
}

/// Where an image's documents are read.
pub(crate) enum Origin<'o> {
    Registry { registry: &'o Registry, place: &'o Place },
    Local { files: Files, path: PathBuf },
}

impl Origin<'_> {
    /// Reads manifest and configuration, nothing large.
    pub(crate) fn plan(
        &self,
        reference: &Reference,
        platform: &Platform,
        limits: &Limits,
        watch: &Watch,
    ) -> Result<Plan, Reason> {
        let (content, digest, media_type) = match self {
            Origin::Registry { registry, place } => registry.manifest(place, &reference.target(), watch)?,
            Origin::Local { files, path } => {
                if let Some(plan) = files.saved_image(reference)? {
                    return plan.finish(platform, limits);
                }
                let descriptor =
                    files.named(reference)?.ok_or_else(|| Reason::Missing(path.display().to_string()))?;
                let content = self.document(&descriptor, "read the manifest", MANIFEST_BYTES_MAX, watch)?;
                (content, descriptor.digest, Some(descriptor.media_type).filter(|text| !text.is_empty()))
            }
        };
        if reference.digest().is_some_and(|expected| expected != digest) {
            let expected = reference.digest().unwrap_or(digest);
            return Err(Reason::Digest { what: "the manifest", expected, found: digest });
        }
        let (manifest, id) = self.choose(&content, digest, media_type.as_deref(), platform, watch)?;
        let config_content =
            self.document(&manifest.config, "read the image's configuration", CONFIG_BYTES_MAX, watch)?;
        let config = config::parse(&config_content)?;
        let layers = self.layers(manifest, &config)?;
        Plan { digest, id, config_content, config, layers }.finish(platform, limits)
    }

    /// Follows indexes to the manifest for this machine.
    fn choose(
        &self,
        content: &[u8],
        digest: Digest,
        media_type: Option<&str>,
        platform: &Platform,
        watch: &Watch,
    ) -> Result<(Manifest, Digest), Reason> {
        let mut document = manifest::parse(content, media_type)?;
        let mut digest = digest;
        for _depth in 0..=INDEX_DEPTH_MAX {
            match document {
                Document::Manifest(manifest) => return Ok((manifest, digest)),
                Document::Index(manifests) => {
                    let chosen = manifest::choose(&manifests, platform)?;
                    let content = match self {
                        Origin::Registry { registry, place } => {
                            let (content, found, _) =
                                registry.manifest(place, &chosen.digest.to_string(), watch)?;
                            check(chosen, &content, found, "the manifest")?;
                            content
                        }
                        Origin::Local { .. } => {
                            self.document(chosen, "read the manifest", MANIFEST_BYTES_MAX, watch)?
                        }
                    };
                    document = manifest::parse(&content, Some(&chosen.media_type))?;
                    digest = chosen.digest;
                }
            }
        }
        Err(Reason::document("read the manifest", "its indexes are too deep"))
    }

    /// A document by its descriptor, checked.
    fn document(
        &self,
        descriptor: &Descriptor,
        what: &'static str,
        bytes_max: u64,
        watch: &Watch,
    ) -> Result<Vec<u8>, Reason> {
        if descriptor.size > bytes_max {
            return Err(Reason::document(what, format!("it has more than {bytes_max} bytes")));
        }
        let content = match self {
            Origin::Registry { registry, place } => {
                registry.small_blob(place, descriptor.digest, bytes_max, watch)?
            }
            Origin::Local { files, path } => {
                let range = files.blob(descriptor.digest)?;
                range.ok_or_else(|| Reason::Missing(path.display().to_string()))?.read(bytes_max, what)?
            }
        };
        check(descriptor, &content, Digest::of(&content), what)?;
        Ok(content)
    }

    fn layers(&self, manifest: Manifest, config: &Parsed) -> Result<Vec<LayerPlan>, Reason> {
        if manifest.layers.len() != config.diff_ids.len() {
            return Err(Reason::document(
                "read the image's configuration",
                format!(
                    "it names {} layers and the manifest {}",
                    config.diff_ids.len(),
                    manifest.layers.len()
                ),
            ));
        }
        let planned = manifest.layers.into_iter().zip(&config.diff_ids).map(|((layer, packing), diff_id)| {
            let range = match self {
                Origin::Registry { .. } => None,
                Origin::Local { files, path } => {
                    let range = files.blob(layer.digest)?;
                    Some(range.ok_or_else(|| Reason::Missing(path.display().to_string()))?)
                }
            };
            if range.as_ref().is_some_and(|range| range.bytes() != layer.size) {
                return Err(Reason::Size { what: "the layer", expected: layer.size });
            }
            Ok(LayerPlan {
                diff_id: *diff_id,
                blob: Some(layer.digest),
                packed_bytes: layer.size,
                packing: Some(packing),
                range,
            })
        });
        planned.collect()
    }
}

impl Plan {
    /// Checks that this host can and may have the image.
    fn finish(self, platform: &Platform, limits: &Limits) -> Result<Self, Reason> {
        let (os, architecture) = (&self.config.os, &self.config.architecture);
        let other = |own: &str, said: &str| !said.is_empty() && said != own;
        if other(&platform.os, os) || other(&platform.architecture, architecture) {
            return Err(Reason::Platform(platform.text()));
        }
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            let why = format!("it has not between 1 and {LAYERS_MAX} layers");
            return Err(Reason::document("read the manifest", why));
        }
        let packed = self.layers.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.packed_bytes));
        if packed.is_none_or(|bytes| bytes > limits.packed_bytes_max) {
            return Err(Reason::Refused(format!("it has more than {} bytes", limits.packed_bytes_max)));
        }
        Ok(self)
    }
}

fn check(descriptor: &Descriptor, content: &[u8], found: Digest, what: &'static str) -> Result<(), Reason> {
    if content.len() as u64 != descriptor.size {
        return Err(Reason::Size { what, expected: descriptor.size });
    }
    if found != descriptor.digest {
        return Err(Reason::Digest { what, expected: descriptor.digest, found });
    }
    Ok(())
}
