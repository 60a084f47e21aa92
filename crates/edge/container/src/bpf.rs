//! Programs that the kernel asks about devices, where control groups have no files for that (v2).

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::libc;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// An instruction as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u8,
    /// The register that is changed, and above it the one that is read.
    registers: u8,
    offset: i16,
    number: i32,
}

/// What instructions do, in the kernel's numbers.
mod code {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const MOVE_REGISTER: u8 = 0xbf;
    pub(super) const MOVE_NUMBER: u8 = 0xb7;
    pub(super) const AND: u8 = 0x57;
    pub(super) const SHIFT_RIGHT: u8 = 0x77;
    pub(super) const SKIP_UNLESS_EQUAL: u8 = 0x55;
    pub(super) const EXIT: u8 = 0x95;
}

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, number: i32) -> Self {
        // On machines that number bits from the other end the two are swapped.
        let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
        Self { code, registers, offset, number }
    }

    pub(crate) const fn load_word(to: u8, from: u8, offset: i16) -> Self {
        Self::new(code::LOAD_WORD, to, from, offset, 0)
    }

    pub(crate) const fn move_register(to: u8, from: u8) -> Self {
        Self::new(code::MOVE_REGISTER, to, from, 0, 0)
    }

    pub(crate) const fn move_number(to: u8, number: i32) -> Self {
        Self::new(code::MOVE_NUMBER, to, 0, 0, number)
    }

    pub(crate) const fn and(to: u8, number: i32) -> Self {
        Self::new(code::AND, to, 0, 0, number)
    }

    pub(crate) const fn shift_right(to: u8, bits: i32) -> Self {
        Self::new(code::SHIFT_RIGHT, to, 0, 0, bits)
    }

    /// Leaves out so many instructions unless a register has a value.
    pub(crate) const fn skip_unless_equal(register: u8, number: i32, count: i16) -> Self {
        Self::new(code::SKIP_UNLESS_EQUAL, register, 0, count, number)
    }

    pub(crate) const fn exit() -> Self {
        Self::new(code::EXIT, 0, 0, 0, 0)
    }
}

const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_ATTACH: libc::c_long = 8;
const PROGRAM_BY_ID: libc::c_long = 13;
const PROGRAM_QUERY: libc::c_long = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Beside those of the service manager.
const ALLOW_MULTI: u32 = 2;
/// Instead of another one.
const REPLACE: u32 = 4;
/// The kernel asks for a licence; what it keeps to some is not used here.
const LICENCE: &CStr = c"Apache-2.0";

/// Gives a program to the kernel, which checks it.
#[expect(unsafe_code, reason = "bpf is in neither crate")]
pub(crate) fn load_device_program(program: &[Instruction]) -> rustix::io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        log: [u64; 2],
        version: u32,
        flags: u32,
    }
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log: [0; 2],
        version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads the structure, `count` instructions and a C string, all of which live here,
    // and copies them. A number that is not negative is a descriptor that nobody else owns.
    unsafe {
        let result = libc::syscall(libc::SYS_bpf, PROGRAM_LOAD, &raw const load, size_of::<Load>());
        match i32::try_from(result) {
            Ok(descriptor) if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
            _ => Err(Errno::from_raw_os_error(crate::kernel::last_errno())),
        }
    }
}

/// Lets a program decide for a control group and all below it, as long as there is the group.
#[expect(unsafe_code, reason = "bpf is in neither crate")]
pub(crate) fn attach_device_program(group: &Path, program: BorrowedFd<'_>) -> rustix::io::Result<()> {
    #[repr(C)]
    struct Attach {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::open(group, flags, Mode::empty())?;
    let attach = Attach {
        target: group.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads the structure and nothing else.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_ATTACH, &raw const attach, size_of::<Attach>()) };
    if result == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(crate::kernel::last_errno())) }
}

/// Puts a program in the place of the one that decides for a control group, at once.
#[expect(unsafe_code, reason = "bpf is in neither crate")]
pub(crate) fn replace_device_program(group: &Path, program: BorrowedFd<'_>) -> rustix::io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target: i32,
        kind: u32,
        flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    #[repr(C)]
    struct Get {
        id: u32,
        next: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Replace {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
        replaced: i32,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::open(group, flags, Mode::empty())?;
    let mut ids = [0u32; 2];
    let mut query = Query {
        target: group.as_raw_fd(),
        kind: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: 2,
        ..Query::default()
    };
    // SAFETY: the kernel reads the structure and writes to it, and at most two numbers behind its pointer.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_QUERY, &raw mut query, size_of::<Query>()) };
    if result != 0 {
        return Err(Errno::from_raw_os_error(crate::kernel::last_errno()));
    }
    // The group is the container's alone, so what is there is what was attached when it was made.
    if query.count != 1 {
        return Err(Errno::NOENT);
    }
    let get = Get { id: ids[0], next: 0, flags: 0 };
    // SAFETY: the kernel reads the structure. A number that is not negative is a descriptor that nobody else
    // owns.
    let replaced = unsafe {
        let result = libc::syscall(libc::SYS_bpf, PROGRAM_BY_ID, &raw const get, size_of::<Get>());
        match i32::try_from(result) {
            Ok(descriptor) if descriptor >= 0 => OwnedFd::from_raw_fd(descriptor),
            _ => return Err(Errno::from_raw_os_error(crate::kernel::last_errno())),
        }
    };
    let replace = Replace {
        target: group.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI | REPLACE,
        replaced: replaced.as_raw_fd(),
    };
    // SAFETY: the kernel reads the structure and nothing else.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_ATTACH, &raw const replace, size_of::<Replace>()) };
    if result == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(crate::kernel::last_errno())) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a program answers when it is given these words.
    pub(crate) fn run(program: &[Instruction], words: [u32; 3]) -> u64 {
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let instruction = program[at];
            let to = usize::from(instruction.registers & 0xf);
            let from = usize::from(instruction.registers >> 4);
            let number = i64::from(instruction.number).cast_unsigned();
            at += 1;
            match instruction.code {
                code::LOAD_WORD => {
                    registers[to] = words[usize::try_from(instruction.offset).expect("positive") / 4].into();
                }
                code::MOVE_REGISTER => registers[to] = registers[from],
                code::MOVE_NUMBER => registers[to] = number,
                code::AND => registers[to] &= number,
                code::SHIFT_RIGHT => registers[to] >>= number,
                code::SKIP_UNLESS_EQUAL => {
                    if registers[to] != number {
                        at += usize::try_from(instruction.offset).expect("forward");
                    }
                }
                code::EXIT => return registers[0],
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    #[test]
    fn the_kernel_takes_a_program_where_it_takes_any() {
        let program = [Instruction::move_number(0, 1), Instruction::exit()];
        match load_device_program(&program) {
            Ok(_) | Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}
