//! Manifests and indexes, of OCI and of Docker (version 2, schema 2).
//!
//! A few fields of two small formats, so they are read here: the types of `oci-spec` bring seventeen crates, and
//! accept documents that are two things at once, which is what attack A060 is made of.

use std::str::FromStr;

use serde::Deserialize;

use crate::{
    Digest,
    error::Reason,
    limits::{INDEX_ENTRIES_MAX, LAYERS_MAX},
};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry is asked for. Docker's first schema is not among it: its manifests do not name their
/// content (attack A061).
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Content by name and size.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<RawPlatform>,
    #[serde(default)]
    pub(crate) annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RawPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A kind of machine, in the words of Go, as images name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7`, `v8`; any when `None`.
    pub variant: Option<String>,
}

impl Default for Platform {
    /// The one this program was built for.
    fn default() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }
}

impl Platform {
    fn runs(&self, other: &RawPlatform) -> bool {
        let variant = match (&self.variant, &other.variant) {
            (Some(own), Some(other)) => own == other,
            // arm64 is v8 wherever it is said.
            _ => true,
        };
        self.os == other.os && self.architecture == other.architecture && variant
    }

    pub(crate) fn text(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

/// How a layer's tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// Lowest first.
    pub(crate) layers: Vec<(Descriptor, Packing)>,
}

/// What a request for a manifest can bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// All fields of both kinds, so that a document that is both is noticed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Index,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            OCI_MANIFEST | DOCKER_MANIFEST => Ok(Kind::Manifest),
            OCI_INDEX | DOCKER_INDEX => Ok(Kind::Index),
            _ => Err(()),
        }
    }
}

/// Reads a manifest or an index. `media_type` is how it was announced; `None` when nobody did.
pub(crate) fn parse(content: &[u8], media_type: Option<&str>) -> Result<Document, Reason> {
    let wrong = |why: String| Reason::document("read the manifest", why);
    let announced = match media_type {
        None => None,
        Some(text) => Some(
            text.parse::<Kind>()
                .map_err(|()| wrong(format!("its media type '{}' is not supported", text.escape_debug())))?,
        ),
    };
    let raw: Raw = serde_json::from_slice(content).map_err(|error| wrong(error.to_string()))?;
    if raw.schema_version != 2 || raw.fs_layers.is_some() {
        return Err(wrong(format!("schema version {} is not supported", raw.schema_version)));
    }
    let own = match &raw.media_type {
        None => None,
        Some(text) => Some(
            text.parse::<Kind>()
                .map_err(|()| wrong(format!("its media type '{}' is not supported", text.escape_debug())))?,
        ),
    };
    if announced.zip(own).is_some_and(|(announced, own)| announced != own) {
        return Err(wrong("it is announced as one kind of document and is another".to_owned()));
    }
    let kind = announced.or(own);
    match (raw.config, raw.layers, raw.manifests) {
        (Some(config), Some(layers), None) if kind != Some(Kind::Index) => {
            manifest(config, layers).map(Document::Manifest)
        }
        (None, None, Some(manifests)) if kind != Some(Kind::Manifest) => {
            if manifests.len() > INDEX_ENTRIES_MAX {
                return Err(wrong(format!("it lists more than {INDEX_ENTRIES_MAX} manifests")));
            }
            Ok(Document::Index(manifests))
        }
        _ => Err(wrong("it is neither a manifest nor an index".to_owned())),
    }
}

fn manifest(config: Descriptor, layers: Vec<Descriptor>) -> Result<Manifest, Reason> {
    let wrong = |why: String| Reason::document("read the manifest", why);
    if !matches!(config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
        return Err(wrong(format!(
            "it is not an image: its configuration is '{}'",
            config.media_type.escape_debug()
        )));
    }
    if layers.len() > LAYERS_MAX {
        return Err(wrong(format!("it has more than {LAYERS_MAX} layers")));
    }
    let layers = layers.into_iter().map(|layer| {
        let packing = match layer.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Packing::Plain
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Packing::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Packing::Zstd,
            other => {
                return Err(wrong(format!(
                    "layer {}: its media type '{}' is not supported",
                    layer.digest,
                    other.escape_debug()
                )));
            }
        };
        Ok((layer, packing))
    });
    Ok(Manifest { config, layers: layers.collect::<Result<_, _>>()? })
}

/// The manifest for this kind of machine: the first that says so.
pub(crate) fn choose<'m>(manifests: &'m [Descriptor], platform: &Platform) -> Result<&'m Descriptor, Reason> {
    let image = |descriptor: &&Descriptor| descriptor.media_type.parse::<Kind>().is_ok();
    let exact = manifests
        .iter()
        .filter(image)
        .find(|descriptor| descriptor.platform.as_ref().is_some_and(|other| platform.runs(other)));
    // A layout folder often holds one image and does not say for what.
    let single = || match manifests {
        [only] if only.platform.is_none() => Some(only).filter(image),
        _ => None,
    };
    exact.or_else(single).ok_or_else(|| Reason::Platform(platform.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":7}}"#)
    }

    fn document(layers: &str, more: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]{more}}}"#, descriptor(OCI_CONFIG))
    }

    fn refusal(text: &str, media_type: Option<&str>) -> String {
        parse(text.as_bytes(), media_type).unwrap_err().to_string()
    }

    #[test]
    fn manifests_of_both_families_are_read() {
        let layers = [
            ("application/vnd.oci.image.layer.v1.tar", Packing::Plain),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Packing::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Packing::Zstd),
        ];
        let text = document(&layers.map(|(name, _)| descriptor(name)).join(","), "");
        for media_type in [None, Some(OCI_MANIFEST), Some(DOCKER_MANIFEST)] {
            let Document::Manifest(read) = parse(text.as_bytes(), media_type).unwrap() else { panic!() };
            let packings: Vec<_> = read.layers.iter().map(|(_, packing)| *packing).collect();
            assert_eq!(packings, layers.map(|(_, packing)| packing));
        }
    }

    #[test]
    fn a060_documents_of_two_kinds_are_refused() {
        let both = document("", r#","manifests":[]"#);
        assert!(refusal(&both, None).contains("neither"));
        let plain = document("", "");
        assert!(refusal(&plain, Some(OCI_INDEX)).contains("neither"));
        let claims = document("", &format!(r#","mediaType":"{OCI_INDEX}""#));
        assert!(refusal(&claims, Some(OCI_MANIFEST)).contains("announced"));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(refusal(index, Some(DOCKER_MANIFEST)).contains("neither"));
        assert!(refusal(&plain, Some("text/html")).contains("not supported"));
        let twice = document("", r#","layers":[]"#);
        assert!(refusal(&twice, None).contains("duplicate field"));
    }

    #[test]
    fn a060_too_many_layers_and_foreign_ones_are_refused() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar");
        assert!(refusal(&document(&vec![layer; 128].join(","), ""), None).contains("more than 127 layers"));
        for odd in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/x-xz",
            "",
        ] {
            assert!(refusal(&document(&descriptor(odd), ""), None).contains("is not supported"), "{odd}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(refusal(&document(&deep, ""), None).contains("read the manifest"));
    }

    #[test]
    fn a061_the_first_schema_is_refused() {
        let text =
            r#"{"schemaVersion":1,"name":"a","tag":"b","architecture":"amd64","fsLayers":[],"history":[]}"#;
        assert!(refusal(text, None).contains("schema version 1"));
        assert!(
            refusal(text, Some("application/vnd.docker.distribution.manifest.v1+prettyjws"))
                .contains("media type")
        );
    }

    #[test]
    fn the_machine_chooses_from_an_index() {
        let entry = |os: &str, architecture: &str, variant: Option<&str>| Descriptor {
            media_type: OCI_MANIFEST.into(),
            digest: Digest::of(format!("{os}{architecture}{variant:?}").as_bytes()),
            size: 1,
            platform: Some(RawPlatform {
                os: os.into(),
                architecture: architecture.into(),
                variant: variant.map(str::to_owned),
            }),
            annotations: None,
        };
        let all = [
            entry("windows", "amd64", None),
            entry("linux", "arm", Some("v6")),
            entry("linux", "arm", Some("v7")),
            entry("linux", "arm64", Some("v8")),
            entry("linux", "amd64", None),
            entry("unknown", "unknown", None),
        ];
        let machine = |architecture: &str, variant: Option<&str>| Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        };
        assert_eq!(choose(&all, &machine("amd64", None)).unwrap(), &all[4]);
        assert_eq!(choose(&all, &machine("arm", Some("v7"))).unwrap(), &all[2]);
        assert_eq!(choose(&all, &machine("arm64", None)).unwrap(), &all[3]);
        let error = choose(&all, &machine("riscv64", None)).unwrap_err();
        assert_eq!(error.to_string(), "it is not made for linux/riscv64");
    }
}
