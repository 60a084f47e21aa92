//! The generated readers, writers and layouts; see `build.rs`.

use crate::error::Error;
use crate::protobuf::{Child, Described, EMPTY, Layout};
use crate::reader::{FromJson, Reader, UNKNOWN};
use crate::writer::{ToJson, Writer};

include!(concat!(env!("OUT_DIR"), "/generated.rs"));

/// Mesos writes `google.protobuf.Duration` as a plain object, not as the string of canonical proto-JSON.
impl FromJson for prost_types::Duration {
    fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Error> {
        fn field(key: &[u8]) -> u16 {
            match key {
                b"seconds" => 0,
                b"nanos" => 1,
                _ => UNKNOWN,
            }
        }
        r.open_object()?;
        while let Some(key) = r.next_field(field)? {
            match key {
                0 => self.seconds = r.int64("seconds")?.unwrap_or(0),
                1 => self.nanos = r.int32("nanos")?.unwrap_or(0),
                _ => r.skip_value()?,
            }
        }
        Ok(())
    }
}

impl ToJson for prost_types::Duration {
    fn write(&self, w: &mut Writer<'_>) {
        w.begin_object();
        if self.seconds != 0 {
            w.raw_key(b"\"seconds\":");
            w.integer(self.seconds);
        }
        if self.nanos != 0 {
            w.raw_key(b"\"nanos\":");
            w.integer(i64::from(self.nanos));
        }
        w.end_object();
    }
}

impl Described for prost_types::Duration {
    fn layout() -> &'static Layout {
        &EMPTY
    }
}
