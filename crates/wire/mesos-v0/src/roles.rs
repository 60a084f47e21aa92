//! /roles, /quota, /weights and /maintenance of the master.

use mezzo_json::{Writer, to_vec};
use mezzo_mesos::v1;
use mezzo_resources::Quantities;

use crate::alphabetical::alphabetical;
use crate::resources::write_quantities;
use crate::shapes::{double_field, string_field, strings};

/// One role. Amounts include its descendants.
#[derive(Clone, Copy)]
pub struct RoleView<'a> {
    /// Its full path.
    pub name: &'a str,
    /// 1.0 unless set.
    pub weight: f64,
    /// Kept back.
    pub guarantee: &'a Quantities,
    /// Never exceeded.
    pub limit: &'a Quantities,
    /// Allocated, and reserved but not allocated.
    pub consumed: &'a Quantities,
    /// Allocated and offered together.
    pub resources: &'a Quantities,
    /// Used.
    pub allocated: &'a Quantities,
    /// Offered.
    pub offered: &'a Quantities,
    /// Reserved, used or not.
    pub reserved: &'a Quantities,
    /// Ids of the frameworks subscribed to it.
    pub frameworks: &'a [&'a str],
}

/// GET /master/roles.
pub fn roles(w: &mut Writer<'_>, roles: &[RoleView<'_>]) {
    w.begin_object();
    w.raw_key(b"\"roles\":");
    w.begin_array();
    for role in roles {
        w.begin_object();
        string_field(w, b"\"name\":", role.name);
        double_field(w, b"\"weight\":", role.weight);
        w.raw_key(b"\"quota\":");
        w.begin_object();
        string_field(w, b"\"role\":", role.name);
        quantities_field(w, b"\"guarantee\":", role.guarantee);
        quantities_field(w, b"\"limit\":", role.limit);
        quantities_field(w, b"\"consumed\":", role.consumed);
        w.end_object();
        quantities_field(w, b"\"resources\":", role.resources);
        quantities_field(w, b"\"allocated\":", role.allocated);
        quantities_field(w, b"\"offered\":", role.offered);
        quantities_field(w, b"\"reserved\":", role.reserved);
        w.raw_key(b"\"frameworks\":");
        strings(w, role.frameworks.iter().copied());
        w.end_object();
        w.pause();
    }
    w.end_array();
    w.end_object();
}

fn quantities_field(w: &mut Writer<'_>, key: &'static [u8], quantities: &Quantities) {
    w.raw_key(key);
    write_quantities(w, quantities);
}

/// GET /master/quota.
pub fn quota(w: &mut Writer<'_>, status: &v1::quota::QuotaStatus) {
    w.value(status);
}

/// GET /master/weights: roles with a weight of their own.
pub fn weights<'r>(w: &mut Writer<'_>, weights: impl IntoIterator<Item = (&'r str, f64)>) {
    w.begin_array();
    for (role, weight) in weights {
        w.begin_object();
        string_field(w, b"\"role\":", role);
        double_field(w, b"\"weight\":", weight);
        w.end_object();
    }
    w.end_array();
}

/// GET /master/maintenance/schedule.
pub fn maintenance_schedule(w: &mut Writer<'_>, schedule: &v1::maintenance::Schedule) {
    w.raw(&alphabetical(&to_vec(schedule)));
}

/// GET /master/maintenance/status.
pub fn maintenance_status(w: &mut Writer<'_>, status: &v1::maintenance::ClusterStatus) {
    w.raw(&alphabetical(&to_vec(status)));
}
