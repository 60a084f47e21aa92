//! Names of entries in archives.

/// Directories above each other: twice what the deepest package trees have. Deeper ones cannot be named in one
/// system call.
pub const DEPTH_MAX: usize = 256;
/// One part of a path, as file systems have it.
pub const NAME_BYTES_MAX: usize = 255;
/// A path, as the kernel takes it in one call.
pub const PATH_BYTES_MAX: usize = 4_095;

/// The name without what means nothing, empty for the archive's top; refused when it could mean a place outside
/// (attacks A049 and A078) or one that no file system has. The error completes the sentence "the name ...".
pub fn clean_name(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name.starts_with(b"/") {
        return Err("is absolute");
    }
    if name.contains(&0) {
        return Err("contains a zero byte");
    }
    let mut cleaned = Vec::with_capacity(name.len());
    let mut depth = 0;
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err("contains '..'"),
            _ if part.len() > NAME_BYTES_MAX => return Err("has too long a name"),
            _ => {}
        }
        depth += 1;
        if depth > DEPTH_MAX {
            return Err("is too deep");
        }
        if !cleaned.is_empty() {
            cleaned.push(b'/');
        }
        cleaned.extend_from_slice(part);
    }
    if cleaned.len() > PATH_BYTES_MAX {
        return Err("has too long a path");
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a049_names_are_cleaned_or_refused() {
        for (name, clean) in [("a/b", "a/b"), ("./a//b/.", "a/b"), (".", ""), ("./", ""), ("...", "...")] {
            assert_eq!(clean_name(name.as_bytes()), Ok(clean.as_bytes().to_vec()), "{name}");
        }
        let (long, deep) = ("x".repeat(256), "a/".repeat(257));
        let far = format!("{}/", "x".repeat(250)).repeat(17);
        for (name, why) in [
            ("", "has no name"),
            ("/etc/passwd", "is absolute"),
            ("a\0b", "contains a zero byte"),
            ("a/../../b", "contains '..'"),
            (&long, "has too long a name"),
            (&deep, "is too deep"),
            (&far, "has too long a path"),
        ] {
            assert_eq!(clean_name(name.as_bytes()), Err(why), "{name}");
        }
    }
}
