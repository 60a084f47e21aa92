//! Any bytes as a JSON body: an error, or a message whose own text reads back the same.

use mezzo_json::{FromJson, ToJson, from_slice, list_from_slice, to_vec};
use mezzo_mesos::v1;

/// Reads `data` as several messages.
pub(crate) fn run(data: &[u8]) {
    one::<v1::scheduler::Call>(data);
    one::<v1::scheduler::Event>(data);
    one::<v1::executor::Call>(data);
    one::<v1::master::Call>(data);
    one::<v1::agent::Call>(data);
    one::<v1::TaskInfo>(data);
    let _ = list_from_slice::<v1::Resource>(data).map_err(|error| error.call_text());
}

fn one<T: FromJson + ToJson>(data: &[u8]) {
    match from_slice::<T>(data) {
        Ok(message) => {
            let json = to_vec(&message);
            // Bare infinities are what Mesos writes and refuses to read.
            if let Ok(again) = from_slice::<T>(&json) {
                assert_eq!(to_vec(&again), json);
            } else {
                assert!(json.windows(8).any(|w| w == b"Infinity"), "{}", String::from_utf8_lossy(&json));
            }
        }
        Err(error) => assert!(error.call_text().len() < 1 << 20),
    }
}
