//! Gathers what is written until there is nothing else to do, so that many answers leave together.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for each other at most; beyond it the socket decides, and with it the time after which
/// a peer that takes nothing is given up.
const GATHERED_MAX: usize = 64 << 10;
/// From this on a write is worth a system call of its own, and copying it is not worth saving one.
const DIRECT_MIN: usize = 16 << 10;

/// Delays what is written until the connection's task has been through everything it has to do.
///
/// A flush only promises one: it wakes the task again, and what has gathered leaves when that finds
/// nothing to read, or flushes with nothing new. So the answers to pipelined requests and the records of
/// a busy stream share system calls, while an answer that is alone waits for one more turn of its task.
/// The task must go on reading or flushing until it shuts the connection down.
pub(crate) struct Gathering<S> {
    below: S,
    gathered: BytesMut,
    /// Something was written since the last flush.
    fresh: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathering<S> {
    pub(crate) fn new(below: S) -> Self {
        Self { below, gathered: BytesMut::new(), fresh: false }
    }

    /// What is below, and what was written and has not left.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.below, self.gathered)
    }

    /// Sends what has gathered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let sent = ready!(Pin::new(&mut self.below).poll_write(context, &self.gathered))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(sent);
        }
        // Thousands of idle connections should not each keep room for their busiest moment.
        self.gathered = BytesMut::new();
        self.fresh = false;
        Poll::Ready(Ok(()))
    }

    /// Makes room for a write of this size; true when it should go straight to the socket.
    fn poll_room(&mut self, context: &mut Context<'_>, size: usize) -> Poll<io::Result<bool>> {
        if self.gathered.is_empty() && size >= DIRECT_MIN {
            return Poll::Ready(Ok(true));
        }
        if self.gathered.len() + size <= GATHERED_MAX {
            return Poll::Ready(Ok(false));
        }
        ready!(self.poll_send(context))?;
        Poll::Ready(Ok(size >= DIRECT_MIN))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.below).poll_read(context, buffer)?;
        if read.is_pending() && !self.gathered.is_empty() {
            // A peer that sends nothing more may be waiting for what has gathered.
            if let Poll::Ready(Err(error)) = self.poll_send(context) {
                return Poll::Ready(Err(error));
            }
        }
        read.map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_room(context, bytes.len()))? {
            return Pin::new(&mut self.below).poll_write(context, bytes);
        }
        self.gathered.extend_from_slice(bytes);
        self.fresh = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = parts.iter().map(|part| part.len()).sum();
        if ready!(self.poll_room(context, size))? {
            return Pin::new(&mut self.below).poll_write_vectored(context, parts);
        }
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        self.fresh = true;
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.fresh) {
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.below).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.below).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_has_gathered_leaves_with_the_second_flush() {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut gathering = Gathering::new(ours);
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 64];
        for word in [&b"one "[..], b"two "] {
            gathering.write_all(word).await.unwrap();
        }
        assert!(Pin::new(&mut gathering).poll_flush(&mut context).is_ready());
        assert!(
            Pin::new(&mut theirs).poll_read(&mut context, &mut ReadBuf::new(&mut buffer)).is_pending(),
            "the first only promises"
        );
        assert!(Pin::new(&mut gathering).poll_flush(&mut context).is_ready());
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 8);
        gathering.write_all(b"three").await.unwrap();
        gathering.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"three");
    }

    #[tokio::test]
    async fn what_has_gathered_leaves_when_there_is_nothing_to_read() {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut gathering = Gathering::new(ours);
        let mut context = Context::from_waker(Waker::noop());
        gathering.write_all(b"answer").await.unwrap();
        let mut buffer = [0; 64];
        assert!(
            Pin::new(&mut gathering).poll_read(&mut context, &mut ReadBuf::new(&mut buffer)).is_pending()
        );
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn no_more_gathers_than_the_limit() {
        let (ours, mut theirs) = duplex(100);
        let mut gathering = Gathering::new(ours);
        let mut context = Context::from_waker(Waker::noop());
        let (mut written, piece) = (0, [7; 1000]);
        while let Poll::Ready(size) = Pin::new(&mut gathering).poll_write(&mut context, &piece) {
            written += size.unwrap();
            assert!(written <= GATHERED_MAX + 100);
        }
        assert!(written > GATHERED_MAX - piece.len());
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.map(|_| all.len())
        });
        gathering.write_all(&vec![7; DIRECT_MIN * 2]).await.unwrap();
        gathering.shutdown().await.unwrap();
        drop(gathering);
        assert_eq!(reader.await.unwrap().unwrap(), written + DIRECT_MIN * 2);
    }
}
