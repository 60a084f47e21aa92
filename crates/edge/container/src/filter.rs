//! Which system calls a container has.

/// Programs of the kernel's packet filter, each of which must let a system call pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    programs: Vec<Vec<u8>>,
}

impl Filter {
    /// Each as the kernel takes it: instructions of eight bytes.
    pub(crate) fn programs(&self) -> &[Vec<u8>] {
        &self.programs
    }
}
