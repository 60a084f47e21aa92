//! Which URIs are acceptable, and what they are called in the sandbox.

use std::path::{Path, PathBuf};

use crate::Reason;

/// The longest name of one file; the kernel's own bound.
const NAME_BYTES_MAX: usize = 255;

/// Where a URI leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Http(String),
    File(PathBuf),
}

/// Reads a URI (rules 382, 383 and 387).
pub(crate) fn parse(uri: &str, frameworks_home: Option<&Path>) -> Result<Source, Reason> {
    let refused = |text: String| Err(Reason::Refused(text));
    if uri.chars().any(|c| matches!(c, '\\' | '\'' | '\0')) {
        return refused("URI contains illegal characters, refusing to fetch".to_owned());
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return local(uri, frameworks_home);
    };
    let scheme = scheme.to_ascii_lowercase();
    // What follows the host is the path; without one there is nothing to fetch.
    let Some((host, path)) = rest.split_once('/').filter(|(_, path)| !path.is_empty()) else {
        return refused("Malformed URI (missing path)".to_owned());
    };
    match scheme.as_str() {
        "http" | "https" if host.is_empty() => refused("Malformed URI (missing host)".to_owned()),
        "http" | "https" => Ok(Source::Http(format!("{scheme}://{rest}"))),
        "file" if host.is_empty() || host == "localhost" => Ok(Source::File(Path::new("/").join(path))),
        "file" => refused(format!("A file URI cannot name the host '{host}'")),
        // ftp, ftps and what needs a Hadoop client.
        other => refused(format!("URI scheme '{other}' is not supported")),
    }
}

fn local(path: &str, frameworks_home: Option<&Path>) -> Result<Source, Reason> {
    if path.is_empty() {
        return Err(Reason::Refused("The URI is empty".to_owned()));
    }
    if path.starts_with('/') {
        return Ok(Source::File(PathBuf::from(path)));
    }
    match frameworks_home {
        Some(home) => Ok(Source::File(home.join(path))),
        None => Err(Reason::Refused(
            "A relative path was passed for the resource but frameworks_home is not set".to_owned(),
        )),
    }
}

/// What is behind the last slash.
pub(crate) fn basename(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The path in the sandbox (rule 386).
pub(crate) fn target(uri: &str, output_file: Option<&str>) -> Result<String, Reason> {
    let name = output_file.unwrap_or_else(|| basename(uri));
    let refused = |text: &str| Err(Reason::Refused(text.to_owned()));
    if name.starts_with('/') {
        return refused("The output file must be relative to the sandbox");
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return refused("The output file is not a file name");
    }
    for component in name.split('/') {
        if matches!(component, "" | "." | "..") || component.len() > NAME_BYTES_MAX {
            return refused("The output file is not a path inside the sandbox");
        }
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_382_schemes() {
        let parse = |uri| parse(uri, None);
        assert_eq!(parse("http://h/a").unwrap(), Source::Http("http://h/a".to_owned()));
        assert_eq!(parse("HTTPS://h/a").unwrap(), Source::Http("https://h/a".to_owned()));
        assert_eq!(parse("file:///a/b").unwrap(), Source::File("/a/b".into()));
        assert_eq!(parse("file://localhost/a").unwrap(), Source::File("/a".into()));
        assert_eq!(parse("/a").unwrap(), Source::File("/a".into()));
        for uri in ["hdfs://h/a", "ftp://h/a", "file://other/a", "s3n://b/c", ""] {
            assert!(parse(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn rule_383_relative_paths_need_a_home() {
        assert!(parse("a/b", None).is_err());
        assert_eq!(parse("a/b", Some(Path::new("/home"))).unwrap(), Source::File("/home/a/b".into()));
    }

    #[test]
    fn rule_387_malformed_uris() {
        for uri in ["http://h", "http://h/", "http:///a", "/a\\b", "/a'b", "/a\0b", "file://"] {
            assert!(parse(uri, None).is_err(), "{uri:?}");
        }
    }

    #[test]
    fn rule_386_output_files_stay_in_the_sandbox() {
        assert_eq!(target("http://h/a/b.txt", None).unwrap(), "b.txt");
        assert_eq!(target("http://h/a", Some("sub/dir/b")).unwrap(), "sub/dir/b");
        // Attack A074.
        let long = "x".repeat(256);
        for name in ["/a", "../x", "a/../x", ".", "", "a//b", "a/", "a\0b", "a\nb", &long] {
            assert!(target("http://h/a", Some(name)).is_err(), "{name:?}");
        }
        assert!(target("http://h/..", None).is_err());
    }
}
