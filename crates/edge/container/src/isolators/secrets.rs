//! environment_secret and volume/secret. What a secret holds comes with the task; nothing here looks one up
//! that is only named.

use mezzo_mesos::v1::{CommandInfo, Secret, environment::variable, secret};

pub(super) const ENVIRONMENT: &str = "environment_secret";
pub(super) const VOLUME: &str = "volume/secret";

/// The variables of a command that are secrets.
pub(super) fn variables(command: &CommandInfo, isolator: bool) -> Result<Vec<(String, String)>, String> {
    let all = command.environment.iter().flat_map(|environment| &environment.variables);
    let secrets = all.filter(|variable| variable.r#type() == variable::Type::Secret);
    let value = |variable: &mezzo_mesos::v1::environment::Variable| {
        let name = &variable.name;
        if !isolator {
            return Err(format!(
                "Environment variable '{name}' is a secret, which needs the isolator '{ENVIRONMENT}'"
            ));
        }
        let content = variable.secret.as_ref().ok_or_else(|| "it has none".to_owned()).and_then(content);
        let text = content.and_then(|content| {
            String::from_utf8(content.to_vec()).map_err(|_| "it is not text in UTF-8".to_owned())
        });
        let text = text.map_err(|why| format!("Secret of environment variable '{name}': {why}"))?;
        Ok((name.clone(), text))
    };
    secrets.map(value).collect()
}

/// What a secret holds.
pub(super) fn content(secret: &Secret) -> Result<&[u8], String> {
    match (secret.r#type(), &secret.value) {
        (secret::Type::Value, Some(value)) => Ok(&value.data),
        (secret::Type::Reference, _) => {
            Err("it is a reference, and there is no store of secrets that could resolve it".to_owned())
        }
        _ => Err("it has no value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::{Environment, environment::Variable};

    use super::*;

    fn secret(kind: secret::Type, data: &[u8]) -> Secret {
        let value = (kind == secret::Type::Value).then(|| secret::Value { data: data.to_vec() });
        Secret { r#type: Some(kind as i32), reference: None, value }
    }

    fn command(secret: Secret) -> CommandInfo {
        let plain = Variable { name: "P".into(), value: Some("v".into()), ..Variable::default() };
        let hidden = Variable {
            name: "S".into(),
            r#type: Some(variable::Type::Secret as i32),
            secret: Some(secret),
            ..Variable::default()
        };
        CommandInfo {
            environment: Some(Environment { variables: vec![plain, hidden] }),
            ..CommandInfo::default()
        }
    }

    #[test]
    fn variables_that_are_secrets_have_their_values() {
        let command = command(secret(secret::Type::Value, b"hush"));
        assert_eq!(variables(&command, true).unwrap(), [("S".to_owned(), "hush".to_owned())]);
        assert!(variables(&command, false).unwrap_err().contains("environment_secret"));
        assert!(variables(&CommandInfo::default(), false).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_told_is_refused_by_name() {
        for (secret, why) in [
            (secret(secret::Type::Reference, b""), "reference"),
            (secret(secret::Type::Value, b"\xff"), "UTF-8"),
            (Secret::default(), "no value"),
        ] {
            let error = variables(&command(secret), true).unwrap_err();
            assert!(error.contains("'S'") && error.contains(why), "{error}");
        }
    }
}
