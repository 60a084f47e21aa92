//! The tokens by which custom executors show who they are (rules 451, 452, 456 and 461).

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use mezzo_agent::ExecutorClaims;
use mezzo_http::{Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The variable an executor finds its token in (rule 294).
pub(crate) const VARIABLE: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";
/// Keys are some dozens of bytes; whoever names a larger file has named a wrong one.
const KEY_BYTES_MAX: u64 = 64 * 1024;
const REALM: &str = "mesos-agent-executor";

/// Makes tokens and reads them back.
pub(crate) struct ExecutorTokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

/// What a token says, by Mesos' names.
#[derive(Serialize, Deserialize)]
struct Claims {
    fid: String,
    eid: String,
    cid: String,
}

impl ExecutorTokens {
    /// With the key in a file, all bytes of it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("read '{}': {error}", path.display());
        let about = fs::metadata(path).map_err(failed)?;
        if about.len() == 0 || about.len() > KEY_BYTES_MAX {
            return Err(format!(
                "'{}' has {} bytes, a key has 1 to {KEY_BYTES_MAX}",
                path.display(),
                about.len()
            ));
        }
        if about.permissions().mode() & 0o077 != 0 {
            warn!(path = %path.display(), "others than its owner may read the key of executor tokens");
        }
        Ok(Self::new(&fs::read(path).map_err(failed)?))
    }

    fn new(key: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // A token need not expire; one that says when is held to it.
        validation.required_spec_claims.clear();
        validation.validate_exp = true;
        validation.leeway = 0;
        validation.validate_aud = false;
        Self { signing: EncodingKey::from_secret(key), checking: DecodingKey::from_secret(key), validation }
    }

    /// The token of one run of an executor.
    pub(crate) fn issue(&self, of: &ExecutorClaims) -> Result<String, String> {
        let claims = Claims {
            fid: of.framework.to_string(),
            eid: of.executor.to_string(),
            cid: of.container.to_string(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|error| error.to_string())
    }

    /// Who sends a request with this Authorization header, or the answer to it.
    pub(crate) fn check(&self, authorization: Option<&str>) -> Result<ExecutorClaims, Response> {
        let Some(authorization) = authorization else { return Err(unauthorized(None)) };
        let token = match authorization.split(' ').collect::<Vec<_>>()[..] {
            ["Bearer", token] => token,
            [scheme, _] => return Err(unauthorized(Some(format!("Scheme '{scheme}' unrecognized")))),
            _ => return Err(unauthorized(Some("Malformed 'Authorization' header".into()))),
        };
        self.parse(token).map_err(|why| unauthorized(Some(format!("Invalid JWT: {why}"))))
    }

    fn parse(&self, token: &str) -> Result<ExecutorClaims, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if header.crit.is_some() {
            return Err("Header 'crit' is not supported".into());
        }
        let token = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation)
            .map_err(|error| error.to_string())?;
        Ok(ExecutorClaims {
            framework: token.claims.fid.as_str().into(),
            executor: token.claims.eid.as_str().into(),
            container: token.claims.cid.as_str().into(),
        })
    }
}

/// 401 with the challenge of rule 461.
fn unauthorized(why: Option<String>) -> Response {
    let mut challenge = format!("Bearer realm=\"{REALM}\"");
    if let Some(why) = why {
        // Part of a quoted text in a header: what it cannot hold is not needed to understand it.
        let why: String = why.chars().filter(|c| matches!(c, ' '..='~') && *c != '"' && *c != '\\').collect();
        challenge += &format!(", error=\"invalid_token\", error_description=\"{why}\"");
    }
    Response::text(StatusCode::UNAUTHORIZED, "401 Unauthorized.").with(header::WWW_AUTHENTICATE, &challenge)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims() -> ExecutorClaims {
        ExecutorClaims { framework: "f".into(), executor: "e".into(), container: "c".into() }
    }

    fn challenge(response: &Response) -> String {
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        let value = response.headers.get(header::WWW_AUTHENTICATE).expect("a challenge");
        value.to_str().expect("text").to_owned()
    }

    fn refusal(tokens: &ExecutorTokens, authorization: Option<&str>) -> String {
        challenge(&tokens.check(authorization).expect_err("refused"))
    }

    fn signed(header: &Header, claims: &serde_json::Value) -> String {
        let token = jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(b"key")).expect("token");
        format!("Bearer {token}")
    }

    #[test]
    fn rule_451_a_token_names_framework_executor_and_container() {
        let tokens = ExecutorTokens::new(b"key");
        let token = tokens.issue(&claims()).expect("issued");
        assert_eq!(jsonwebtoken::decode_header(&token).expect("header").alg, Algorithm::HS256);
        assert_eq!(tokens.check(Some(&format!("Bearer {token}"))).ok(), Some(claims()));
    }

    #[test]
    fn rule_461_what_is_wrong_with_a_request_without_a_good_token() {
        let tokens = ExecutorTokens::new(b"key");
        assert_eq!(refusal(&tokens, None), r#"Bearer realm="mesos-agent-executor""#);
        for wrong in
            ["Bearer", "Bearer  x", "Bearer a b", "bearer x", "Basic x", "Bearer x", "Bearer \"a\u{e9}.b.c"]
        {
            let told = refusal(&tokens, Some(wrong));
            assert!(told.contains(r#", error="invalid_token", error_description=""#), "{wrong}: {told}");
        }
        // Rule 460.
        assert!(refusal(&tokens, Some("bearer x")).contains("Scheme 'bearer' unrecognized"));
    }

    #[test]
    fn rule_456_which_tokens_are_valid() {
        let tokens = ExecutorTokens::new(b"key");
        let good = json!({"fid": "f", "eid": "e", "cid": "c"});
        let header = Header::new(Algorithm::HS256);
        assert!(tokens.check(Some(&signed(&header, &good))).is_ok());
        let with = |key: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[key] = value;
            signed(&header, &claims)
        };
        assert!(tokens.check(Some(&with("exp", json!(4_000_000_000_u64)))).is_ok());
        let other = ExecutorTokens::new(b"other key").issue(&claims()).expect("issued");
        let critical = Header { crit: Some(vec!["exp".into()]), ..header.clone() };
        for wrong in [
            with("exp", json!(1_000_000_000)),
            with("exp", json!("never")),
            signed(&header, &json!({})),
            signed(&critical, &good),
            signed(&Header::new(Algorithm::HS512), &good),
            format!("Bearer {other}"),
            format!("{}.x", signed(&header, &good)),
            // {"alg":"none"} and no signature.
            "Bearer eyJhbGciOiJub25lIn0.eyJmaWQiOiJmIiwiZWlkIjoiZSIsImNpZCI6ImMifQ.".into(),
        ] {
            assert!(tokens.check(Some(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_a_file_with_something_in_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        assert!(ExecutorTokens::read(&path).err().expect("missing").contains("key"));
        fs::write(&path, "").expect("written");
        assert!(ExecutorTokens::read(&path).err().expect("empty").contains("0 bytes"));
        fs::write(&path, "secret").expect("written");
        assert!(ExecutorTokens::read(&path).is_ok());
    }
}
