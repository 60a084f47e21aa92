//! What constraints look at: host, region, zone and attributes of an agent, as texts.

use std::borrow::Cow;

use mezzo_mesos::v1::{self, value};
use mezzo_services_model::AgentRef;

/// The text of an agent under a constraint's field; none when it has nothing of the name (rule 106).
pub(super) fn of<'a>(agent: &'a AgentRef, field: &str) -> Option<Cow<'a, str>> {
    match field {
        "hostname" | "@hostname" => Some(Cow::Borrowed(&agent.host)),
        "@region" => agent.region.as_deref().map(Cow::Borrowed),
        "@zone" => agent.zone.as_deref().map(Cow::Borrowed),
        name => agent.attributes.iter().find(|attribute| attribute.name == name).map(text),
    }
}

/// An attribute's value as text (rule 119).
fn text(attribute: &v1::Attribute) -> Cow<'_, str> {
    match attribute.r#type() {
        value::Type::Text => Cow::Borrowed(attribute.text.as_ref().map_or("", |text| &text.value)),
        value::Type::Scalar => {
            Cow::Owned(decimal(attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value)))
        }
        value::Type::Ranges => {
            let mut ranges: Vec<(u64, u64)> = attribute
                .ranges
                .iter()
                .flat_map(|ranges| &ranges.range)
                .map(|range| (range.begin, range.end))
                .collect();
            ranges.sort_unstable();
            let ranges: Vec<String> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
            Cow::Owned(format!("[{}]", ranges.join(",")))
        }
        value::Type::Set => {
            let mut items: Vec<&str> =
                attribute.set.iter().flat_map(|set| &set.item).map(String::as_str).collect();
            items.sort_unstable();
            Cow::Owned(format!("{{{}}}", items.join(",")))
        }
    }
}

/// A number with at most three decimals and no zeros behind them; halves go to the even neighbour.
fn decimal(number: f64) -> String {
    let thousandths = (number * 1000.0).round_ties_even();
    // Without the sum a tiny negative number would be written as -0.
    format!("{}", thousandths / 1000.0 + 0.0)
}

/// Whether a value is the one that is asked for; a number may be written in several ways (rule 118).
pub(super) fn is(value: &str, wanted: &str) -> bool {
    value == wanted
        || wanted.parse::<f64>().is_ok_and(|number| {
            number.is_finite() && value.starts_with(is_of_number) && decimal(number) == value
        })
}

fn is_of_number(first: char) -> bool {
    first == '-' || first.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use mezzo_resources::parse_attributes;

    use super::*;

    fn agent() -> AgentRef {
        let set = v1::Attribute {
            name: "set".into(),
            r#type: value::Type::Set as i32,
            set: Some(value::Set { item: vec!["b".into(), "a".into()] }),
            ..Default::default()
        };
        let mut attributes =
            parse_attributes("rack:r1;level:4.0005;half:1.2505;whole:3;ports:[7-9,1-2];rack:r2").unwrap();
        attributes.push(set);
        AgentRef {
            id: "a1".into(),
            host: "h1".into(),
            region: Some("eu".into()),
            zone: Some("eu-1".into()),
            attributes,
        }
    }

    #[test]
    fn marathon_rules_106_and_119_fields_and_their_texts() {
        let agent = agent();
        for (field, wanted) in [
            ("hostname", Some("h1")),
            ("@hostname", Some("h1")),
            ("@region", Some("eu")),
            ("@zone", Some("eu-1")),
            ("rack", Some("r1")),
            ("whole", Some("3")),
            ("ports", Some("[1-2,7-9]")),
            ("set", Some("{a,b}")),
            ("missing", None),
            ("region", None),
        ] {
            assert_eq!(of(&agent, field).as_deref(), wanted, "{field}");
        }
        for (number, wanted) in [
            (0.0, "0"),
            (-0.0001, "0"),
            (2.5, "2.5"),
            (1.23456, "1.235"),
            (100_000.0, "100000"),
            (-1.5, "-1.5"),
            (0.0625, "0.062"),
        ] {
            assert_eq!(decimal(number), wanted);
        }
    }

    #[test]
    fn marathon_rule_118_numbers_are_equal_however_they_are_written() {
        for (value, wanted, equal) in [
            ("r1", "r1", true),
            ("r1", "r2", false),
            ("1.5", "1.50", true),
            ("1", "1.0001", true),
            ("1", "1.001", false),
            ("nan", "NaN", false),
            ("", "", true),
        ] {
            assert_eq!(is(value, wanted), equal, "{value} {wanted}");
        }
    }
}
