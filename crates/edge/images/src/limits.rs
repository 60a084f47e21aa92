//! What an image may cost. Each bound stands between a stranger's image and this host's disk or memory.

/// A manifest or index; the distribution specification asks registries for at least this.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// A configuration: the largest seen have some hundred kilobytes of history.
pub(crate) const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Layers of one image; Docker's own bound, which overlayfs can mount.
pub(crate) const LAYERS_MAX: usize = 127;
/// Manifests in one index: some twenty platforms with their attestations are the most in use.
pub(crate) const INDEX_ENTRIES_MAX: usize = 1_000;
/// Indexes inside indexes.
pub(crate) const INDEX_DEPTH_MAX: usize = 2;
/// Extended headers before one entry of a layer: names, links and attributes, held in memory.
pub(crate) const HEADERS_BYTES_MAX: u64 = 1 << 20;
/// Extended attributes of one entry, names and values.
pub(crate) const XATTRS_BYTES_MAX: usize = 64 << 10;
/// The largest window a zstd stream may ask for, as a power of two: 128 MiB, which is what `zstd -d` takes.
pub(crate) const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// How far a small layer may expand, whatever its size.
const EXPANDED_BYTES_FREE: u64 = 1 << 30;
/// Beyond that, how many times larger than what was downloaded: text seldom reaches 20, a bomb has thousands.
const EXPANSION_MAX: u64 = 100;

/// The bounds an operator may move.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Packed bytes of all layers of an image.
    pub packed_bytes_max: u64,
    /// Unpacked bytes of one layer.
    pub layer_bytes_max: u64,
    /// Files, directories and links of one layer: four times what the largest distribution images have.
    pub layer_entries_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { packed_bytes_max: 64 << 30, layer_bytes_max: 128 << 30, layer_entries_max: 2_000_000 }
    }
}

impl Limits {
    /// Unpacked bytes allowed for a layer of this packed size.
    pub(crate) fn unpacked(&self, packed: u64) -> u64 {
        self.layer_bytes_max.min(packed.saturating_mul(EXPANSION_MAX).saturating_add(EXPANDED_BYTES_FREE))
    }
}
