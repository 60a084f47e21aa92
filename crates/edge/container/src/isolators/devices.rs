//! cgroups/devices: which devices can be used, whatever nodes of them there are (attack A022).

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::PathBuf,
};

use super::{
    IsolationError,
    cgroup::{Group, Host, Version},
};
use crate::{
    bpf::{self, Instruction},
    confinement::DeviceNode,
};

pub(super) const NAME: &str = "cgroups/devices";

/// Devices that are let be used beside the usual ones (`--allowed_devices`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedDevice {
    /// A node of the device on the host.
    pub path: PathBuf,
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// Nodes of it can be made.
    pub mknod: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block,
    Character,
}

/// One line of the list; missing numbers stand for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    /// In the kernel's bits.
    access: u32,
}

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// Terminals, the tunnel device, and those that are in every container's /dev.
const USUAL: [(u32, Option<u32>); 12] = [
    (5, Some(1)),
    (4, Some(0)),
    (4, Some(1)),
    (136, None),
    (5, Some(2)),
    (10, Some(200)),
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(9)),
    (1, Some(8)),
];

#[derive(Debug)]
pub(super) struct Devices {
    pub(super) root: Group,
    entries: Vec<Entry>,
    /// What decides, where the kernel has no files for it.
    program: Option<OwnedFd>,
}

impl Devices {
    pub(super) fn start(host: &Host, allowed: &[AllowedDevice]) -> Result<Self, IsolationError> {
        let root = host.devices(NAME)?;
        let refused = |reason| IsolationError::Host { name: NAME, reason };
        let mut entries = usual();
        for device in allowed {
            entries.push(entry(device).map_err(refused)?);
        }
        let program = match root.version {
            Version::V1 => None,
            Version::V2 => Some(
                bpf::load_device_program(&program(&entries))
                    .map_err(|errno| refused(format!("the kernel takes no program for devices: {errno}")))?,
            ),
        };
        Ok(Self { root, entries, program })
    }

    /// All that can be used, as the files of v1 take it.
    pub(super) fn lines(&self) -> Vec<String> {
        self.entries.iter().map(line).collect()
    }

    pub(super) fn prepare(&self, id: &str) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        let Some(program) = &self.program else {
            group.write("devices.deny", "a")?;
            return self.entries.iter().try_for_each(|entry| group.write("devices.allow", line(entry)));
        };
        bpf::attach_device_program(&group.path, program.as_fd()).map_err(|errno| IsolationError::Write {
            path: group.path.clone(),
            value: "a program for devices".to_owned(),
            source: errno.into(),
        })
    }

    /// Lets a group that was prepared use these as well, and takes away others unless everybody has them.
    pub(super) fn allow(
        &self,
        id: &str,
        allowed: &[DeviceNode],
        taken: &[DeviceNode],
    ) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        let allowed: Vec<Entry> = allowed.iter().map(node_entry).collect();
        if self.program.is_none() {
            let is_kept = |entry: &Entry| {
                let same = |known: &&Entry| {
                    (known.kind, known.major, known.minor) == (entry.kind, entry.major, entry.minor)
                };
                self.entries.iter().find(same).is_some()
            };
            for entry in taken.iter().map(node_entry).filter(|entry| !is_kept(entry)) {
                group.write("devices.deny", line(&entry))?;
            }
            return allowed.iter().try_for_each(|entry| group.write("devices.allow", line(entry)));
        }
        let entries: Vec<Entry> = self.entries.iter().chain(&allowed).copied().collect();
        let replaced = bpf::load_device_program(&program(&entries))
            .and_then(|program| bpf::replace_device_program(&group.path, program.as_fd()));
        replaced.map_err(|errno| IsolationError::Write {
            path: group.path.clone(),
            value: "a program for devices".to_owned(),
            source: errno.into(),
        })
    }
}

/// As the files of v1 take it.
pub(super) fn node_line(node: &DeviceNode) -> String {
    line(&node_entry(node))
}

/// As the list has it.
fn node_entry(node: &DeviceNode) -> Entry {
    let access = [(node.read, READ), (node.write, WRITE), (node.mknod, MKNOD)];
    Entry {
        kind: if node.block { Kind::Block } else { Kind::Character },
        major: Some(node.major),
        minor: Some(node.minor),
        access: access.iter().filter(|(given, _)| *given).fold(0, |access, (_, bit)| access | bit),
    }
}

fn usual() -> Vec<Entry> {
    // Nodes can be made of any device; who can use them is another question.
    let nodes =
        [Kind::Character, Kind::Block].map(|kind| Entry { kind, major: None, minor: None, access: MKNOD });
    let usable = USUAL.iter().map(|(major, minor)| Entry {
        kind: Kind::Character,
        major: Some(*major),
        minor: *minor,
        access: ALL,
    });
    nodes.into_iter().chain(usable).collect()
}

