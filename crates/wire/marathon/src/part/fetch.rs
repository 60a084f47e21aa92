//! Files that are fetched.

use mezzo_services_model::Artifact;

use crate::json::At;

const URI_MAX: usize = 1024;

pub(crate) fn read_artifact(at: At<'_>) -> Option<Artifact> {
    at.object(|o| {
        let uri = o.required("uri", |at| at.text(1, URI_MAX));
        let artifact = Artifact {
            uri: String::new(),
            extract: o.read("extract", |at| at.boolean()).unwrap_or(true),
            executable: o.read("executable", |at| at.boolean()).unwrap_or(false),
            cache: o.read("cache", |at| at.boolean()).unwrap_or(false),
            dest_path: o.read("destPath", |at| at.text(1, URI_MAX)),
        };
        Some(Artifact { uri: uri?, ..artifact })
    })
}

/// An entry of the old list `uris`: unpacked when its name says that it can be.
pub(crate) fn of_uri(uri: String) -> Artifact {
    const ARCHIVES: [&str; 7] = [".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"];
    let extract = ARCHIVES.iter().any(|ending| uri.ends_with(ending));
    Artifact { uri, extract, executable: false, cache: false, dest_path: None }
}

pub(crate) fn read_uri(at: At<'_>) -> Option<String> {
    at.text(1, URI_MAX)
}

/// What a text that is no URI is answered with.
pub(crate) const NO_URI: &str = "URI has invalid syntax.";

/// Whether a text has the form of a URI: none of the characters that must be written with a percent sign, and each such
/// sign followed by two digits.
pub(crate) fn is_uri(text: &str) -> bool {
    let bytes = text.as_bytes();
    let escaped =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    let scheme = text.split_once(':').is_none_or(|(scheme, rest)| {
        // A colon behind the first slash, question mark or number sign ends no scheme.
        scheme.contains(['/', '?', '#'])
            || (scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                && !rest.is_empty())
    });
    let well = bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => escaped(at),
        b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
        byte => !byte.is_ascii_control(),
    });
    scheme && well && text.matches('#').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for good in
            ["http://a/b.tgz?x=1#y", "/srv/file", "file", "hdfs://n:8020/x", "a/b:c", "x%20y", "s3://b/ü"]
        {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["d://\not-a-uri", "a b", "http://x/%zz", "http:", "1:x", "a\\b", "x#y#z"] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn old_uris_are_unpacked_by_their_endings() {
        assert!(of_uri("http://x/a.tar.gz".into()).extract);
        assert!(!of_uri("http://x/a.jar".into()).extract);
    }
}
