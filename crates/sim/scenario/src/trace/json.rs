//! Traces with one JSON object a line.

use std::io::BufRead;

use serde_json::Value;

use super::{Field, Problem, Reader, Row};

impl<R: BufRead> Reader<'_, R> {
    pub(super) fn json(&mut self, first: String) -> Result<(), Problem> {
        let mut next = Some(first);
        while let Some(line) = next {
            let fields = self.object(&line)?;
            self.take(&Row { line: &line, fields })?;
            next = self.lines.next_full()?;
        }
        Ok(())
    }

    fn object(&self, line: &str) -> Result<Vec<(&'static str, Field)>, Problem> {
        let example = "{\"submit\": 0, \"duration\": 60, \"cpus\": 1, \"mem\": 512}";
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let bytes = line.char_indices().take_while(|(at, _)| at + 1 < error.column()).count();
            let field = Field { text: String::new(), column: bytes + 1, length: 1 };
            self.wrong(line, &field, format!("the line is not JSON: {error}"), "an object", example)
        })?;
        let whole = Field { text: String::new(), column: 1, length: line.chars().count() };
        let Value::Object(object) = value else {
            let what = "the line is no object".to_owned();
            return Err(self.wrong(line, &whole, what, "an object", example));
        };
        let mut fields = Vec::new();
        for (key, value) in object {
            // The key where it is written; a key written with escapes is shown as the whole line.
            let written = line.find(&format!("\"{key}\"")).map(|at| line[..at].chars().count() + 1);
            let place = Field {
                text: key.clone(),
                column: written.unwrap_or(1),
                length: written.map_or(whole.length, |_| key.chars().count() + 2),
            };
            let column = self.column(line, &place)?;
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    let what = format!("'{column}' is a list or an object");
                    return Err(self.wrong(line, &place, what, "a number or a text", example));
                }
            };
            fields.push((column, Field { text, ..place }));
        }
        Ok(fields)
    }
}
