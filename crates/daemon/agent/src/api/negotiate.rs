//! Which format a call is in and which one its answer takes (rules 2 and 3).

use mezzo_http::{Bytes, HeaderMap, Method, Request, Response, StatusCode, StreamSender, header};
use mezzo_json::{FromJson, ToJson, protobuf::Described};
use prost::Message;

use super::CALL_BYTES_MAX;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const RECORDIO: &str = "application/recordio";
/// Format of the records of a streaming request.
const MESSAGE_CONTENT_TYPE: &str = "message-content-type";

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageType {
    /// Mesos' JSON.
    Json,
    /// Protobuf.
    Protobuf,
}

impl MessageType {
    /// As in headers.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    /// Writes a message.
    pub(crate) fn encode(self, message: &(impl ToJson + Message)) -> Vec<u8> {
        match self {
            Self::Json => mezzo_json::to_vec(message),
            Self::Protobuf => message.encode_to_vec(),
        }
    }

    /// 200 with a message.
    pub(crate) fn response(self, message: &(impl ToJson + Message)) -> Response {
        Response::content(self.content_type(), self.encode(message))
    }

    /// Reads a message, with Mesos' words for what is wrong with it.
    pub(crate) fn decode<T>(self, body: &[u8]) -> Result<T, Response>
    where
        T: FromJson + Message + Default + Described,
    {
        let text = match self {
            Self::Json => match mezzo_json::from_slice(body) {
                Ok(message) => return Ok(message),
                Err(error) => json_error(&error),
            },
            Self::Protobuf => match mezzo_json::protobuf::decode(body) {
                Ok(message) => return Ok(message),
                Err(_) => "Failed to parse body into a protobuf object".to_owned(),
            },
        };
        Err(bad_request(text))
    }
}

/// JSON that cannot be read and JSON that is not the message have different words.
fn json_error(error: &mezzo_json::Error) -> String {
    use mezzo_json::Error as E;
    match error {
        E::Syntax { .. } | E::Trailing { .. } | E::Utf8 { .. } => {
            format!("Failed to parse body into JSON: {error}")
        }
        _ => format!("Failed to convert JSON into Protobuf: {error}"),
    }
}

/// What an API takes and gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepts {
    /// Streams of records in requests and answers.
    pub(super) recordio: bool,
}

impl Accepts {
    fn words(self) -> &'static str {
        if self.recordio {
            "application/json or application/x-protobuf or application/recordio"
        } else {
            "application/json or application/x-protobuf"
        }
    }
}

/// A call's head that has been found in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The body's format; for a recordio body the format of its records.
    pub(super) sent: MessageType,
    /// The body is a stream of records.
    pub(super) streamed: bool,
}