fn entry(device: &AllowedDevice) -> Result<Entry, String> {
    let path = device.path.display();
    let access = [(device.read, READ), (device.write, WRITE), (device.mknod, MKNOD)];
    let access = access.iter().filter(|(given, _)| *given).fold(0, |access, (_, bit)| access | bit);
    if access == 0 {
        return Err(format!("device '{path}' is allowed without any access"));
    }
    let node =
        std::fs::metadata(&device.path).map_err(|error| format!("look at device '{path}': {error}"))?;
    let kind = if node.file_type().is_block_device() {
        Kind::Block
    } else if node.file_type().is_char_device() {
        Kind::Character
    } else {
        return Err(format!("'{path}' is not a device"));
    };
    let (major, minor) = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
    Ok(Entry { kind, major: Some(major), minor: Some(minor), access })
}

/// As the files of v1 take it.
fn line(entry: &Entry) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kind = if entry.kind == Kind::Block { 'b' } else { 'c' };
    let access: String = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
        .iter()
        .filter(|(bit, _)| entry.access & bit != 0)
        .map(|(_, letter)| *letter)
        .collect();
    format!("{kind} {}:{} {access}", number(entry.major), number(entry.minor))
}

/// A program that says yes if any entry has the device with all of the access that is asked for.
fn program(entries: &[Entry]) -> Vec<Instruction> {
    // What is asked comes behind register 1: the kind and above it the access, then the two numbers.
    let (result, context, kind, access, major, minor) = (0, 1, 2, 3, 4, 5);
    let mut program = vec![
        Instruction::load_word(access, context, 0),
        Instruction::move_register(kind, access),
        Instruction::and(kind, 0xffff),
        Instruction::shift_right(access, 16),
        Instruction::load_word(major, context, 4),
        Instruction::load_word(minor, context, 8),
    ];
    for entry in entries {
        let mut conditions = vec![(kind, if entry.kind == Kind::Block { 1 } else { 2 })];
        conditions.extend(entry.major.map(|number| (major, number)));
        conditions.extend(entry.minor.map(|number| (minor, number)));
        // Behind the conditions: two instructions and another condition for the access, and two to say yes.
        let mut left = i16::try_from(conditions.len()).unwrap_or(i16::MAX) + 4;
        for (register, number) in conditions {
            program.push(Instruction::skip_unless_equal(register, number.cast_signed(), left));
            left -= 1;
        }
        program.push(Instruction::move_register(context, access));
        program.push(Instruction::and(context, (!entry.access & 0xffff).cast_signed()));
        program.push(Instruction::skip_unless_equal(context, 0, 2));
        program.push(Instruction::move_number(result, 1));
        program.push(Instruction::exit());
    }
    program.push(Instruction::move_number(result, 0));
    program.push(Instruction::exit());
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    fn allows(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        bpf::tests::run(program, [access << 16 | kind, major, minor]) == 1
    }

    #[test]
    fn a022_only_what_is_listed_can_be_used() {
        let disk = Entry { kind: Kind::Block, major: Some(8), minor: Some(0), access: READ };
        let mut entries = usual();
        entries.push(disk);
        let program = program(&entries);
        let (block, character) = (1, 2);
        for (kind, access, major, minor, expected) in [
            (character, READ | WRITE, 1, 3, true),
            (character, READ, 136, 77, true),
            (character, READ, 1, 1, false),
            (character, MKNOD, 1, 1, true),
            (character, MKNOD | READ, 1, 1, false),
            (block, READ, 8, 0, true),
            (block, READ | WRITE, 8, 0, false),
            (block, READ, 8, 1, false),
            (block, READ, 1, 3, false),
            (block, MKNOD, 8, 1, true),
        ] {
            assert_eq!(
                allows(&program, kind, access, major, minor),
                expected,
                "{kind} {access} {major}:{minor}"
            );
        }
        assert!(program.len() < 4096, "the kernel takes no more");
    }

    #[test]
    fn lines_are_those_of_the_kernel() {
        let lines: Vec<String> = usual().iter().map(line).collect();
        assert!(lines.contains(&"c *:* m".to_owned()) && lines.contains(&"b *:* m".to_owned()));
        assert!(lines.contains(&"c 136:* rwm".to_owned()) && lines.contains(&"c 1:3 rwm".to_owned()));
    }

    #[test]
    fn an_allowed_device_is_one_and_says_what_for() {
        let null = AllowedDevice { path: "/dev/null".into(), read: true, ..AllowedDevice::default() };
        assert_eq!(line(&entry(&null).unwrap()), "c 1:3 r");
        assert!(entry(&AllowedDevice { read: false, ..null.clone() }).unwrap_err().contains("any access"));
        assert!(entry(&AllowedDevice { path: "/etc".into(), ..null }).unwrap_err().contains("not a device"));
        assert!(entry(&AllowedDevice { path: "/no/where".into(), ..null }).is_err());
    }
}
