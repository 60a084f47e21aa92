//! How an upgrade of an app is tried first.

use mezzo_document::{Kind, Problem, Section};
use serde_json::{Map, Value, json};

/// `canary = { instances = "10%", hold = "6m", check = "http://metrics/ok" }`
pub(crate) fn read(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<(), Problem> {
    let Some(table) = section.table("canary", "{ instances = \"10%\", hold = \"6m\" }")? else {
        return Ok(());
    };
    let mut canary = Map::new();
    if let Some(size) = size(&table)? {
        canary.insert("instances".into(), size);
    }
    for (key, field, example) in
        [("hold", "holdSeconds", "\"6m\""), ("deadline", "deadlineSeconds", "\"10m\"")]
    {
        if let Some(time) = table.duration(key, example)? {
            canary.insert(field.into(), json!(time.value.as_secs()));
        }
    }
    if let Some(failures) = table.whole("max_failures", 0..=1_000_000, "1")? {
        canary.insert("maxFailures".into(), json!(failures.value));
    }
    if let Some(check) = check(&table)? {
        canary.insert("check".into(), check);
    }
    if let Some(what) = table.word("on_failure", &["rollback", "stop"])? {
        canary.insert("onFailure".into(), json!(what.value));
    }
    table.end()?;
    app.insert("canary".into(), Value::Object(canary));
    Ok(())
}

fn size(table: &Section<'_>) -> Result<Option<Value>, Problem> {
    if table.kind("instances") == Some(Kind::Number) {
        let count = table.whole("instances", 1..=u64::from(u32::MAX >> 1), "1 or \"10%\"")?;
        return Ok(count.map(|count| json!(count.value)));
    }
    let Some(text) = table.text("instances", "\"10%\"")? else { return Ok(None) };
    let share = text.value.strip_suffix('%').and_then(|digits| digits.trim_end().parse::<u32>().ok());
    match share {
        Some(share @ 1..=100) => Ok(Some(json!(format!("{share}%")))),
        _ => {
            let what = format!("{}: \"{}\" is no share of the instances", table.name, text.value);
            Err(table
                .wrong(text.span, what, "expected a number of instances, or a share from \"1%\" to \"100%\"")
                .help("for example  instances = \"10%\""))
        }
    }
}

/// An address, or a table with the times.
fn check(table: &Section<'_>) -> Result<Option<Value>, Problem> {
    const EXAMPLE: &str = "{ url = \"http://metrics:9090/ok\", every = \"10s\", timeout = \"5s\" }";
    if table.kind("check") != Some(Kind::Table) {
        return Ok(table.text("check", "\"http://metrics:9090/ok\"")?.map(|url| json!({ "url": url.value })));
    }
    let Some(check) = table.table("check", EXAMPLE)? else { return Ok(None) };
    let url = check.text("url", "\"http://metrics:9090/ok\"")?;
    let url = check.need("url", url, "the address that answers 200 to 299", "\"http://metrics:9090/ok\"")?;
    let mut value = Map::from_iter([("url".to_owned(), json!(url.value))]);
    for (key, field, example) in
        [("every", "intervalSeconds", "\"10s\""), ("timeout", "timeoutSeconds", "\"5s\"")]
    {
        if let Some(time) = check.duration(key, example)? {
            value.insert(field.into(), json!(time.value.as_secs()));
        }
    }
    check.end()?;
    Ok(Some(Value::Object(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Form, read};

    fn canary(text: &str) -> Result<Value, String> {
        let text = format!("[app.web]\ncmd = \"x\"\ncanary = {text}\n");
        let entries = read("shop.toml", &text, Form::Toml, "/srv");
        entries
            .map(|mut entries| entries.remove(0).value["canary"].take())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn canaries_in_their_forms() {
        assert_eq!(canary("{}"), Ok(json!({})));
        assert_eq!(
            canary(
                "{ instances = \"10%\", hold = \"6m\", deadline = \"90s\", max_failures = 2, on_failure = \"stop\" }"
            ),
            Ok(json!({
                "instances": "10%", "holdSeconds": 360, "deadlineSeconds": 90, "maxFailures": 2, "onFailure": "stop",
            }))
        );
        let check = json!({ "instances": 2, "check": { "url": "http://m/ok" } });
        assert_eq!(canary("{ instances = 2, check = \"http://m/ok\" }"), Ok(check));
        let check = json!({ "check": { "url": "http://m/ok", "intervalSeconds": 3 } });
        assert_eq!(canary("{ check = { url = \"http://m/ok\", every = \"3s\" } }"), Ok(check));
        for (bad, words) in [
            ("{ instances = \"0%\" }", "is no share of the instances"),
            ("{ instances = 0 }", "instances"),
            ("{ on_failure = \"retry\" }", "on_failure"),
            ("{ holds = \"1m\" }", "holds"),
        ] {
            let told = canary(bad).expect_err(bad);
            assert!(told.contains(words), "{told}");
        }
    }
}
