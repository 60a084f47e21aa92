//! What happens to containers, for the agent; and the datagrams that supervisors send.

use mezzo_ids::ContainerId;
use mezzo_mesos::v1::Resource;

/// What happened to a container.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerEvent {
    /// Its program runs.
    Started {
        /// Which.
        id: ContainerId,
        /// Process id of the program, on the host.
        pid: u32,
    },
    /// Nothing of it was left running.
    LaunchFailed {
        /// Which.
        id: ContainerId,
        /// Why, for the status message.
        message: String,
    },
    /// Its program ended and nothing of it is left.
    Exited {
        /// Which.
        id: ContainerId,
        /// As `waitpid` gives it; `None` when nobody can know it.
        status: Option<i32>,
        /// A limit it ran into.
        limitation: Option<Limitation>,
    },
}

/// A limit that ended a container.
#[derive(Clone, Debug, PartialEq)]
pub enum Limitation {
    /// It ran out of memory; REASON_CONTAINER_LIMITATION_MEMORY.
    Memory {
        /// For the status message.
        message: String,
        /// The largest use in bytes.
        peak_bytes: u64,
    },
    /// It used more of the disk than it may; REASON_CONTAINER_LIMITATION_DISK.
    Disk {
        /// For the status message.
        message: String,
        /// What it may use, in bytes.
        limit_bytes: u64,
        /// The persistent volume that is too full; `None` for the sandbox.
        volume: Option<Box<Resource>>,
    },
    /// It listens on ports that it does not hold; REASON_CONTAINER_LIMITATION.
    Ports {
        /// For the status message.
        message: String,
        /// Which, in order.
        ports: Vec<u16>,
    },
}

/// What a supervisor tells.
#[derive(Debug, PartialEq)]
pub(crate) struct Notice<'a> {
    /// Process id of the supervisor; zero when the launcher speaks for one it could not fork.
    pub(crate) supervisor: u32,
    pub(crate) id: &'a str,
    pub(crate) news: News<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum News<'a> {
    Started(u32),
    Failed(&'a str),
    Exited(i32),
}

impl<'a> Notice<'a> {
    /// Bytes beside the id and the text.
    pub(crate) const SIZE_WITHOUT_TEXTS: usize = 11;

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let (kind, value, text) = match self.news {
            News::Started(pid) => (0u8, pid.to_le_bytes(), ""),
            News::Failed(text) => (1, [0; 4], text),
            News::Exited(status) => (2, status.to_le_bytes(), ""),
        };
        to.push(kind);
        to.extend_from_slice(&self.supervisor.to_le_bytes());
        to.extend_from_slice(&value);
        let length = u16::try_from(self.id.len()).unwrap_or(u16::MAX);
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(self.id.as_bytes());
        to.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (supervisor, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (id, text) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let news = match kind {
            0 => News::Started(u32::from_le_bytes(*value)),
            1 => News::Failed(std::str::from_utf8(text).ok()?),
            2 => News::Exited(i32::from_le_bytes(*value)),
            _ => return None,
        };
        Some(Self { supervisor: u32::from_le_bytes(*supervisor), id: std::str::from_utf8(id).ok()?, news })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_survive_their_way_and_damaged_ones_are_dropped() {
        for news in [News::Started(7), News::Failed("no such file"), News::Exited(256)] {
            let notice = Notice { supervisor: 9, id: "a.b", news };
            let mut bytes = Vec::new();
            notice.encode(&mut bytes);
            let texts = if let News::Failed(text) = news { text.len() } else { 0 };
            assert_eq!(bytes.len(), Notice::SIZE_WITHOUT_TEXTS + "a.b".len() + texts);
            assert_eq!(Notice::decode(&bytes), Some(notice));
            assert_eq!(Notice::decode(&bytes[..12]), None);
        }
        assert_eq!(Notice::decode(b""), None);
    }
}
