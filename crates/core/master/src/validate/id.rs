//! Identifiers that become names of directories (rules 76 and 77).

/// The longest that a file name can be.
const ID_BYTES_MAX: usize = 255;
/// Container ids are used with suffixes.
const CONTAINER_ID_BYTES_MAX: usize = 242;

/// A task, executor, framework, agent or persistence id.
pub fn id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("ID must not be empty".into());
    }
    if text.len() > ID_BYTES_MAX {
        return Err(format!("ID must not be greater than {ID_BYTES_MAX} characters"));
    }
    if text == "." || text == ".." {
        return Err(format!("'{text}' is disallowed"));
    }
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b'/' || byte == b'\\') {
        return Err(format!("'{text}' contains invalid characters"));
    }
    Ok(())
}

/// A container id, which is joined by dots and so must not hold one.
pub fn container_id(text: &str) -> Result<(), String> {
    id(text)?;
    if text.len() > CONTAINER_ID_BYTES_MAX {
        return Err(format!("ID must not be greater than {CONTAINER_ID_BYTES_MAX} characters"));
    }
    if text.contains(['.', ' ']) {
        return Err(format!("'{text}' contains invalid characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_76_ids() {
        for good in ["a", "with space", "ä", &"x".repeat(255)] {
            assert_eq!(id(good), Ok(()), "{good}");
        }
        assert_eq!(id(""), Err("ID must not be empty".into()));
        assert_eq!(id(&"x".repeat(256)), Err("ID must not be greater than 255 characters".into()));
        assert_eq!(id(".."), Err("'..' is disallowed".into()));
        for bad in ["a/b", "a\\b", "a\nb", "a\u{7f}"] {
            assert_eq!(id(bad), Err(format!("'{bad}' contains invalid characters")));
        }
    }

    #[test]
    fn rule_77_container_ids() {
        assert_eq!(container_id("abc-1"), Ok(()));
        for bad in ["a.b", "a b", "", &"x".repeat(243)] {
            assert!(container_id(bad).is_err(), "{bad}");
        }
    }
}
