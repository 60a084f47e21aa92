//! Keys in alphabetical order, for endpoints that Mesos answers from a tree of sorted maps.

/// The same JSON with the keys of every object sorted by their bytes.
///
/// Takes JSON as `mezzo-json` writes it: without spaces between tokens. Anything else comes out
/// unchanged from the first byte that does not fit.
pub fn alphabetical(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let rest = sort_value(json, &mut out);
    out.extend_from_slice(rest);
    out
}

/// Appends the first value of `json` to `out` and gives what follows it.
fn sort_value<'j>(json: &'j [u8], out: &mut Vec<u8>) -> &'j [u8] {
    match json.first() {
        Some(b'{') => sort_object(&json[1..], out),
        Some(b'[') => {
            out.push(b'[');
            let mut rest = &json[1..];
            loop {
                match rest.first() {
                    Some(b']') => {
                        out.push(b']');
                        return &rest[1..];
                    }
                    Some(b',') => {
                        out.push(b',');
                        rest = &rest[1..];
                    }
                    None => return rest,
                    Some(_) => {
                        let next = sort_value(rest, out);
                        if next.len() == rest.len() {
                            return next;
                        }
                        rest = next;
                    }
                }
            }
        }
        Some(b'"') => {
            let (text, rest) = json.split_at(string_length(json));
            out.extend_from_slice(text);
            rest
        }
        _ => {
            let length = json.iter().position(|b| matches!(b, b',' | b']' | b'}')).unwrap_or(json.len());
            let (word, rest) = json.split_at(length);
            out.extend_from_slice(word);
            rest
        }
    }
}

fn sort_object<'j>(mut rest: &'j [u8], out: &mut Vec<u8>) -> &'j [u8] {
    let mut members: Vec<(&[u8], Vec<u8>)> = Vec::new();
    while rest.first() == Some(&b'"') {
        let (key, value) = rest.split_at(string_length(rest));
        let mut sorted = Vec::new();
        rest = sort_value(value.strip_prefix(b":").unwrap_or(value), &mut sorted);
        members.push((key, sorted));
        rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
    members.sort_by(|a, b| a.0.cmp(b.0));
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    rest.strip_prefix(b"}").unwrap_or(rest)
}

/// Bytes of the string that `json` begins with, quotes included.
fn string_length(json: &[u8]) -> usize {
    let mut at = 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}
