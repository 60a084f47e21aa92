//! Generates, from the descriptors of `model/mesos`, how every message is read from JSON, written as
//! JSON, and which required fields its protobuf form must have.
//!
//! One `impl` per message and direction; everything that does not depend on the message lives in
//! `src/reader.rs`, `src/writer.rs` and `src/protobuf.rs`, so the generated lines are calls.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};

const PROTO_ROOT: &str = "../../model/mesos/proto";

/// Lists that Mesos' own writers of large answers print even when they are empty (as recorded).
const PRINTED_WHEN_EMPTY: &[(&str, &[&str])] = &[
    (".mesos.v1.master.Response.GetFrameworks", &["frameworks", "completed_frameworks"]),
    (".mesos.v1.master.Response.GetTasks", &["tasks", "unreachable_tasks", "completed_tasks"]),
    (".mesos.v1.master.Response.GetExecutors", &["executors"]),
    (".mesos.v1.master.Response.GetAgents", &["agents", "recovered_agents"]),
    (".mesos.v1.agent.Response.GetFrameworks", &["frameworks", "completed_frameworks"]),
    (
        ".mesos.v1.agent.Response.GetTasks",
        &["pending_tasks", "queued_tasks", "launched_tasks", "terminated_tasks", "completed_tasks"],
    ),
    (".mesos.v1.agent.Response.GetExecutors", &["executors", "completed_executors"]),
];

