//! JSON or protobuf: what a request is in, and what its answer may be in.

use mezzo_http::{Bytes, Request, Response, StatusCode, header};
use mezzo_json::{FromJson, ToJson, protobuf::Described};

/// One of the two forms of every v1 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// application/json
    Json,
    /// application/x-protobuf
    Protobuf,
}

impl Format {
    /// As in Content-Type and Accept.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// The form of a request's body. Compared as an exact text (rule 3).
    pub(crate) fn of_body(request: &Request) -> Result<Self, Response> {
        match request.header(header::CONTENT_TYPE) {
            None => Err(Response::text(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present")),
            Some("application/json") => Ok(Self::Json),
            Some("application/x-protobuf") => Ok(Self::Protobuf),
            Some(_) => Err(Response::text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Expecting 'Content-Type' of application/json or application/x-protobuf",
            )),
        }
    }

    /// The form of the answer. JSON wins over protobuf whatever the q values (rule 2).
    pub(crate) fn accepted(request: &Request) -> Result<Self, Response> {
        // No header is the same as any type.
        let accept = request.header(header::ACCEPT).unwrap_or("*/*");
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|format| accepts(accept, format.content_type()))
            .ok_or_else(|| {
                Response::text(
                    StatusCode::NOT_ACCEPTABLE,
                    "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
                )
            })
    }

    /// Reads a call.
    pub(crate) fn decode<T>(self, body: &[u8]) -> Result<T, Response>
    where
        T: FromJson + prost::Message + Default + Described,
    {
        match self {
            Self::Json => mezzo_json::from_slice(body).map_err(|error| error.call_text()),
            Self::Protobuf => mezzo_json::protobuf::decode(body)
                .map_err(|_| "Failed to parse body into Call protobuf".to_owned()),
        }
        .map_err(|text| Response::text(StatusCode::BAD_REQUEST, text))
    }

    /// Writes a message.
    pub(crate) fn encode<T: ToJson + prost::Message>(self, message: &T) -> Vec<u8> {
        match self {
            Self::Json => mezzo_json::to_vec(message),
            Self::Protobuf => message.encode_to_vec(),
        }
    }

    /// Writes a message as one record of a stream.
    pub(crate) fn record<T: ToJson + prost::Message>(self, message: &T) -> Bytes {
        match self {
            Self::Json => mezzo_recordio::record(&mezzo_json::to_vec(message)).into(),
            Self::Protobuf => {
                let length = message.encoded_len();
                let prefix = length.to_string();
                let mut record = Vec::with_capacity(prefix.len() + 1 + length);
                record.extend_from_slice(prefix.as_bytes());
                record.push(b'\n');
                message.encode_raw(&mut record);
                record.into()
            }
        }
    }
}

fn accepts(header: &str, wanted: &str) -> bool {
    header.split(',').any(|entry| {
        let name = entry.split(';').next().unwrap_or_default().trim();
        name == "*/*" || name == "application/*" || name == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        for json in ["*/*", "application/*", "text/html, application/json;q=0.1", "application/json"] {
            assert!(accepts(json, "application/json"), "{json}");
        }
        for none in ["", "text/html", "application/jsonx"] {
            assert!(!accepts(none, "application/json"), "{none}");
        }
    }
}
