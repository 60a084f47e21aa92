use super::*;

fn log_with(folder: &Path, batches: &[&[&str]]) -> PathBuf {
    let path = folder.join("agent.log");
    let (mut log, _) = AppendLog::open(&path).unwrap();
    for batch in batches {
        log.append(batch).unwrap();
    }
    assert_eq!(log.size(), fs::metadata(&path).unwrap().len());
    path
}

fn replay(path: &Path) -> Result<(Vec<String>, u64), LogError> {
    let (_, replay) = AppendLog::open(path)?;
    let texts = replay.records.into_iter().map(|r| String::from_utf8(r).unwrap()).collect();
    Ok((texts, replay.cut_off))
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn records_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one", "", "two"], &[], &["three"]]);
    assert_eq!(replay(&path).unwrap(), (texts(&["one", "", "two", "three"]), 0));
}

#[test]
fn a_log_cut_at_any_byte_keeps_every_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one", "two"], &["three"]]);
    let whole = fs::read(&path).unwrap();
    let first_end = HEADER_SIZE as usize + HEAD_SIZE + 4 + 3 + 4 + 3;
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (records, cut_off) = replay(&path).unwrap();
        let (expected, good): (&[&str], usize) =
            if length >= first_end { (&["one", "two"], first_end) } else { (&[], HEADER_SIZE as usize) };
        assert_eq!(records, texts(expected), "cut at {length}");
        assert_eq!(cut_off as usize, length.saturating_sub(good), "cut at {length}");
        // What is appended after the cut is found again.
        let (mut log, _) = AppendLog::open(&path).unwrap();
        log.append(&["later"]).unwrap();
        drop(log);
        assert_eq!(replay(&path).unwrap().0.last().map(String::as_str), Some("later"), "cut at {length}");
    }
}

#[test]
fn a_torn_last_batch_is_cut_off_whichever_byte_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one"], &["two", "three"]]);
    let whole = fs::read(&path).unwrap();
    let first_end = HEADER_SIZE as usize + HEAD_SIZE + 4 + 3;
    for at in first_end..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(replay(&path).unwrap().0, texts(&["one"]), "byte {at}");
    }
}

#[test]
fn damage_before_an_intact_batch_is_an_error_whichever_byte_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one"], &["two", "three"]]);
    let whole = fs::read(&path).unwrap();
    let first_end = HEADER_SIZE as usize + HEAD_SIZE + 4 + 3;
    for at in 0..first_end {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        assert!(
            matches!(replay(&path), Err(LogError::Damaged { .. } | LogError::Unknown { .. })),
            "byte {at} changed unnoticed"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "a damaged log is left as it is");
    }
}

#[test]
fn garbage_is_not_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.log");
    for garbage in ["x", "this is some other file entirely, of some length"] {
        fs::write(&path, garbage).unwrap();
        assert!(matches!(AppendLog::open(&path), Err(LogError::Unknown { .. })));
    }
}

#[test]
fn zeros_and_noise_after_the_end_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one"]]);
    let whole = fs::read(&path).unwrap();
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for tail in [vec![0; 5000], vec![0xff; 5000], noise] {
        fs::write(&path, [whole.clone(), tail].concat()).unwrap();
        assert_eq!(replay(&path).unwrap(), (texts(&["one"]), 5000));
    }
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[]);
    let (mut log, _) = AppendLog::open(&path).unwrap();
    assert!(matches!(AppendLog::open(&path), Err(LogError::InUse { .. })));
    log.compact(["one"]).unwrap();
    assert!(matches!(AppendLog::open(&path), Err(LogError::InUse { .. })), "also after compaction");
}

#[test]
fn compaction_replaces_everything_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), &[&["one", "two"], &["three"]]);
    let (mut log, _) = AppendLog::open(&path).unwrap();
    let big = "x".repeat(700_000);
    log.compact(["two", &big, &big]).unwrap();
    log.append(&["four"]).unwrap();
    assert_eq!(log.size(), fs::metadata(&path).unwrap().len());
    drop(log);
    assert_eq!(replay(&path).unwrap().0, texts(&["two", &big, &big, "four"]));
    // What a crash during a compaction leaves behind is in nobody's way.
    fs::write(path.with_extension("compacting"), "half a log").unwrap();
    let (mut log, _) = AppendLog::open(&path).unwrap();
    log.compact(["five"]).unwrap();
    drop(log);
    assert_eq!(replay(&path).unwrap().0, texts(&["five"]));
}

#[test]
fn a_record_that_is_too_large_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.log");
    let (mut log, _) = AppendLog::open(&path).unwrap();
    let big = vec![0; RECORD_SIZE_MAX + 1];
    assert!(matches!(log.append(&[b"small".as_slice(), &big]), Err(LogError::TooLarge { .. })));
    drop(log);
    assert_eq!(replay(&path).unwrap(), (vec![], 0));
}
