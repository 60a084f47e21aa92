//! The plugin `loopback`, without its program. Pure.
//!
//! The loopback interface of a namespace is up from the start, which is all that the program would do. Not to run it
//! spares a launch and an end one program each; containerd answers for it as well.

use std::path::Path;

use serde_json::{Value, json};

/// The plugin's name.
pub(super) const NAME: &str = "loopback";

/// What the program answers to ADD: what the plugin before it has answered, or its own interface. Plugins of versions
/// before 0.3.0 pass nothing on, and `version` gives addresses another form there.
pub(super) fn answer(
    version: &str,
    chains: bool,
    namespace: Option<&Path>,
    previous: Option<&Value>,
) -> Value {
    if !chains {
        return json!({"cniVersion": version, "ip4": {"ip": "127.0.0.1/8"}, "dns": {}});
    }
    previous.cloned().unwrap_or_else(|| {
        json!({
            "cniVersion": version,
            "interfaces": [{
                "name": "lo",
                "mac": "00:00:00:00:00:00",
                "sandbox": namespace.map(|path| path.to_string_lossy()),
            }],
            "ips": [{"interface": 0, "address": "127.0.0.1/8"}, {"interface": 0, "address": "::1/128"}],
            "dns": {},
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{super::answer::Answer, *};

    #[test]
    fn it_answers_as_the_program_does() {
        let told = answer("1.0.0", true, Some(Path::new("/run/netns/a")), None);
        assert_eq!(told["interfaces"][0]["sandbox"], "/run/netns/a");
        let addresses = Answer::parse(&told).unwrap().addresses;
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1", "::1"]);
        let before = json!({"cniVersion": "1.0.0", "ips": []});
        assert_eq!(answer("1.0.0", true, None, Some(&before)), before);
        let old = answer("0.2.0", false, None, None);
        assert_eq!(Answer::parse(&old).unwrap().addresses.len(), 1);
    }
}
