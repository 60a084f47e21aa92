//! Any bytes as a RecordIO stream: the same records or the same error in whatever pieces they come.

use mezzo_recordio::{Decoder, Error};

const LIMIT: usize = 1 << 16;

/// Decodes `data` whole and byte by byte.
pub(crate) fn run(data: &[u8]) {
    assert_eq!(decode(data, data.len().max(1)), decode(data, 1));
}

fn decode(data: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), Error>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut records = Vec::new();
    for piece in data.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (records, Err(error)),
            }
        }
    }
    (records, decoder.finish())
}
