//! The text of --attributes.

use mezzo_mesos::v1::{self, value};

use crate::{
    ParseError, Value,
    parse::{Parsed, parse_value},
};

/// Reads `name:value;name:value` (a newline also separates). A name may repeat; sets are refused
/// (rule 444).
pub fn parse_attributes(text: &str) -> Result<Vec<v1::Attribute>, ParseError> {
    let mut all = Vec::new();
    for part in text.split([';', '\n']).filter(|part| !part.is_empty()) {
        let (name, value) = part
            .split_once(':')
            .ok_or_else(|| ParseError::new(part, "expected a name, a colon and a value"))?;
        if name.is_empty() || value.is_empty() {
            return Err(ParseError::new(part, "name and value must not be empty"));
        }
        let mut attribute = v1::Attribute { name: name.into(), ..v1::Attribute::default() };
        match parse_value(value)? {
            Parsed::Value(Value::Scalar(amount)) => {
                attribute.set_type(value::Type::Scalar);
                attribute.scalar = Some(value::Scalar { value: amount.as_f64() });
            }
            Parsed::Value(Value::Ranges(ranges)) => {
                attribute.set_type(value::Type::Ranges);
                let range = ranges.iter().map(|(begin, end)| value::Range { begin, end }).collect();
                attribute.ranges = Some(value::Ranges { range });
            }
            Parsed::Value(Value::Set(_)) => {
                return Err(ParseError::new(part, "an attribute cannot be a set"));
            }
            Parsed::Text(text) => {
                attribute.set_type(value::Type::Text);
                attribute.text = Some(value::Text { value: text });
            }
        }
        all.push(attribute);
    }
    Ok(all)
}
