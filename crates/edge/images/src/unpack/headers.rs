//! What an entry of a tar says, checked before anything is done about it.

use std::io::Read;

use mezzo_download::{NAME_BYTES_MAX, PATH_BYTES_MAX, clean_name};
use rustix::fs::Timespec;
use tar::{Entry, EntryType};

use super::{UnpackError, readable};
use crate::limits::XATTRS_BYTES_MAX;

const WHITEOUT: &[u8] = b".wh.";
/// Names of the storage driver that invented whiteouts, which mean nothing to others.
const WHITEOUT_OWN: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const XATTR: &str = "SCHILY.xattr.";

/// One thing to do; names are relative, clean and without `..`, empty for the top.
#[derive(Debug)]
pub(super) enum Item {
    /// Left out on purpose.
    Skip,
    /// Means nothing by itself.
    Nothing,
    Whiteout {
        name: Vec<u8>,
    },
    Opaque {
        directory: Vec<u8>,
    },
    Directory {
        name: Vec<u8>,
        attributes: Attributes,
    },
    File {
        name: Vec<u8>,
        attributes: Attributes,
    },
    Symlink {
        name: Vec<u8>,
        text: Vec<u8>,
        attributes: Attributes,
    },
    HardLink {
        name: Vec<u8>,
        existing: Vec<u8>,
    },
    Pipe {
        name: Vec<u8>,
        attributes: Attributes,
    },
}

/// What an entry has besides its content.
#[derive(Debug)]
pub(super) struct Attributes {
    /// Twelve bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timespec,
    /// Of names that may be set.
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// Reads the headers of an entry; its content is still to be read.
pub(super) fn read<R: Read>(entry: &mut Entry<'_, R>) -> Result<Item, UnpackError> {
    let raw_name = entry.path_bytes().into_owned();
    let refused = |why| UnpackError::Entry { name: readable(&raw_name), why };
    let records = records(entry).map_err(refused)?;
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(UnpackError::Read)?;
        // Some readers apply these to every entry that follows, others to none.
        let moves = |key: &[u8]| matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid");
        let odd = tar::PaxExtensions::new(&text)
            .any(|record| record.map_or(true, |record| moves(record.key_bytes())));
        return if odd { Err(refused("changes all entries behind it")) } else { Ok(Item::Nothing) };
    }
    let has_content = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
    let slashed = raw_name.ends_with(b"/");
    // Readers differ in whether such content is there, and so in where the next entry begins (A053).
    if entry.size() != 0 && (!has_content || slashed) {
        return Err(refused("has content, which its kind cannot have"));
    }
    let name = clean_name(&raw_name).map_err(refused)?;
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut above = name.split(|byte| *byte == b'/').take_while(|part| !std::ptr::eq(*part, last));
    if name.starts_with(WHITEOUT_OWN) && !name.starts_with(OPAQUE) {
        return Ok(Item::Nothing);
    }
    if above.any(|part| part.starts_with(WHITEOUT)) {
        return Err(refused("is below a whiteout"));
    }
    if last.starts_with(WHITEOUT) {
        return whiteout(&name, last, kind).map_err(refused);
    }
    let attributes = attributes(entry, records).map_err(refused)?;
    match kind {
        // Old archives mark a directory only by the slash at its end.
        EntryType::Regular | EntryType::Continuous if slashed => Ok(Item::Directory { name, attributes }),
        EntryType::Directory => Ok(Item::Directory { name, attributes }),
        _ if name.is_empty() => Err(refused("would replace the top of the layer")),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            Ok(Item::File { name, attributes })
        }
        EntryType::Symlink => {
            let text = entry.link_name_bytes().map(|text| text.into_owned()).unwrap_or_default();
            if text.is_empty() || text.contains(&0) || text.len() > PATH_BYTES_MAX {
                return Err(refused("is a link to nowhere"));
            }
            Ok(Item::Symlink { name, text, attributes })
        }
        EntryType::Link => {
            let text = entry.link_name_bytes().map(|text| text.into_owned()).unwrap_or_default();
            let existing =
                clean_name(&text).map_err(|_| refused("is a hard link to outside of the layer"))?;
            if existing.is_empty() {
                return Err(refused("is a hard link to nothing"));
            }
            Ok(Item::HardLink { name, existing })
        }
        EntryType::Fifo => Ok(Item::Pipe { name, attributes }),
        EntryType::Char | EntryType::Block => Ok(Item::Skip),
        _ => Err(refused("is of an unknown kind")),
    }
}

