//! Answers with everything in them, encoded item by item: a cluster's state may be a quarter of a
//! gigabyte and is never held as one.

use std::io;

use mezzo_http::{Output, Response};
use mezzo_json::{ToJson, Writer};
use mezzo_master::{
    query::{Group, Item, View, layout},
    state::Snapshot,
};
use mezzo_mesos::v1::master::{call, response::Type};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use crate::{AGENT_URL_PATH, format::Format};

/// Field numbers of the answer.
const TYPE: u32 = 1;
const GET_STATE: u32 = 9;

/// Answers one of the calls that [`layout`] knows.
pub(crate) fn respond(kind: call::Type, snapshot: Snapshot, format: Format) -> Response {
    let kind = match kind {
        call::Type::GetTasks => Type::GetTasks,
        call::Type::GetAgents => Type::GetAgents,
        call::Type::GetFrameworks => Type::GetFrameworks,
        call::Type::GetExecutors => Type::GetExecutors,
        _ => Type::GetState,
    };
    Response::produced(format.content_type(), move |out| {
        let view = View { snapshot: &snapshot, agent_url_path: AGENT_URL_PATH };
        let groups = layout(kind).unwrap_or_default();
        match format {
            Format::Json => json(view, kind, groups, out),
            Format::Protobuf => protobuf(view, kind, groups, out),
        }
    })
}

fn json(view: View<'_>, kind: Type, groups: &[Group], out: &mut Output) -> io::Result<()> {
    let mut gone = Ok(());
    let mut sink = |piece: Vec<u8>| {
        if gone.is_ok() {
            gone = out.write_vec(piece);
        }
    };
    let mut writer = Writer::streaming(&mut sink);
    writer.begin_object();
    writer.key("type");
    writer.string(kind.as_str_name());
    let whole = kind == Type::GetState;
    if whole {
        writer.key("get_state");
        writer.begin_object();
    }
    for group in groups {
        writer.key(group.key);
        writer.begin_object();
        for list in group.lists {
            writer.key(list.field().0);
            writer.begin_array();
            for item in view.items(*list) {
                match &item {
                    Item::Task(task) => task.write(&mut writer),
                    Item::Executor(executor) => executor.write(&mut writer),
                    Item::Framework(framework) => framework.write(&mut writer),
                    Item::Agent(agent) => agent.write(&mut writer),
                    Item::AgentInfo(info) => info.write(&mut writer),
                }
                writer.pause();
            }
            writer.end_array();
        }
        writer.end_object();
    }
    if whole {
        writer.end_object();
    }
    writer.end_object();
    writer.finish();
    gone
}

fn length(item: &Item<'_>) -> usize {
    match item {
        Item::Task(task) => task.encoded_len(),
        Item::Executor(executor) => executor.encoded_len(),
        Item::Framework(framework) => framework.encoded_len(),
        Item::Agent(agent) => agent.encoded_len(),
        Item::AgentInfo(info) => info.encoded_len(),
    }
}

fn field_length(number: u32, content: usize) -> usize {
    key_len(number) + encoded_len_varint(content as u64) + content
}

fn head(number: u32, content: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content as u64, &mut bytes);
    bytes
}

/// Two walks: lengths come before contents.
fn protobuf(view: View<'_>, kind: Type, groups: &[Group], out: &mut Output) -> io::Result<()> {
    let mut start = Vec::new();
    encode_key(TYPE, WireType::Varint, &mut start);
    encode_varint(u64::try_from(i32::from(kind)).unwrap_or(0), &mut start);
    let whole = kind == Type::GetState;
    let lengths: Vec<usize> = groups
        .iter()
        .map(|group| {
            let lists = group.lists.iter().map(|list| {
                view.items(*list).map(|item| field_length(list.field().1, length(&item))).sum::<usize>()
            });
            lists.sum()
        })
        .collect();
    let number = |group: &Group| if whole { group.in_state } else { group.in_response };
    if whole {
        let content =
            groups.iter().zip(&lengths).map(|(group, length)| field_length(number(group), *length)).sum();
        start.extend(head(GET_STATE, content));
    }
    out.write(&start)?;
    let mut buffer = Vec::new();
    for (group, length) in groups.iter().zip(&lengths) {
        out.write(&head(number(group), *length))?;
        for list in group.lists {
            for item in view.items(*list) {
                buffer.clear();
                match &item {
                    Item::Task(task) => encode(*task, list.field().1, &mut buffer),
                    Item::Executor(executor) => encode(&**executor, list.field().1, &mut buffer),
                    Item::Framework(framework) => encode(&**framework, list.field().1, &mut buffer),
                    Item::Agent(agent) => encode(&**agent, list.field().1, &mut buffer),
                    Item::AgentInfo(info) => encode(*info, list.field().1, &mut buffer),
                }
                out.write(&buffer)?;
            }
        }
    }
    Ok(())
}

fn encode(message: &impl Message, number: u32, buffer: &mut Vec<u8>) {
    prost::encoding::message::encode(number, message, buffer);
}