/// Checks method and Content-Type, in this order.
pub(super) fn check_head(request: &Request, accepts: Accepts) -> Result<Head, Response> {
    if request.method != Method::POST {
        let method = &request.method;
        let text = format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
        return Err(Response::text(StatusCode::METHOD_NOT_ALLOWED, text).with(header::ALLOW, "POST"));
    }
    let Some(content_type) = request.header(header::CONTENT_TYPE) else {
        return Err(bad_request("Expecting 'Content-Type' to be present"));
    };
    let streamed = accepts.recordio && content_type == RECORDIO;
    let unsupported = |name: &str, words: &str| {
        let text = format!("Expecting '{name}' of {words}");
        Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
    };
    // Rule 43.
    let format = match (streamed, request.header(MESSAGE_CONTENT_TYPE)) {
        (true, Some(format)) => format,
        (true, None) => return Err(bad_request("Expecting 'Message-Content-Type' to be present")),
        (false, Some(_)) if accepts.recordio => {
            let text = "Expecting 'Message-Content-Type' to be not set for non-streaming requests";
            return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        (false, _) => content_type,
    };
    let sent = match format {
        JSON => MessageType::Json,
        PROTOBUF => MessageType::Protobuf,
        _ if streamed => return unsupported("Message-Content-Type", Accepts { recordio: false }.words()),
        _ => return unsupported("Content-Type", accepts.words()),
    };
    Ok(Head { sent, streamed })
}

/// The format of the answer: JSON before protobuf, whatever the client weighs (rule 2). The agent
/// also takes a client that wants a stream of records (rule 380).
pub(super) fn accepted(request: &Request, accepts: Accepts) -> Result<MessageType, Response> {
    preferred(&request.headers, accepts)
}

fn preferred(headers: &HeaderMap, accepts: Accepts) -> Result<MessageType, Response> {
    let allowed = |name| accept_allows(headers, "accept", name);
    if allowed(JSON) {
        Ok(MessageType::Json)
    } else if allowed(PROTOBUF) {
        Ok(MessageType::Protobuf)
    } else if accepts.recordio && allowed(RECORDIO) {
        // The format of the records in it.
        let json = accept_allows(headers, "message-accept", JSON);
        Ok(if json { MessageType::Json } else { MessageType::Protobuf })
    } else {
        let text = format!("Expecting 'Accept' to allow {}", accepts.words());
        Err(Response::text(StatusCode::NOT_ACCEPTABLE, text))
    }
}

/// Whether the client takes nothing but a stream of records (rule 44).
pub(super) fn only_streams(request: &Request) -> bool {
    !accept_allows(&request.headers, "accept", JSON) && !accept_allows(&request.headers, "accept", PROTOBUF)
}

/// A streamed answer: the sender of its records and their format. The answer's Content-Type names the
/// format, unless the client asked for a stream of records (rule 41).
pub(super) fn streamed(
    request: &Request,
    backlog_max: usize,
) -> Result<(StreamSender, MessageType, Response), Response> {
    let format = accepted(request, Accepts { recordio: true })?;
    if only_streams(request) {
        let (sender, response) = Response::stream(RECORDIO, backlog_max);
        let name = header::HeaderName::from_static("message-content-type");
        return Ok((sender, format, response.with(name, format.content_type())));
    }
    let (sender, response) = Response::stream(format.content_type(), backlog_max);
    Ok((sender, format, response))
}

/// Whether an Accept header allows a type. An absent one allows everything; an empty one nothing.
fn accept_allows(headers: &HeaderMap, name: &'static str, wanted: &str) -> bool {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let (group, _) = wanted.split_once('/').unwrap_or((wanted, ""));
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let range = pieces.next().unwrap_or_default();
        let refused = pieces
            .filter_map(|piece| piece.strip_prefix("q="))
            .any(|weight| weight.parse::<f64>().is_ok_and(|weight| weight <= 0.0));
        let matches = range == "*/*"
            || range.eq_ignore_ascii_case(wanted)
            || range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(group));
        matches && !refused
    })
}

/// Reads the whole body within the limit of calls.
pub(super) async fn body(request: &mut Request) -> Result<Bytes, Response> {
    request.bytes(CALL_BYTES_MAX).await.map_err(mezzo_http::BodyError::response)
}

/// 400 with a text.
pub(super) fn bad_request(text: impl Into<String>) -> Response {
    Response::text(StatusCode::BAD_REQUEST, text)
}

/// 400 for a call that lacks something.
pub(super) fn expecting(kind: &str, field: &str) -> Response {
    bad_request(format!("Failed to validate {kind}: Expecting '{field}' to be present"))
}

#[cfg(test)]
mod tests {
    use mezzo_http::header::HeaderValue;

    use super::*;

    /// What is answered to a client with these headers; nothing when it takes none of them.
    fn answered(headers: &[(&'static str, &'static str)], recordio: bool) -> Option<MessageType> {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        preferred(&headers, Accepts { recordio }).ok()
    }

    #[test]
    fn rule_380_json_goes_before_protobuf_and_protobuf_before_records() {
        let accept = |value| answered(&[("accept", value)], true);
        assert_eq!(answered(&[], true), Some(MessageType::Json));
        assert_eq!(accept("*/*"), Some(MessageType::Json));
        assert_eq!(
            accept("application/recordio, application/x-protobuf, application/json"),
            Some(MessageType::Json)
        );
        assert_eq!(accept("application/x-protobuf;q=0.9, application/json;q=0.1"), Some(MessageType::Json));
        assert_eq!(accept("application/recordio, application/x-protobuf"), Some(MessageType::Protobuf));
        // Last, and then the client says what the records are.
        assert_eq!(accept("application/recordio"), Some(MessageType::Json));
        let records = |kind| answered(&[("accept", "application/recordio"), ("message-accept", kind)], true);
        assert_eq!(records("application/json"), Some(MessageType::Json));
        assert_eq!(records("application/x-protobuf"), Some(MessageType::Protobuf));
        assert_eq!(accept("text/html"), None);
        assert_eq!(answered(&[("accept", "application/recordio")], false), None);
    }
}
