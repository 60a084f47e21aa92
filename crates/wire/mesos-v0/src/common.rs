//! Endpoints that master and agent share.

use mezzo_json::Writer;

use crate::shapes::{double_field, optional_string, string_field};

/// Where this software comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build<'a> {
    /// The Mesos version whose API this is.
    pub version: &'a str,
    /// Commit.
    pub git_sha: Option<&'a str>,
    /// Branch.
    pub git_branch: Option<&'a str>,
    /// Tag.
    pub git_tag: Option<&'a str>,
    /// As text.
    pub date: &'a str,
    /// Seconds since the epoch.
    pub time: f64,
    /// Who built it.
    pub user: &'a str,
}

/// The build keys as /state has them, inside an open object.
pub(crate) fn build_fields(w: &mut Writer<'_>, build: &Build<'_>) {
    string_field(w, b"\"version\":", build.version);
    optional_string(w, b"\"git_sha\":", build.git_sha);
    optional_string(w, b"\"git_branch\":", build.git_branch);
    optional_string(w, b"\"git_tag\":", build.git_tag);
    string_field(w, b"\"build_date\":", build.date);
    double_field(w, b"\"build_time\":", build.time);
    string_field(w, b"\"build_user\":", build.user);
}

/// GET /version, whose keys are in alphabetical order.
pub fn version(w: &mut Writer<'_>, build: &Build<'_>) {
    w.begin_object();
    string_field(w, b"\"build_date\":", build.date);
    double_field(w, b"\"build_time\":", build.time);
    string_field(w, b"\"build_user\":", build.user);
    optional_string(w, b"\"git_branch\":", build.git_branch);
    optional_string(w, b"\"git_sha\":", build.git_sha);
    optional_string(w, b"\"git_tag\":", build.git_tag);
    string_field(w, b"\"version\":", build.version);
    w.end_object();
}

/// GET /flags: flags that have a value, in alphabetical order.
pub fn flags(w: &mut Writer<'_>, flags: &[(&str, &str)]) {
    w.begin_object();
    w.raw_key(b"\"flags\":");
    write_flags(w, flags);
    w.end_object();
}

pub(crate) fn write_flags(w: &mut Writer<'_>, flags: &[(&str, &str)]) {
    w.begin_object();
    for (name, value) in flags {
        w.key(name);
        w.string(value);
    }
    w.end_object();
}

/// GET /metrics/snapshot: names in alphabetical order.
pub fn metrics_snapshot<'m>(w: &mut Writer<'_>, metrics: impl IntoIterator<Item = (&'m str, f64)>) {
    w.begin_object();
    for (name, value) in metrics {
        w.key(name);
        w.double(value);
    }
    w.end_object();
}

/// One file or folder of /files/browse.
#[derive(Clone, Copy, Debug)]
pub struct FileEntry<'a> {
    /// Path as it may be asked for.
    pub path: &'a str,
    /// Hard links.
    pub nlink: u64,
    /// Bytes.
    pub size: u64,
    /// Seconds since the epoch.
    pub mtime: f64,
    /// File type and permission bits, as stat gives them.
    pub mode: u32,
    /// Name of the owner.
    pub user: &'a str,
    /// Name of the group.
    pub group: &'a str,
}

/// GET /files/browse: entries sorted by path.
pub fn files_browse(w: &mut Writer<'_>, entries: &[FileEntry<'_>]) {
    w.begin_array();
    for entry in entries {
        w.begin_object();
        string_field(w, b"\"gid\":", entry.group);
        string_field(w, b"\"mode\":", &mode_text(entry.mode));
        double_field(w, b"\"mtime\":", entry.mtime);
        w.raw_key(b"\"nlink\":");
        w.unsigned(entry.nlink);
        string_field(w, b"\"path\":", entry.path);
        w.raw_key(b"\"size\":");
        w.unsigned(entry.size);
        string_field(w, b"\"uid\":", entry.user);
        w.end_object();
        w.pause();
    }
    w.end_array();
}

/// `-rw-r--r--`, as ls prints it.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = (mode >> shift) & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// GET /files/read. Bytes that are not UTF-8 become U+FFFD, where Mesos would write broken JSON.
pub fn files_read(w: &mut Writer<'_>, offset: u64, data: &[u8]) {
    w.begin_object();
    w.raw_key(b"\"data\":");
    w.lossy(data);
    w.raw_key(b"\"offset\":");
    w.unsigned(offset);
    w.end_object();
}

/// GET /files/debug: virtual and real paths, sorted by the former.
pub fn files_debug<'p>(w: &mut Writer<'_>, paths: impl IntoIterator<Item = (&'p str, &'p str)>) {
    w.begin_object();
    for (path, real) in paths {
        w.key(path);
        w.string(real);
    }
    w.end_object();
}

/// What the host reports; a value that cannot be read is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemStats {
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Processors.
    pub cpus: Option<u64>,
    /// Memory in bytes.
    pub mem_total: Option<u64>,
    /// Free memory in bytes.
    pub mem_free: Option<u64>,
}

/// GET /system/stats.json.
pub fn system_stats(w: &mut Writer<'_>, stats: &SystemStats) {
    w.begin_object();
    if let Some([one, five, fifteen]) = stats.load {
        double_field(w, b"\"avg_load_15min\":", fifteen);
        double_field(w, b"\"avg_load_1min\":", one);
        double_field(w, b"\"avg_load_5min\":", five);
    }
    for (key, value) in [
        (&b"\"cpus_total\":"[..], stats.cpus),
        (b"\"mem_free_bytes\":", stats.mem_free),
        (b"\"mem_total_bytes\":", stats.mem_total),
    ] {
        if let Some(value) = value {
            w.raw_key(key);
            w.unsigned(value);
        }
    }
    w.end_object();
}

/// Longest name of a jsonp function that is answered; it is echoed into the body.
pub const JSONP_NAME_MAX: usize = 256;

/// What stands before the JSON of a jsonp answer: `NAME(`.
pub fn jsonp_start(name: &str) -> String {
    format!("{name}(")
}

/// What stands after it.
pub fn jsonp_end() -> &'static str {
    ")"
}
