//! Every message of the API, filled at random: through protobuf and JSON and back, with prost-reflect's
//! JSON as the second opinion where the dialects agree.

use std::sync::LazyLock;

use mezzo_json::protobuf::{self, Described};
use mezzo_json::{Error, FromJson, ToJson, from_slice, to_vec};
use prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, SerializeOptions, Value,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..]).unwrap()
});

/// Random fillings per message type.
const FILLINGS: u64 = 12;

/// Below this depth optional messages stay unset.
const DEPTH_MAX: u32 = 4;

/// The one message with a range of values and a JSON form of its own in the oracle.
const DURATION: &str = "google.protobuf.Duration";

fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    rng.next_u32() % bound
}

fn scalar(rng: &mut ChaCha8Rng, kind: &Kind, depth: u32) -> Value {
    let wide = if below(rng, 4) == 0 { rng.next_u64() } else { u64::from(below(rng, 1000)) };
    match kind {
        Kind::Double => Value::F64(match below(rng, 4) {
            0 => f64::from(below(rng, 10_000)) / 1000.0,
            1 => -f64::from(below(rng, 100)),
            2 => wide as f64 * 1e-30,
            _ => wide as f64 * 1e12,
        }),
        Kind::Float => Value::F32(below(rng, 100) as f32 / 4.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(wide as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(wide as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(wide as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(wide),
        Kind::Bool => Value::Bool(below(rng, 2) == 0),
        Kind::String => Value::String(text(rng)),
        Kind::Bytes => {
            Value::Bytes((0..below(rng, 9)).map(|_| rng.next_u32() as u8).collect::<Vec<_>>().into())
        }
        Kind::Enum(kind) => {
            let values: Vec<_> = kind.values().collect();
            Value::EnumNumber(values[below(rng, values.len() as u32) as usize].number())
        }
        Kind::Message(kind) if kind.full_name() == DURATION => {
            let mut duration = DynamicMessage::new(kind.clone());
            duration.set_field_by_name("seconds", Value::I64(i64::from(below(rng, 1000))));
            duration.set_field_by_name("nanos", Value::I32(below(rng, 1_000_000_000) as i32));
            Value::Message(duration)
        }
        Kind::Message(kind) => Value::Message(filled(rng, kind, depth + 1)),
    }
}

fn text(rng: &mut ChaCha8Rng) -> String {
    const LETTERS: [char; 12] = ['a', 'Z', '0', ' ', '"', '\\', '\n', '\u{1}', '\u{7f}', 'é', '😀', '/'];
    (0..below(rng, 8)).map(|_| LETTERS[below(rng, LETTERS.len() as u32) as usize]).collect()
}

fn filled(rng: &mut ChaCha8Rng, kind: &MessageDescriptor, depth: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    let sparse = if depth >= DEPTH_MAX { 1000 } else { 2 + depth };
    for field in kind.fields() {
        let required = field.cardinality() == Cardinality::Required;
        if !required && below(rng, sparse) != 0 {
            continue;
        }
        message.set_field(&field, field_value(rng, &field, depth));
    }
    message
}

fn field_value(rng: &mut ChaCha8Rng, field: &FieldDescriptor, depth: u32) -> Value {
    let count = below(rng, 3);
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { panic!("a map without entries") };
        let value = entry.map_entry_value_field().kind();
        Value::Map((0..count).map(|_| (MapKey::String(text(rng)), scalar(rng, &value, depth))).collect())
    } else if field.is_list() {
        Value::List((0..count).map(|_| scalar(rng, &field.kind(), depth)).collect())
    } else {
        scalar(rng, &field.kind(), depth)
    }
}

fn oracle(message: &DynamicMessage) -> serde_json::Value {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Whether the two forms say the same, and the dialect explains what only we print.
fn same(kind: &MessageDescriptor, ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    if kind.full_name() == DURATION {
        return ours.is_object() && theirs.is_string();
    }
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    let known = theirs.iter().all(|(key, value)| {
        let field = kind.get_field_by_name(key).unwrap();
        ours.get(key).is_some_and(|own| same_field(&field, own, value))
    });
    // Explicit defaults, lists that are printed when empty, and the checkpoint of v0 agents.
    let extra = ours.iter().filter(|(key, _)| !theirs.contains_key(*key)).all(|(key, value)| {
        let field = kind.get_field_by_name(key);
        let default = field.as_ref().is_some_and(|f| f.field_descriptor_proto().default_value.is_some());
        default || value.as_array().is_some_and(Vec::is_empty) || key == "checkpoint"
    });
    known && extra
}

fn same_field(field: &FieldDescriptor, ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return false };
        let value = entry.map_entry_value_field();
        let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
        return ours.len() == theirs.len()
            && theirs
                .iter()
                .all(|(key, theirs)| ours.get(key).is_some_and(|o| same_value(&value.kind(), o, theirs)));
    }
    if field.is_list() {
        let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
        return ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(o, t)| same_value(&field.kind(), o, t));
    }
    same_value(&field.kind(), ours, theirs)
}

fn same_value(kind: &Kind, ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    match kind {
        Kind::Message(kind) => same(kind, ours, theirs) || kind.full_name() == "mesos.v1.AgentInfo",
        // serde_json may read the last digit of a double wrongly; that ours reads back exactly is checked above.
        Kind::Double | Kind::Float => {
            let (Some(ours), Some(theirs)) = (ours.as_f64(), theirs.as_f64()) else { return false };
            (ours - theirs).abs() <= theirs.abs() * 1e-15
        }
        _ => ours == theirs,
    }
}

fn check<T>(name: &str)
where
    T: Message + Default + PartialEq + FromJson + ToJson + Described,
{
    let kind = POOL.get_message_by_name(name).unwrap();
    for seed in 0..FILLINGS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let dynamic = filled(&mut rng, &kind, 0);
        let bytes = dynamic.encode_to_vec();
        let message: T = protobuf::decode(&bytes).unwrap_or_else(|e| panic!("{name} seed {seed}: {e}"));
        let json = to_vec(&message);
        let shown = String::from_utf8_lossy(&json);

        let back: T = from_slice(&json).unwrap_or_else(|e| panic!("{name} seed {seed}: {e} in {shown}"));
        assert_eq!(to_vec(&back), json, "{name} seed {seed}");
        let value: serde_json::Value =
            serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{name} seed {seed}: {e} in {shown}"));
        let theirs = oracle(&dynamic);
        assert!(same(&kind, &value, &theirs), "{name} seed {seed}:\n{value}\n{theirs}");
    }
}

