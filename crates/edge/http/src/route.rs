//! Picks a handler by path the way libprocess does (rules 8 to 11).

use std::collections::BTreeMap;

use crate::request::decode_percent;

/// Registered paths of the processes behind one port.
///
/// The first segment of a path names a process; when it names none, the path is looked up below the
/// main process. The longest registered path that is a prefix on segment boundaries wins.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    main: String,
    processes: BTreeMap<String, BTreeMap<String, T>>,
    /// Whole paths as most requests have them, with the process and the path they stand for: what
    /// schedulers call 100,000 times a second is not taken apart each time.
    exact: BTreeMap<String, (String, String)>,
}

impl<T> Routes<T> {
    /// None yet; `main` is the process that paths without a process name belong to.
    pub fn new(main: &str) -> Self {
        Self { main: main.to_owned(), processes: BTreeMap::new(), exact: BTreeMap::new() }
    }

    /// Adds `/process/path`. An empty path is the process itself.
    pub fn add(&mut self, process: &str, path: &str, target: T) {
        let paths = self.processes.entry(process.to_owned()).or_default();
        paths.insert(path.trim_matches('/').to_owned(), target);
        self.exact = self.exact_paths();
    }

    fn exact_paths(&self) -> BTreeMap<String, (String, String)> {
        let mut exact = BTreeMap::new();
        for (process, path, _) in self.paths().filter(|(_, path, _)| !path.is_empty()) {
            let target = (process.to_owned(), path.to_owned());
            let first = path.split('/').next().unwrap_or_default();
            if process == self.main && !self.processes.contains_key(first) {
                exact.insert(format!("/{path}"), target.clone());
            }
            exact.insert(format!("/{process}/{path}"), target);
        }
        exact
    }

    /// The target for a raw request path, and what of the decoded path follows the registered part,
    /// without a slash at either end. `None` is 404.
    pub fn find(&self, path: &str) -> Option<(&T, String)> {
        if let Some((process, path)) = self.exact.get(path) {
            return Some((self.processes.get(process)?.get(path)?, String::new()));
        }
        if path.contains("/..") {
            return None;
        }
        let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode_percent).collect();
        let named = segments.first().and_then(|first| self.processes.get(first));
        let (paths, segments) = match named {
            Some(paths) => (paths, &segments[1..]),
            None => (self.processes.get(&self.main)?, &segments[..]),
        };
        // No longer than what is registered: joining every prefix of a path of 30,000 segments would keep
        // the thread for seconds (A091).
        let longest = paths.keys().map(|path| path.split('/').count()).max().unwrap_or(0);
        (0..=segments.len().min(longest)).rev().find_map(|length| {
            let target = paths.get(&segments[..length].join("/"))?;
            Some((target, segments[length..].join("/")))
        })
    }

    /// Every registered path by process, in order.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &str, &T)> {
        self.processes.iter().flat_map(|(process, paths)| {
            paths.iter().map(move |(path, target)| (process.as_str(), path.as_str(), target))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<u32> {
        let mut routes = Routes::new("slave(1)");
        routes.add("slave(1)", "/state", 1);
        routes.add("slave(1)", "/api/v1", 2);
        routes.add("slave(1)", "/api/v1/executor", 3);
        routes.add("files", "/read", 4);
        routes.add("version", "", 5);
        routes
    }

    fn find(path: &str) -> Option<(u32, String)> {
        routes().find(path).map(|(t, rest)| (*t, rest))
    }

    #[test]
    fn a091_a_path_of_many_segments_is_found_at_once() {
        let deep = "/a".repeat(2_000_000);
        assert_eq!(find(&deep), None);
        assert_eq!(find(&format!("/state{deep}")).map(|(target, _)| target), Some(1));
    }

    #[test]
    fn rule_8_longest_prefix_on_segment_boundaries() {
        assert_eq!(find("/slave(1)/state/anything"), Some((1, "anything".into())));
        assert_eq!(find("/slave(1)/statement"), None);
        assert_eq!(find("/slave(1)/api/v1"), Some((2, String::new())));
        assert_eq!(find("/slave(1)/api/v1/executor"), Some((3, String::new())));
        assert_eq!(find("/slave(1)/api/v1/executors"), Some((2, "executors".into())));
    }

    #[test]
    fn rule_9_paths_without_a_process_belong_to_the_main_one() {
        assert_eq!(find("/state"), Some((1, String::new())));
        assert_eq!(find("/slave%281%29/state"), Some((1, String::new())));
        assert_eq!(find("/files/read"), Some((4, String::new())));
        assert_eq!(find("/version"), Some((5, String::new())));
    }

    #[test]
    fn rule_10_and_rule_11_paths_that_do_not_exist() {
        assert_eq!(find("/state/../state"), None, "rule 10");
        assert_eq!(find("/..state"), None, "rule 10");
        assert_eq!(find("/state.json"), None, "rule 11");
        assert_eq!(find("/"), None);
    }
}