/// In these fields Mesos prints an AgentInfo with the `checkpoint` that only the v0 message has; it is
/// true on every agent.
const WITH_CHECKPOINT: &[(&str, &str)] = &[(".mesos.v1.master.Response.GetAgents.Agent", "agent_info")];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(Path::new(PROTO_ROOT), &mut files)?;
    files.sort();
    let set: FileDescriptorSet = protox::compile(&files, [PROTO_ROOT])?;

    let mut generator = Generator::default();
    for file in set.file.iter().filter(|f| f.package() != "google.protobuf") {
        generator.index_file(file);
    }
    for file in set.file.iter().filter(|f| f.package() != "google.protobuf") {
        let scope = format!(".{}", file.package());
        for item in &file.enum_type {
            generator.enumeration(&scope, item)?;
        }
        for message in &file.message_type {
            generator.message(&scope, message)?;
        }
    }

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("generated.rs"), &generator.code)?;
    let mut list =
        "/// Calls `$visit!(name, type)` for every message of the API.\nmacro_rules! for_each_message { ($visit:ident) => {\n"
            .to_owned();
    for (name, path) in &generator.messages {
        writeln!(list, "    $visit!(\"{}\", {path});", &name[1..])?;
    }
    list.push_str("}; }\n");
    std::fs::write(out.join("messages.rs"), list)?;
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Generator {
    code: String,
    /// Full name with a leading dot, and Rust path, in order of generation.
    messages: Vec<(String, String)>,
    map_entries: std::collections::BTreeMap<String, DescriptorProto>,
    /// Enums that are the type of some field; others need no functions.
    used_enums: std::collections::BTreeSet<String>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Generator {
    fn index_file(&mut self, file: &FileDescriptorProto) {
        let scope = format!(".{}", file.package());
        for message in &file.message_type {
            self.index_message(&scope, message);
        }
    }

    fn index_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for field in message.field.iter().filter(|f| f.r#type() == Type::Enum) {
            self.used_enums.insert(field.type_name().to_owned());
        }
        for nested in &message.nested_type {
            if is_map_entry(nested) {
                self.map_entries.insert(format!("{name}.{}", nested.name()), nested.clone());
            } else {
                self.index_message(&name, nested);
            }
        }
    }

    /// Two functions per enum: number to name and name to number.
    fn enumeration(&mut self, scope: &str, item: &EnumDescriptorProto) -> Result<()> {
        let name = format!("{scope}.{}", item.name());
        if !self.used_enums.contains(&name) {
            return Ok(());
        }
        let function = enum_function(&name);
        writeln!(self.code, "fn {function}_name(number: i32) -> Option<&'static str> {{ match number {{")?;
        let mut seen = Vec::new();
        for value in &item.value {
            if !seen.contains(&value.number()) {
                seen.push(value.number());
                writeln!(self.code, "{} => Some(\"{}\"),", value.number(), value.name())?;
            }
        }
        writeln!(self.code, "_ => None }} }}")?;
        writeln!(self.code, "fn {function}_number(name: &[u8]) -> Option<i32> {{ match name {{")?;
        for value in &item.value {
            writeln!(self.code, "b\"{}\" => Some({}),", value.name(), value.number())?;
        }
        writeln!(self.code, "_ => None }} }}")?;
        Ok(())
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) -> Result<()> {
        let name = format!("{scope}.{}", message.name());
        for item in &message.enum_type {
            self.enumeration(&name, item)?;
        }
        for nested in message.nested_type.iter().filter(|m| !is_map_entry(m)) {
            self.message(&name, nested)?;
        }
        let path = rust_path(&name);
        self.reader(&name, &path, message)?;
        self.writer(&name, &path, message)?;
        self.layout(&name, &path, message)?;
        self.messages.push((name, path));
        Ok(())
    }

    fn reader(&mut self, name: &str, path: &str, message: &DescriptorProto) -> Result<()> {
        let required: Vec<_> = message.field.iter().filter(|f| f.label() == Label::Required).collect();
        assert!(required.len() <= 64, "{name} has more required fields than the set of seen ones holds");
        let mut cases = String::new();
        for (index, field) in message.field.iter().enumerate() {
            writeln!(cases, "b\"{}\" => {index},", field.name())?;
        }
        let unused = if message.field.is_empty() { "_" } else { "" };
        writeln!(self.code, "impl FromJson for {path} {{")?;
        writeln!(self.code, "fn read(&mut self, {unused}r: &mut Reader<'_>) -> Result<(), Error> {{")?;
        if message.field.is_empty() {
            writeln!(self.code, "_r.empty_object() }} }}")?;
            return Ok(());
        }
        writeln!(self.code, "fn field(key: &[u8]) -> u16 {{ match key {{ {cases} _ => UNKNOWN }} }}")?;
        if !required.is_empty() {
            writeln!(self.code, "let mut seen = 0u64;")?;
        }
        writeln!(self.code, "r.open_object()?;")?;
        writeln!(self.code, "while let Some(key) = r.next_field(field)? {{ match key {{")?;
        for (index, field) in message.field.iter().enumerate() {
            let bit = required.iter().position(|f| f.number() == field.number());
            write!(self.code, "{index} => ")?;
            let line = self.read_field(name, message, field, bit)?;
            writeln!(self.code, "{line},")?;
        }
        writeln!(self.code, "_ => r.skip_value()?, }} }}")?;
        if required.is_empty() {
            writeln!(self.code, "Ok(()) }} }}")?;
        } else {
            let names: Vec<_> = required.iter().map(|f| format!("\"{}\"", f.name())).collect();
            let all = if required.len() == 64 { u64::MAX } else { (1u64 << required.len()) - 1 };
            writeln!(
                self.code,
                "if seen != {all} {{ r.missing(seen, &[{}]); }} Ok(()) }} }}",
                names.join(", ")
            )?;
        }
        Ok(())
    }

    /// An expression that yields `Result<Option<value>, Error>`, read from `r`.
    fn read_call(&self, field: &FieldDescriptorProto, name: &str) -> String {
        let number = field.number();
        match field.r#type() {
            Type::Message | Type::Group => format!("r.message({number}, \"{name}\")"),
            Type::Enum => format!(
                "r.enumeration(\"{name}\", {}, {}_number)",
                field.label() == Label::Required,
                enum_function(field.type_name())
            ),
            other => format!("r.{}(\"{name}\")", scalar_function(other)),
        }
    }

    fn read_field(
        &self,
        name: &str,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        required: Option<usize>,
    ) -> Result<String> {
        let member = member(field.name());
        let key = field.name();
        if let Some(entry) = self.map_entry(field) {
            let value = self.read_call(&entry.field[1], "value");
            return Ok(format!(
                "{{ self.{member}.clear(); r.map({}, \"{key}\", &mut self.{member}, |r| {value})?; }}",
                field.number()
            ));
        }
        if field.label() == Label::Repeated {
            if matches!(field.r#type(), Type::Message | Type::Group) {
                return Ok(format!(
                    "{{ self.{member}.clear(); r.messages({}, \"{key}\", &mut self.{member})?; }}",
                    field.number()
                ));
            }
            let call = self.read_call(field, key);
            return Ok(format!("{{ self.{member}.clear(); r.repeated(&mut self.{member}, |r| {call})?; }}"));
        }
        if matches!(field.r#type(), Type::Message | Type::Group) && field.oneof_index.is_none() {
            let number = field.number();
            return Ok(match required {
                Some(bit) => format!(
                    "if r.required_message({number}, \"{key}\", &mut self.{member})? {{ seen |= {mask}; }} else {{ seen &= !{mask}; }}",
                    mask = 1u64 << bit
                ),
                None => format!("r.message_into({number}, \"{key}\", &mut self.{member})?"),
            });
        }
        let call = self.read_call(field, key);
        if field.oneof_index.is_some() {
            let (oneof, variant) = oneof_path(name, message, field);
            let holder = self::member(message.oneof_decl[field.oneof_index() as usize].name());
            return Ok(format!(
                "if let Some(v) = {call}? {{ self.{holder} = Some({oneof}::{variant}(v)); }}"
            ));
        }
        Ok(match required {
            Some(bit) => format!(
                "match {call}? {{ Some(v) => {{ self.{member} = v; seen |= {mask}; }} None => seen &= !{mask} }}",
                mask = 1u64 << bit
            ),
            None => format!("self.{member} = {call}?"),
        })
    }

    fn writer(&mut self, name: &str, path: &str, message: &DescriptorProto) -> Result<()> {
        let mut body = String::new();
        for field in &message.field {
            let line = self.write_field(name, message, field)?;
            writeln!(body, "{line}")?;
        }
        writeln!(self.code, "impl ToJson for {path} {{ fn write(&self, w: &mut Writer<'_>) {{")?;
        writeln!(self.code, "w.begin_object();\n{body}w.end_object(); }} }}")?;
        Ok(())
    }

    /// A statement that writes `value` (a place of the Rust type, or a reference to it).
    fn write_call(&self, field: &FieldDescriptorProto, value: &str, copy: bool) -> String {
        let by_value = if copy { value.to_owned() } else { format!("*{value}") };
        let by_reference = if copy { format!("&{value}") } else { value.to_owned() };
        match field.r#type() {
            Type::Message | Type::Group => format!("ToJson::write({by_reference}, w)"),
            Type::String => format!("w.string({by_reference})"),
            Type::Bytes => format!("w.base64({by_reference})"),
            Type::Bool => format!("w.boolean({by_value})"),
            Type::Double => format!("w.double({by_value})"),
            Type::Float => format!("w.double(f64::from({by_value}))"),
            Type::Uint64 | Type::Fixed64 => format!("w.unsigned({by_value})"),
            Type::Uint32 | Type::Fixed32 => format!("w.unsigned(u64::from({by_value}))"),
            Type::Int64 | Type::Sint64 | Type::Sfixed64 => format!("w.integer({by_value})"),
            Type::Int32 | Type::Sint32 | Type::Sfixed32 => format!("w.integer(i64::from({by_value}))"),
            Type::Enum => format!("w.name({}_name({by_value}))", enum_function(field.type_name())),
        }
    }

    fn write_field(
        &self,
        name: &str,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> Result<String> {
        let member = member(field.name());
        let key = format!("w.raw_key(b\"\\\"{}\\\":\");", field.name());
        if let Some(entry) = self.map_entry(field) {
            let value = self.write_call(&entry.field[1], "v", false);
            return Ok(format!(
                "if !self.{member}.is_empty() {{ {key} w.begin_object(); for (k, v) in &self.{member} {{ w.key(k); {value}; }} w.end_object(); }}"
            ));
        }
        if field.label() == Label::Repeated {
            let value = self.write_call(field, "v", false);
            if PRINTED_WHEN_EMPTY
                .iter()
                .any(|(message, fields)| *message == name && fields.contains(&field.name()))
            {
                return Ok(format!(
                    "{{ {key} w.begin_array(); for v in &self.{member} {{ {value}; w.pause(); }} w.end_array(); }}"
                ));
            }
            return Ok(format!(
                "if !self.{member}.is_empty() {{ {key} w.begin_array(); for v in &self.{member} {{ {value}; }} w.end_array(); }}"
            ));
        }
        let is_enum = field.r#type() == Type::Enum;
        if field.oneof_index.is_some() {
            let (oneof, variant) = oneof_path(name, message, field);
            let holder = self::member(message.oneof_decl[field.oneof_index() as usize].name());
            let value = self.write_call(field, "v", false);
            return Ok(format!("if let Some({oneof}::{variant}(v)) = &self.{holder} {{ {key} {value}; }}"));
        }
        if field.label() == Label::Required {
            if is_enum {
                return Ok(format!(
                    "if let Some(name) = {}_name(self.{member}) {{ {key} w.string(name); }}",
                    enum_function(field.type_name())
                ));
            }
            let tail = if WITH_CHECKPOINT.contains(&(name, field.name())) {
                "w.reopen_object(); w.raw_key(b\"\\\"checkpoint\\\":\"); w.boolean(true); w.end_object();"
            } else {
                ""
            };
            return Ok(format!("{key} {};{tail}", self.write_call(field, &format!("self.{member}"), true)));
        }
        let shown_default =
            field.default_value.as_ref().filter(|_| !field.options.as_ref().is_some_and(|o| o.deprecated()));
        if is_enum {
            let function = enum_function(field.type_name());
            // A number without a name came from a newer sender; Mesos treats it as unset.
            let set = format!("self.{member}.and_then({function}_name)");
            let value = match shown_default {
                Some(default) => format!("{set}.or(Some(\"{default}\"))"),
                None => set,
            };
            return Ok(format!("if let Some(name) = {value} {{ {key} w.string(name); }}"));
        }
        let value = self.write_call(field, "v", false);
        let otherwise = match shown_default {
            None => String::new(),
            Some(default) => format!(" else {{ {key} {}; }}", write_default(field, default)),
        };
        Ok(format!("if let Some(v) = &self.{member} {{ {key} {value}; }}{otherwise}"))
    }

    fn layout(&mut self, name: &str, path: &str, message: &DescriptorProto) -> Result<()> {
        let required: Vec<_> = message
            .field
            .iter()
            .filter(|f| f.label() == Label::Required)
            .map(|f| format!("({}, \"{}\")", f.number(), f.name()))
            .collect();
        let mut children = Vec::new();
        for field in &message.field {
            let child = match self.map_entry(field) {
                Some(entry) => {
                    let value = &entry.field[1];
                    if value.r#type() != Type::Message {
                        continue;
                    }
                    // A map entry is a message whose field 2 is the value; its own fields are optional.
                    let table = format!("{}_ENTRY_{}", table_name(name), field.number());
                    writeln!(
                        self.code,
                        "static {table}: Layout = Layout {{ required: &[], children: &[Child {{ number: 2, name: \"value\", layout: &{} }}], size: size_of::<(String, {})>() }};",
                        table_name(value.type_name()),
                        rust_path(value.type_name())
                    )?;
                    table
                }
                None if matches!(field.r#type(), Type::Message) => table_name(field.type_name()),
                None => continue,
            };
            children.push(format!(
                "Child {{ number: {}, name: \"{}\", layout: &{child} }}",
                field.number(),
                field.name()
            ));
        }
        let table = table_name(name);
        writeln!(
            self.code,
            "static {table}: Layout = Layout {{ required: &[{}], children: &[{}], size: size_of::<{path}>() }};",
            required.join(", "),
            children.join(", ")
        )?;
        writeln!(self.code, "impl Described for {path} {{ fn layout() -> &'static Layout {{ &{table} }} }}")?;
        Ok(())
    }

    fn map_entry(&self, field: &FieldDescriptorProto) -> Option<&DescriptorProto> {
        if field.label() != Label::Repeated || field.r#type() != Type::Message {
            return None;
        }
        let entry = self.map_entries.get(field.type_name())?;
        assert_eq!(entry.field[0].r#type(), Type::String, "only string keys are written as JSON objects");
        Some(entry)
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

fn scalar_function(kind: Type) -> &'static str {
    match kind {
        Type::Double => "double",
        Type::Float => "float",
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => "int64",
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => "int32",
        Type::Uint64 | Type::Fixed64 => "uint64",
        Type::Uint32 | Type::Fixed32 => "uint32",
        Type::Bool => "boolean",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Message | Type::Group | Type::Enum => unreachable!("not a scalar"),
    }
}

fn write_default(field: &FieldDescriptorProto, default: &str) -> String {
    match field.r#type() {
        Type::String => format!("w.string({default:?})"),
        Type::Bool => format!("w.boolean({default})"),
        Type::Double | Type::Float => format!("w.double({default}f64)"),
        Type::Uint64 | Type::Fixed64 | Type::Uint32 | Type::Fixed32 => format!("w.unsigned({default})"),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 | Type::Int32 | Type::Sint32 | Type::Sfixed32 => {
            format!("w.integer({default})")
        }
        other => panic!("no default of type {other:?} is known"),
    }
}

