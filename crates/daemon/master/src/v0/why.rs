//! What a framework is not offered, and why: Mezzo's own.

use mezzo_allocator::WithheldSum;
use mezzo_http::{Request, Response, StatusCode};
use mezzo_ids::FrameworkId;
use mezzo_mesos_v0::Writer;

use crate::{
    inquiries::Explained,
    shared::{Shared, stopping},
};

/// Answers GET /allocator/why?framework_id=ID.
pub(super) async fn why(shared: &Shared, request: &Request) -> Result<Response, Response> {
    let Some(id) = request.parameter("framework_id").filter(|id| !id.is_empty()) else {
        let text = "Missing 'framework_id' query parameter, such as /allocator/why?framework_id=ID";
        return Err(Response::text(StatusCode::BAD_REQUEST, text));
    };
    let withheld = match shared.inbox.why(FrameworkId::from(id)).await.ok_or_else(stopping)? {
        Explained::Withheld(withheld) => withheld,
        Explained::Unknown => {
            return Err(Response::text(StatusCode::NOT_FOUND, format!("No framework found with ID '{id}'")));
        }
        Explained::TooMany => {
            let text = "Many others ask why they are not offered more; ask again later";
            return Err(Response::text(StatusCode::SERVICE_UNAVAILABLE, text));
        }
    };
    let mut writer = Writer::new();
    write(&mut writer, id, &withheld);
    Ok(Response::json(writer.finish()))
}

fn write(w: &mut Writer<'_>, framework: &str, withheld: &[WithheldSum]) {
    w.begin_object();
    w.key("framework_id");
    w.string(framework);
    w.key("withheld");
    w.begin_array();
    for sum in withheld {
        w.begin_object();
        w.key("role");
        w.string(&sum.role);
        w.key("reason");
        w.string(&sum.reason.to_string());
        w.key("rules");
        w.begin_array();
        sum.reason.rules().iter().for_each(|rule| w.unsigned(u64::from(*rule)));
        w.end_array();
        w.key("agents");
        w.unsigned(sum.agents as u64);
        w.key("free");
        w.begin_object();
        for (name, amount) in sum.free.iter() {
            w.key(name);
            w.thousandths(amount.thousandths());
        }
        w.end_object();
        w.end_object();
    }
    w.end_array();
    w.end_object();
}
