use proptest::prelude::*;

use super::*;

fn decode_all(bytes: &[u8], piece: usize, limit: usize) -> (Vec<Vec<u8>>, Result<(), Error>) {
    let mut decoder = Decoder::new(limit);
    let mut records = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (records, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (records, end)
}

#[test]
fn rule_39_records_are_length_newline_bytes() {
    let mut out = Vec::new();
    encode(b"{\"type\":\"HEARTBEAT\"}", &mut out);
    encode(b"x", &mut out);
    assert_eq!(out, b"20\n{\"type\":\"HEARTBEAT\"}1\nx");
}

#[test]
fn rule_40_lengths_count_bytes_and_must_be_numbers() {
    assert_eq!(record("é".as_bytes()), b"2\n\xc3\xa9");
    assert_eq!(decode_all(b"0\n1\na", 1, 10), (vec![vec![], b"a".to_vec()], Ok(())));
    for bad in
        [&b"x\n"[..], b"\n", b"-1\nx", b"+1\nx", b" 1\nx", b"1 \nx", b"0x1\nx", b"111111111111111111111\n"]
    {
        assert_eq!(decode_all(bad, 100, 10).1, Err(Error::Length), "{bad:?}");
    }
    assert_eq!(decode_all(b"1\na2\nb", 3, 10), (vec![b"a".to_vec()], Err(Error::Truncated)));
    assert_eq!(decode_all(b"12", 3, 10).1, Err(Error::Truncated));
}

#[test]
fn a_record_over_the_limit_is_refused_before_it_is_read() {
    let mut decoder = Decoder::new(10);
    decoder.push(b"11\n");
    assert_eq!(decoder.next_record(), Err(Error::TooLarge { length: 11, limit: 10 }));
    decoder.push(&[0; 1000]);
    assert_eq!(decoder.next_record(), Err(Error::TooLarge { length: 11, limit: 10 }));
    assert!(decoder.buffer.is_empty());
}

proptest! {
    #[test]
    fn records_survive_any_cutting(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        piece in 1usize..400,
    ) {
        let mut stream = Vec::new();
        for record in &records {
            encode(record, &mut stream);
        }
        prop_assert_eq!(decode_all(&stream, piece, 300), (records, Ok(())));
    }

    #[test]
    fn any_bytes_are_read_the_same_in_any_pieces(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..200)) {
        let whole = decode_all(&bytes, bytes.len(), 50);
        for piece in [1, 2, 7] {
            prop_assert_eq!(&decode_all(&bytes, piece, 50), &whole);
        }
    }
}
