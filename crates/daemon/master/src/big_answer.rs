//! Answers with everything in them, encoded item by item: a cluster's state may be a quarter of a
//! gigabyte and is never held as one.

use std::{io, sync::Arc};

use mezzo_http::{Output, Response};
use mezzo_json::{ToJson, Writer};
use mezzo_master::{
    query::{Group, Item, List, View, layout},
    state::{Agent, Snapshot},
};
use mezzo_mesos::v1::master::{call, response::Type};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use crate::{
    AGENT_URL_PATH,
    format::Format,
    giving_way::giving_way,
    shared::Shared,
    written::{self, Pen, Sheet, Sheets, Slot},
};

/// Field numbers of the answer.
const TYPE: u32 = 1;
const GET_STATE: u32 = 9;

/// Answers one of the calls that [`layout`] knows.
pub(crate) fn respond(
    shared: &Arc<Shared>,
    kind: call::Type,
    snapshot: Snapshot,
    format: Format,
) -> Response {
    let shared = shared.clone();
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
            Format::Protobuf => {
                let sheets = shared.written_v1.lend(&snapshot);
                let protobuf = Protobuf { view, sheets: &sheets, buffer: Vec::new() };
                if kind == Type::GetState {
                    sheets.ahead(
                        |agent, sheet, pen| fill(view, agent, sheet, pen),
                        || protobuf.write(kind, groups, out),
                    )
                } else {
                    protobuf.write(kind, groups, out)
                }
            }
        }
    })
}

/// Hands a piece of JSON on and gives a buffer for the next. What comes after a failure is dropped.
pub(crate) fn hand_on(out: &mut Output, sent: &mut io::Result<()>, mut piece: Vec<u8>) -> Vec<u8> {
    if sent.is_err() {
        piece.clear();
        return piece;
    }
    out.write_buffer(piece).unwrap_or_else(|error| {
        *sent = Err(error);
        Vec::new()
    })
}

fn json(view: View<'_>, kind: Type, groups: &[Group], out: &mut Output) -> io::Result<()> {
    let mut sent = Ok(());
    let mut sink = |piece: Vec<u8>| hand_on(out, &mut sent, piece);
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
            for item in giving_way(view.items(*list)) {
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
    sent
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

/// Writes an answer in two walks, because lengths come before contents. What the first one encodes of
/// registered agents is kept for the second one and for the next reader.
struct Protobuf<'a> {
    view: View<'a>,
    sheets: &'a Sheets,
    buffer: Vec<u8>,
}

impl Protobuf<'_> {
    fn write(mut self, kind: Type, groups: &[Group], out: &mut Output) -> io::Result<()> {
        let mut start = Vec::new();
        encode_key(TYPE, WireType::Varint, &mut start);
        encode_varint(u64::try_from(i32::from(kind)).unwrap_or(0), &mut start);
        let whole = kind == Type::GetState;
        let mut lengths = Vec::new();
        for group in groups {
            let mut length = 0;
            for list in group.lists {
                self.each(*list, |bytes| {
                    length += bytes.len();
                    Ok(())
                })?;
            }
            lengths.push(length);
        }
        let number = |group: &Group| if whole { group.in_state } else { group.in_response };
        if whole {
            let content =
                groups.iter().zip(&lengths).map(|(group, length)| field_length(number(group), *length)).sum();
            start.extend(head(GET_STATE, content));
        }
        out.write(&start)?;
        for (group, length) in groups.iter().zip(&lengths) {
            out.write(&head(number(group), *length))?;
            for list in group.lists {
                self.each(*list, |bytes| out.write(bytes))?;
            }
        }
        Ok(())
    }

    /// Visits the fields of a list, several at once where they are there already.
    fn each(&mut self, list: List, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (view, sheets, number) = (self.view, self.sheets, list.field().1);
        let buffer = &mut self.buffer;
        let mut written = |slot: &Slot, write: &mut dyn FnMut(&mut Vec<u8>)| match slot.get() {
            Some(bytes) => visit(bytes),
            None => {
                buffer.clear();
                write(buffer);
                sheets.keep(slot, buffer);
                visit(buffer)
            }
        };
        match list {
            List::Tasks => {
                for (agent, sheet) in sheets.agents(view.snapshot) {
                    for group in sheet.groups() {
                        written(&group.tasks, &mut |buffer| encode_tasks(agent, group, buffer))?;
                    }
                }
            }
            List::Executors => {
                for (agent, sheet) in sheets.agents(view.snapshot) {
                    if agent.executors.is_empty() {
                        continue;
                    }
                    written(&sheet.own().executors, &mut |buffer| encode_executors(view, agent, buffer))?;
                }
            }
            List::Agents => {
                for (agent, sheet) in sheets.agents(view.snapshot) {
                    written(&sheet.own().agent, &mut |buffer| encode_agent(view, agent, buffer))?;
                }
            }
            _ => {
                for item in giving_way(view.items(list)) {
                    buffer.clear();
                    match &item {
                        Item::Task(task) => encode(*task, number, buffer),
                        Item::Executor(executor) => encode(&**executor, number, buffer),
                        Item::Framework(framework) => encode(&**framework, number, buffer),
                        Item::Agent(agent) => encode(&**agent, number, buffer),
                        Item::AgentInfo(info) => encode(*info, number, buffer),
                    }
                    visit(buffer)?;
                }
            }
        }
        Ok(())
    }
}

/// Fills the sheet of an agent with all that [`Protobuf`] needs of it.
fn fill(view: View<'_>, agent: &Agent, sheet: &Sheet, pen: &mut Pen<'_>) {
    for group in sheet.groups() {
        pen.fill(&group.tasks, |buffer| encode_tasks(agent, group, buffer));
    }
    if !agent.executors.is_empty() {
        pen.fill(&sheet.own().executors, |buffer| encode_executors(view, agent, buffer));
    }
    pen.fill(&sheet.own().agent, |buffer| encode_agent(view, agent, buffer));
}

fn encode_tasks(agent: &Agent, group: &written::Group, buffer: &mut Vec<u8>) {
    group.tasks_of(agent).for_each(|task| encode(&task.info, List::Tasks.field().1, buffer));
}

fn encode_executors(view: View<'_>, agent: &Agent, buffer: &mut Vec<u8>) {
    let number = List::Executors.field().1;
    view.executors_of(agent).for_each(|executor| encode(&executor, number, buffer));
}

fn encode_agent(view: View<'_>, agent: &Agent, buffer: &mut Vec<u8>) {
    encode(&view.agent(agent), List::Agents.field().1, buffer);
}

fn encode(message: &impl Message, number: u32, buffer: &mut Vec<u8>) {
    prost::encoding::message::encode(number, message, buffer);
}