/// The oneof's enum, as prost names it, and the variant of `field`.
fn oneof_path(name: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> (String, String) {
    let oneof = message.oneof_decl[field.oneof_index() as usize].name();
    let path = rust_path(&format!("{name}.{oneof}"));
    (path, identifier(field.name().to_upper_camel_case()))
}

/// `.mesos.v1.Offer.Operation` becomes `mezzo_mesos::mesos::v1::offer::Operation`.
fn rust_path(name: &str) -> String {
    let mut parts: Vec<_> = name[1..].split('.').map(str::to_owned).collect();
    let last = parts.pop().unwrap_or_default();
    let mut path = "::mezzo_mesos".to_owned();
    for part in parts {
        path.push_str("::");
        path.push_str(&identifier(part.to_snake_case()));
    }
    path.push_str("::");
    path.push_str(&identifier(last.to_upper_camel_case()));
    path
}

fn enum_function(name: &str) -> String {
    format!("enum_{}", name[1..].replace('.', "_").to_snake_case())
}

fn table_name(name: &str) -> String {
    if name == ".google.protobuf.Duration" {
        return "EMPTY".to_owned();
    }
    format!("LAYOUT_{}", name[1..].replace('.', "_").to_snake_case().to_uppercase())
}

fn member(name: &str) -> String {
    identifier(name.to_snake_case())
}

/// The keywords among the field and message names of the API.
fn identifier(name: String) -> String {
    match name.as_str() {
        "type" | "ref" | "use" | "move" | "match" | "in" | "static" | "where" | "mod" | "virtual" | "box" => {
            format!("r#{name}")
        }
        _ => name,
    }
}
