//! Event streams of schedulers: in order, until they break.

use std::sync::Arc;

use mezzo_master::{Input, StreamId};
use mezzo_mesos::v1::scheduler;

use crate::{
    event::{Event, Side},
    queue::Nanos,
    scheduler::Note,
    world::{SECOND, World},
};

/// Between two heartbeats.
const HEARTBEAT: Nanos = 15 * SECOND;

/// One stream, at both ends.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) scheduler: u32,
    /// Its text, which every call names.
    pub(crate) uuid: Arc<str>,
    /// Events arrive in order: when the last one does.
    clear: Nanos,
}

/// The text of the Mesos-Stream-Id of a stream.
pub(crate) fn uuid(stream: u64) -> String {
    format!("00000000-0000-4000-8000-{stream:012x}")
}

/// The stream of such a text.
pub(crate) fn of_uuid(text: &str) -> Option<u64> {
    u64::from_str_radix(text.rsplit_once('-')?.1, 16).ok()
}

impl World<'_> {
    /// A SUBSCRIBE arrives. What waited for a process that has died since is lost with it.
    pub(crate) fn on_subscribe(
        &mut self,
        scheduler: u32,
        stream: u64,
        call: Box<scheduler::Call>,
        waits_at: Option<u32>,
    ) {
        if self.master.core.is_none() || waits_at.is_some_and(|life| life != self.master.life) {
            let at = self.net.on_stream(self.now, scheduler as usize, Side::Agent);
            return self.queue.push(at, Event::StreamClosedAtScheduler { scheduler, stream });
        }
        let stream_uuid: Arc<str> = uuid(stream).into();
        self.streams.insert(stream, Stream { scheduler, uuid: stream_uuid.clone(), clear: 0 });
        self.master_step(Input::Subscribe { stream: StreamId(stream), stream_uuid, call, principal: None });
    }

    pub(crate) fn stream_sends(&mut self, StreamId(id): StreamId, event: Arc<scheduler::Event>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let at = self.net.on_stream(self.now, stream.scheduler as usize, Side::Agent).max(stream.clear + 1);
        stream.clear = at;
        self.queue.push(at, Event::StreamSays { scheduler: stream.scheduler, stream: id, event });
    }

    /// The master ends a stream after what was sent on it.
    pub(crate) fn stream_ends(&mut self, StreamId(id): StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        let at = self.net.on_stream(self.now, stream.scheduler as usize, Side::Agent).max(stream.clear + 1);
        self.queue.push(at, Event::StreamClosedAtScheduler { scheduler: stream.scheduler, stream: id });
        let life = self.master.life;
        let input = Box::new(Input::StreamClosed(StreamId(id)));
        self.queue.push(self.now, Event::MasterInput { life, input });
    }

    /// The master's process is gone, and with it all streams.
    pub(crate) fn streams_die(&mut self) {
        for (id, stream) in std::mem::take(&mut self.streams) {
            let at =
                self.net.on_stream(self.now, stream.scheduler as usize, Side::Agent).max(stream.clear + 1);
            self.queue.push(at, Event::StreamClosedAtScheduler { scheduler: stream.scheduler, stream: id });
        }
    }

    /// The scheduler's end is gone.
    pub(crate) fn on_stream_closed_at_master(&mut self, id: u64) {
        if self.streams.remove(&id).is_some() {
            self.master_step(Input::StreamClosed(StreamId(id)));
        }
    }

    pub(crate) fn on_heartbeat(&mut self, id: u64) {
        if !self.streams.contains_key(&id) {
            return;
        }
        let kind = scheduler::event::Type::Heartbeat as i32;
        let event = Arc::new(scheduler::Event { r#type: Some(kind), ..Default::default() });
        self.stream_sends(StreamId(id), event);
        self.queue.push(self.now + HEARTBEAT, Event::Heartbeat { stream: id });
    }

    /// Nobody will ever answer a call; its scheduler finds out when it has waited long enough.
    pub(crate) fn answer_lost(&mut self, scheduler: u32, note: Option<Box<Note>>) {
        let Some(note) = note else { return };
        let life = self.schedulers[scheduler as usize].life;
        let event = Event::Answered { scheduler, life, refused: false, note };
        self.queue.push(self.now + crate::network::CALL_TIMEOUT, event);
    }
}
