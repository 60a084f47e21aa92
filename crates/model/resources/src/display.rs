//! The text form of resources, as Mesos writes it into logs and error messages.

use std::fmt;

use mezzo_mesos::v1::{
    self,
    resource::{
        DiskInfo,
        disk_info::{Source, source::Type as SourceType},
    },
    volume::Mode,
};

use crate::{
    Reservation, ReservationKind, Resource, Resources, convert::lenient, value::display_thousandths,
};

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("{}");
        }
        for (i, resource) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{resource}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_kind(self, f)?;
        write!(f, ":{}", self.value)?;
        match self.copies {
            Some(copies) => write!(f, "<{copies}>"),
            None => Ok(()),
        }
    }
}

/// Everything before the colon.
fn write_kind(resource: &Resource, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&resource.name)?;
    if let Some(role) = &resource.allocation_role {
        write!(f, "(allocated: {role})")?;
    }
    if !resource.is_unreserved() {
        f.write_str("(reservations: [")?;
        for (i, reservation) in resource.reservations().iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{reservation}")?;
        }
        f.write_str("])")?;
    }
    if let Some(disk) = resource.disk() {
        f.write_str("[")?;
        write_disk(disk, f)?;
        f.write_str("]")?;
    }
    if resource.revocable {
        f.write_str("{REV}")?;
    }
    if resource.is_shared() {
        f.write_str("<SHARED>")?;
    }
    Ok(())
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(f, "({kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, ",{principal}")?;
        }
        if let Some(labels) = &self.labels {
            f.write_str(",{")?;
            for (i, label) in labels.labels.iter().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{}", label.key)?;
                if let Some(value) = &label.value {
                    write!(f, ": {value}")?;
                }
            }
            f.write_str("}")?;
        }
        f.write_str(")")
    }
}

fn write_disk(disk: &DiskInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(source) = &disk.source {
        write_source(source, f)?;
    }
    if let Some(persistence) = &disk.persistence {
        let comma = if disk.source.is_some() { "," } else { "" };
        write!(f, "{comma}{}", persistence.id)?;
    }
    if let Some(volume) = &disk.volume {
        f.write_str(":")?;
        if let Some(host_path) = &volume.host_path {
            write!(f, "{host_path}:")?;
        }
        f.write_str(&volume.container_path)?;
        if volume.host_path.is_some() {
            f.write_str(if volume.mode() == Mode::Ro { ":ro" } else { ":rw" })?;
        }
    }
    Ok(())
}

fn write_source(source: &Source, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(source.r#type().as_str_name())?;
    if source.vendor.is_some() || source.id.is_some() || source.profile.is_some() {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        write!(f, "({},{},{})", part(&source.vendor), part(&source.id), part(&source.profile))?;
    }
    let root = match source.r#type() {
        SourceType::Path => source.path.as_ref().and_then(|path| path.root.as_ref()),
        SourceType::Mount => source.mount.as_ref().and_then(|mount| mount.root.as_ref()),
        SourceType::Unknown | SourceType::Block | SourceType::Raw => None,
    };
    match root {
        Some(root) => write!(f, ":{root}"),
        None => Ok(()),
    }
}

/// The text form of a message that need not be a valid resource, for errors about it.
pub fn display_proto(message: &v1::Resource) -> impl fmt::Display {
    Unchecked { kind: lenient(message), message: message.clone() }
}

struct Unchecked {
    kind: Resource,
    message: v1::Resource,
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_kind(&self.kind, f)?;
        f.write_str(":")?;
        if let Some(scalar) = &self.message.scalar {
            // Not a `Scalar`, which cannot be negative.
            if scalar.value.is_finite() {
                display_thousandths((scalar.value * 1000.0).round() as i64, f)
            } else {
                write!(f, "{}", scalar.value.to_string().to_lowercase())
            }
        } else if let Some(ranges) = &self.message.ranges {
            let texts: Vec<_> = ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
            write!(f, "[{}]", texts.join(", "))
        } else if let Some(set) = &self.message.set {
            write!(f, "{{{}}}", set.item.join(", "))
        } else {
            Ok(())
        }
    }
}
