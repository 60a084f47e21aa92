//! Which names things may have.

use mezzo_services_model::PathId;

/// Deeper trees are nobody's, and every level is a step of recursion somewhere.
pub(crate) const PATH_SEGMENTS_MAX: usize = 64;

/// The length of names that become labels of DNS.
const NAME_MAX: usize = 63;

fn is_label(text: &str, inner: fn(u8) -> bool) -> bool {
    let end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    end(bytes.first()) && end(bytes.last()) && bytes.iter().all(|b| end(Some(b)) || inner(*b))
}

/// The name of a container, endpoint or volume.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX && is_label(text, |b| b == b'-')
}

/// The name of a network.
pub(crate) fn is_network_name(text: &str) -> bool {
    text.len() <= NAME_MAX && is_label(text, |b| b == b'-' || b == b'_')
}

/// The name of an app's port.
pub(crate) fn is_legacy_name(text: &str) -> bool {
    is_label(text, |b| b == b'-')
}

/// A path of an app, pod or group, absolute or relative. A lone dot is none, as with Marathon.
pub(crate) fn is_path_id(text: &str) -> bool {
    let dotted = |segment: &str| segment.split('.').all(is_legacy_name);
    !text.is_empty()
        && text.len() <= 1024
        && text.split('/').filter(|segment| !segment.is_empty()).count() <= PATH_SEGMENTS_MAX
        && text.split('/').all(|segment| segment.is_empty() || segment == ".." || dotted(segment))
}

/// The default executor, or the path of another.
pub(crate) fn is_executor(text: &str) -> bool {
    let path = text.strip_prefix('/').unwrap_or(text);
    text.is_empty() || text == "//cmd" || path.split('/').all(|segment| !segment.is_empty())
}

/// Last segments that stand for something else in the API's own paths (rule 295).
pub(crate) const RESERVED: [&str; 3] = ["restart", "tasks", "versions"];

/// What is wrong with the path of an app or pod.
pub(crate) fn path_errors(id: &PathId) -> Vec<String> {
    let mut errors = Vec::new();
    if id.is_root() {
        errors.push("Path must contain at least one path element".into());
    }
    if RESERVED.contains(&id.name()) {
        let words = RESERVED.join(", ");
        errors.push(format!("must not end with any of the following reserved keywords: {words}"));
    }
    if id.segments().count() > PATH_SEGMENTS_MAX {
        errors.push(format!("must not have more than {PATH_SEGMENTS_MAX} path elements"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "0"] {
            assert!(is_name(good) && is_network_name(good) && is_legacy_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ä"] {
            assert!(!is_name(bad) && !is_network_name(bad) && !is_legacy_name(bad), "{bad}");
        }
        assert!(is_network_name("a_b") && !is_name("a_b"));
        let long = "a".repeat(64);
        assert!(!is_name(&long) && is_legacy_name(&long));
    }

    #[test]
    fn marathon_rule_296_paths() {
        for good in ["/", "/a/b", "a", "../a", "a.b-c/d", "a//b", "/a/", "a/../b"] {
            assert!(is_path_id(good), "{good}");
        }
        let deep = "/a".repeat(100);
        for bad in ["", "a_b", "A", "/a b", "a/-b", "a..b", "a/.../b", "./a", "ä", &deep] {
            assert!(!is_path_id(bad), "{bad}");
        }
    }

    #[test]
    fn executors() {
        for (text, good) in
            [("", true), ("//cmd", true), ("/bin/x", true), ("bin/x", true), ("/x/", false), ("/x//y", false)]
        {
            assert_eq!(is_executor(text), good, "{text}");
        }
    }
}
