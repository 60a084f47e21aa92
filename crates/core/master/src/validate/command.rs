//! Commands and their environment (rule 173).

use mezzo_mesos::v1::{self, environment::variable, secret};

pub(super) fn command(command: &v1::CommandInfo) -> Result<(), String> {
    command.environment.as_ref().map_or(Ok(()), environment)
}

fn environment(environment: &v1::Environment) -> Result<(), String> {
    for variable in &environment.variables {
        let name = &variable.name;
        match variable.r#type() {
            variable::Type::Unknown => {
                return Err("Environment variable of type 'UNKNOWN' is not allowed".into());
            }
            variable::Type::Value => {
                if variable.value.is_none() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must have a value set"
                    ));
                }
                if variable.secret.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                    ));
                }
            }
            variable::Type::Secret => {
                let Some(secret) = &variable.secret else {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must have a secret set"
                    ));
                };
                if variable.value.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must not have a value set"
                    ));
                }
                self::secret(secret).map_err(|why| {
                    format!("Environment variable '{name}' specifies an invalid secret: {why}")
                })?;
                if secret.value.as_ref().is_some_and(|value| value.data.contains(&0)) {
                    return Err(format!(
                        "Environment variable '{name}' specifies a secret containing null bytes, \
                         which is not allowed in the environment"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A secret holds exactly what its type says.
pub(super) fn secret(secret: &v1::Secret) -> Result<(), String> {
    match secret.r#type() {
        secret::Type::Unknown => Err("Secret of type UNKNOWN is not allowed".into()),
        secret::Type::Reference if secret.reference.is_none() => {
            Err("Secret of type REFERENCE must have the 'reference' field set".into())
        }
        secret::Type::Reference if secret.value.is_some() => {
            Err("Secret of type REFERENCE must not have the 'value' field set".into())
        }
        secret::Type::Value if secret.value.is_none() => {
            Err("Secret of type VALUE must have the 'value' field set".into())
        }
        secret::Type::Value if secret.reference.is_some() => {
            Err("Secret of type VALUE must not have the 'reference' field set".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variable: v1::environment::Variable) -> v1::CommandInfo {
        let environment = Some(v1::Environment { variables: vec![variable] });
        v1::CommandInfo { environment, ..Default::default() }
    }

    fn variable(r#type: Option<variable::Type>) -> v1::environment::Variable {
        let r#type = r#type.map(Into::into);
        v1::environment::Variable { name: "A".into(), r#type, ..Default::default() }
    }

    #[test]
    fn rule_173_environment_variables() {
        let secret = variable(Some(variable::Type::Secret));
        let message = "Environment variable 'A' of type 'SECRET' must have a secret set";
        assert_eq!(command(&with(secret.clone())), Err(message.into()));
        assert!(command(&with(variable(None))).is_err());
        assert!(command(&with(variable(Some(variable::Type::Unknown)))).is_err());
        let plain = v1::environment::Variable { value: Some("x".into()), ..variable(None) };
        assert_eq!(command(&with(plain)), Ok(()));
        let holding = |data: &[u8]| v1::environment::Variable {
            secret: Some(v1::Secret {
                r#type: Some(secret::Type::Value.into()),
                value: Some(v1::secret::Value { data: data.to_vec() }),
                ..Default::default()
            }),
            ..secret.clone()
        };
        assert_eq!(command(&with(holding(b"x"))), Ok(()));
        assert!(command(&with(holding(b"x\0y"))).is_err());
    }
}