fn whiteout(name: &[u8], last: &[u8], kind: EntryType) -> Result<Item, &'static str> {
    let parent = &name[..name.len() - last.len()];
    if kind == EntryType::Directory {
        return Err("is a whiteout and a directory");
    }
    if last == OPAQUE {
        let directory = parent.strip_suffix(b"/").unwrap_or(parent).to_vec();
        return Ok(Item::Opaque { directory });
    }
    if last.starts_with(WHITEOUT_OWN) {
        return Ok(Item::Nothing);
    }
    let hidden = &last[WHITEOUT.len()..];
    if matches!(hidden, b"" | b"." | b"..") {
        return Err("is a whiteout of no name");
    }
    Ok(Item::Whiteout { name: [parent, hidden].concat() })
}

/// The extended records, refused where the readers there are would disagree.
fn records<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    if entry.header().entry_type() == EntryType::XGlobalHeader {
        return Ok(Vec::new());
    }
    let Ok(extensions) = entry.pax_extensions() else { return Err("has damaged extended records") };
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for record in extensions.into_iter().flatten() {
        let Ok(record) = record else { return Err("has damaged extended records") };
        let Ok(key) = record.key() else { return Err("has damaged extended records") };
        let value = record.value_bytes();
        // Without a sign, which some readers take.
        let digits = value.iter().all(u8::is_ascii_digit);
        let number = || digits && std::str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok());
        if matches!(key, "size" | "uid" | "gid") && !number() {
            return Err("has an extended record that is no number");
        }
        if matches!(key, "path" | "linkpath") && value.is_empty() {
            return Err("has an empty name in its extended records");
        }
        if key.starts_with("GNU.sparse.") {
            return Err("is sparse in a form that is not read");
        }
        if records.iter().any(|(other, _)| other == key) {
            return Err("has the same extended record twice");
        }
        records.push((key.to_owned(), value.to_vec()));
    }
    Ok(records)
}

fn attributes<R: Read>(
    entry: &Entry<'_, R>,
    records: Vec<(String, Vec<u8>)>,
) -> Result<Attributes, &'static str> {
    let header = entry.header();
    // Every reader takes an empty field for zero.
    let empty = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
    let id = |field: &[u8], number: std::io::Result<u64>| {
        let number = match empty(field) {
            true => 0,
            false => number.map_err(|_| "has an owner that is no number")?,
        };
        // The last id means "unchanged" to the kernel, and a larger one must not be cut to another user's (A025).
        u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or("has an owner that is no user id")
    };
    let fields = header.as_old();
    let mode = match empty(&fields.mode) {
        true => 0,
        false => header.mode().map_err(|_| "has a mode that is no number")? & 0o7777,
    };
    let mut modified =
        Timespec { tv_sec: header.mtime().map_or(0, |time| time.min(TIME_MAX) as i64), tv_nsec: 0 };
    let mut xattrs = Vec::new();
    let mut xattr_bytes = 0;
    for (key, value) in records {
        if key == "mtime" {
            modified = parse_time(&value).unwrap_or(modified);
        } else if let Some(name) = key.strip_prefix(XATTR) {
            xattr_bytes += name.len() + value.len();
            if xattr_bytes > XATTRS_BYTES_MAX {
                return Err("has too many attributes");
            }
            if keep_xattr(name, &value)? {
                xattrs.push((name.to_owned(), value));
            }
        }
    }
    Ok(Attributes {
        mode,
        uid: id(&fields.uid, header.uid())?,
        gid: id(&fields.gid, header.gid())?,
        modified,
        xattrs,
    })
}

/// Year 2446, where ext4 ends.
const TIME_MAX: u64 = 15_032_385_535;

fn parse_time(value: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let tv_sec = seconds.parse::<i64>().ok()?.clamp(-(1 << 31), TIME_MAX as i64);
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec { tv_sec, tv_nsec: digits.parse().ok().filter(|_| tv_sec >= 0).unwrap_or(0) })
}

/// Whether an attribute is set; an error for those that would make the entry something else (attack A057).
fn keep_xattr(name: &str, value: &[u8]) -> Result<bool, &'static str> {
    if name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") {
        return Err("has an attribute of overlayfs itself");
    }
    if name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err("has an attribute of no name");
    }
    if name == "security.capability" {
        // Revision 2. The third is meant for the user ids of one other namespace.
        return Ok(value.len() == 20 && value[3] == 2);
    }
    // Our own mean something to the store.
    Ok(name.starts_with("user.") && !name.starts_with("user.mezzo."))
}
