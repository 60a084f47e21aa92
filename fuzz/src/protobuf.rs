//! Any bytes as a protobuf body: an error, or a message that encodes to an accepted body again.

use mezzo_json::protobuf::{Described, decode};
use mezzo_json::{ToJson, to_vec};
use mezzo_mesos::v1;

/// Decodes `data` as several messages.
pub(crate) fn run(data: &[u8]) {
    one::<v1::scheduler::Call>(data);
    one::<v1::executor::Call>(data);
    one::<v1::master::Call>(data);
    one::<v1::agent::Call>(data);
    one::<v1::TaskInfo>(data);
}

fn one<T: Described + ToJson + mezzo_json::protobuf::Message + Default>(data: &[u8]) {
    if let Ok(message) = decode::<T>(data) {
        to_vec(&message);
        assert!(decode::<T>(&message.encode_to_vec()).is_ok());
    }
}
