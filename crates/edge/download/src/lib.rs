//! What all downloads have in common, whether files for sandboxes or layers of images: whom they trust and how
//! long they wait ([`client`], [`Paced`]), and which names in an archive are taken ([`clean_name`]).
//!
//! Where something comes from, redirects, and what is done with it are the caller's.

mod client;
mod names;

pub use client::{Paced, client, is_timeout};
pub use names::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, clean_name};
