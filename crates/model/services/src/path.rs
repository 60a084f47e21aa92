//! Where an app, pod or group stands in the tree.

use std::{fmt, sync::Arc};

/// An absolute path such as `/shop/web`; the root is `/`. Segments are separated by one slash, none is empty, `.` or `..`.
/// Which characters a segment may hold is checked where a path comes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(Arc<str>);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathIdError {
    /// A segment with a character that ids may not have, or none at all.
    Segment(String),
    /// More `..` than there are segments before them.
    AboveRoot,
}

impl fmt::Display for PathIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => write!(
                f,
                "\"{segment}\" is no path segment: lower case letters, digits, inner dots and dashes only"
            ),
            Self::AboveRoot => write!(f, "the path leaves the root"),
        }
    }
}

impl std::error::Error for PathIdError {}

impl PathId {
    /// The path of everything.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Reads an absolute or relative path, the latter as seen from `base`; `.` and `..` are resolved, slashes at the end ignored.
    pub fn parse(text: &str, base: &Self) -> Result<Self, PathIdError> {
        let mut segments: Vec<&str> =
            if text.starts_with('/') { Vec::new() } else { base.segments().collect() };
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment {
                "." => {}
                ".." => {
                    segments.pop().ok_or(PathIdError::AboveRoot)?;
                }
                _ if is_segment(segment) => segments.push(segment),
                _ => return Err(PathIdError::Segment(segment.into())),
            }
        }
        Ok(Self(format!("/{}", segments.join("/")).into()))
    }

    /// The text with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the path of everything.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments from the root down; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &str {
        self.segments().next_back().unwrap_or("")
    }

    /// The path one level up; the root's is the root.
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            Some(0) | None => Self::root(),
            Some(end) => Self(Arc::from(&self.0[..end])),
        }
    }

    /// The path one level down.
    pub fn child(&self, name: &str) -> Self {
        if self.is_root() {
            Self(format!("/{name}").into())
        } else {
            Self(format!("{}/{name}", self.0).into())
        }
    }

    /// Whether this lies in `group`, at any depth; nothing lies in itself.
    pub fn is_below(&self, group: &Self) -> bool {
        if group.is_root() {
            return !self.is_root();
        }
        self.0.strip_prefix(&*group.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The segments with underscores between, as instance ids carry them (rule 274).
    pub fn underscored(&self) -> String {
        self.segments().collect::<Vec<_>>().join("_")
    }

    /// The segments reversed with dots between: the name of a task and of its discovery (rule 186).
    pub fn reversed(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower case letters, digits, dashes and dots inside, each part between dots beginning and ending with no dash.
fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathId {
        PathId::parse(text, &PathId::root()).unwrap()
    }

    #[test]
    fn relative_paths_are_resolved() {
        let base = path("/shop/api");
        for (text, wanted) in [
            ("web", "/shop/api/web"),
            ("../web", "/shop/web"),
            ("./web/", "/shop/api/web"),
            ("/web", "/web"),
            ("..", "/shop"),
            ("/", "/"),
            ("a.b-c", "/shop/api/a.b-c"),
        ] {
            assert_eq!(PathId::parse(text, &base).unwrap().as_str(), wanted, "{text}");
        }
        assert_eq!(PathId::parse("../../..", &base), Err(PathIdError::AboveRoot));
    }

    #[test]
    fn marathon_rule_296_underscores_and_upper_case_are_refused() {
        for bad in ["a_b", "A", "-a", "a-", "a..b", ".a", "a b"] {
            assert!(matches!(PathId::parse(bad, &PathId::root()), Err(PathIdError::Segment(_))), "{bad}");
        }
    }

    #[test]
    fn the_tree_around_a_path() {
        let web = path("/shop/web");
        assert_eq!((web.name(), web.parent(), web.parent().parent()), ("web", path("/shop"), PathId::root()));
        assert!(web.is_below(&path("/shop")) && web.is_below(&PathId::root()));
        assert!(
            !web.is_below(&web) && !web.is_below(&path("/sho")) && !PathId::root().is_below(&PathId::root())
        );
        assert_eq!((web.underscored(), web.reversed()), ("shop_web".into(), "web.shop".into()));
        assert_eq!(PathId::root().child("a").child("b"), path("/a/b"));
    }
}
