//! Names of roles (rule 78).

/// A full role path, or `*`.
pub fn role(text: &str) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    if text.is_empty() {
        return Err("Empty role name is invalid".into());
    }
    if text.starts_with('/') {
        return Err(format!("Role '{text}' cannot start with a slash"));
    }
    if text.ends_with('/') {
        return Err(format!("Role '{text}' cannot end with a slash"));
    }
    if text.contains("//") {
        return Err(format!("Role '{text}' cannot contain two adjacent slashes"));
    }
    for component in text.split('/') {
        if matches!(component, "." | ".." | "*") {
            return Err(format!("Role '{text}' cannot include '{component}' as a component"));
        }
        if component.starts_with('-') {
            return Err(format!("Role component '{component}' is invalid because it begins with a dash"));
        }
        if component.contains(|c: char| matches!(c, '\t'..='\r' | ' ' | '\u{8}' | '\u{7f}')) {
            return Err(format!(
                "Role component '{component}' is invalid because it contains backspace or whitespace"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_78_roles() {
        for good in ["*", "a", "a/b/c", "a-b", "ä"] {
            assert_eq!(role(good), Ok(()), "{good}");
        }
        let bad = [
            ("/bad", "Role '/bad' cannot start with a slash"),
            ("a/..", "Role 'a/..' cannot include '..' as a component"),
            ("a/*", "Role 'a/*' cannot include '*' as a component"),
            ("a b", "Role component 'a b' is invalid because it contains backspace or whitespace"),
            ("a/-b", "Role component '-b' is invalid because it begins with a dash"),
            ("a/", "Role 'a/' cannot end with a slash"),
            ("a//b", "Role 'a//b' cannot contain two adjacent slashes"),
        ];
        for (text, message) in bad {
            assert_eq!(role(text), Err(message.to_owned()));
        }
        assert!(role("").is_err());
    }
}