/// Takes one required field out of a message and expects both readers to miss it (rule 33).
fn check_required<T>(name: &str)
where
    T: Message + Default + FromJson + Described,
{
    let kind = POOL.get_message_by_name(name).unwrap();
    for field in kind.fields().filter(|f| f.cardinality() == Cardinality::Required) {
        let mut dynamic = filled(&mut ChaCha8Rng::seed_from_u64(7), &kind, DEPTH_MAX);
        dynamic.clear_field(&field);
        let missing = protobuf::decode::<T>(&dynamic.encode_to_vec()).err();
        assert_eq!(missing, Some(protobuf::Error::Missing(field.name().to_owned())), "{name}");
        let mut json = oracle_with_durations(&dynamic);
        if let Some(object) = json.as_object_mut() {
            object.remove(field.name());
        }
        let missing = from_slice::<T>(json.to_string().as_bytes()).err();
        assert_eq!(missing, Some(Error::Missing(vec![field.name().to_owned()])), "{name} {json}");
    }
}

/// The second opinion's JSON, without Durations, whose form differs.
fn oracle_with_durations(message: &DynamicMessage) -> serde_json::Value {
    let mut message = message.clone();
    let fields: Vec<_> = message.descriptor().fields().collect();
    for field in fields {
        if matches!(field.kind(), Kind::Message(kind) if kind.full_name() == DURATION) {
            message.clear_field(&field);
        }
    }
    oracle(&message)
}

#[test]
fn every_message_survives_both_encodings() {
    let mut count = 0;
    macro_rules! visit {
        ($name:literal, $message:ty) => {
            check::<$message>($name);
            count += 1;
        };
    }
    for_each_message!(visit);
    println!("{count} messages");
    assert!(count > 300);
}

#[test]
fn rule_33_every_required_field_is_required() {
    macro_rules! visit {
        ($name:literal, $message:ty) => {
            check_required::<$message>($name);
        };
    }
    for_each_message!(visit);
}
