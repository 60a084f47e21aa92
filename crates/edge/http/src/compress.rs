//! gzip of answers (rule 13).

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};

/// Smaller bodies are sent as they are (rule 13).
pub(crate) const GZIP_SIZE_MIN: usize = 1024;

/// Compresses what is small enough to hold.
pub(crate) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Level::fast());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// Compresses a body that comes in parts, or leaves it alone.
pub(crate) struct Compression(Option<GzEncoder<Vec<u8>>>);

impl Compression {
    pub(crate) fn new(on: bool) -> Self {
        Self(on.then(|| GzEncoder::new(Vec::new(), Level::fast())))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What can be sent after this part.
    pub(crate) fn part(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.0 else { return Ok(bytes) };
        encoder.write_all(&bytes)?;
        Ok(std::mem::take(encoder.get_mut()).into())
    }

    /// The rest.
    pub(crate) fn last(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        let Some(mut encoder) = self.0.take() else { return Ok(bytes) };
        encoder.write_all(&bytes)?;
        encoder.finish().map(Bytes::from)
    }
}

/// Whether an Accept-Encoding value allows gzip.
pub(crate) fn accepts_gzip(value: &str) -> bool {
    let quality = |name: &str| {
        value.split(',').find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            parts.next().filter(|n| n.eq_ignore_ascii_case(name))?;
            let q = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.trim().parse::<f32>().ok());
            Some(q.unwrap_or(1.0))
        })
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|q| q > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn rule_13_accept_encoding() {
        for yes in ["gzip", "deflate, gzip;q=0.5", "*", "GZIP"] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "*;q=1, gzip;q=0"] {
            assert!(!accepts_gzip(no), "{no}");
        }
    }

    #[test]
    fn parts_make_one_gzip_file() {
        let mut compression = Compression::new(true);
        let mut all = compression.part(Bytes::from_static(b"one ")).unwrap().to_vec();
        all.extend(compression.last(Bytes::from_static(b"two")).unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&all[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }
}
