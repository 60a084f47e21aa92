//! One copy of resources that many tasks or agents have alike.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Weak},
};

use mezzo_resources::Resources;

/// Places for lists. Which one a list has follows from what is in it, so this bounds both the memory and
/// the time to find one. Two lists of one place take turns: then some copies are not shared.
const PLACES: usize = 4096;

/// The resources of tasks and agents, as far as others may have the same. A million tasks are of a few sizes;
/// without this their lists are a quarter of what the master holds. Keeps nothing alive.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    /// Empty until something is shared.
    places: Vec<Weak<Resources>>,
}

impl Alike {
    /// The same resources, in the same order, in memory that others may hold too.
    pub(crate) fn share(&mut self, resources: Resources) -> Arc<Resources> {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Weak::new);
        }
        let place = &mut self.places[place(&resources)];
        if let Some(known) = place.upgrade().filter(|known| is_same(known, &resources)) {
            return known;
        }
        let shared = Arc::new(resources);
        *place = Arc::downgrade(&shared);
        shared
    }
}

/// The same for equal lists; of others it need not tell all apart.
fn place(resources: &Resources) -> usize {
    let mut hasher = DefaultHasher::new();
    for resource in resources {
        resource.name().as_str().hash(&mut hasher);
        resource.allocation_role().map(|role| role.as_str()).hash(&mut hasher);
        resource.value().hash(&mut hasher);
    }
    (hasher.finish() % PLACES as u64) as usize
}

/// Equal in everything that can be asked of them. Equality of resources looks neither at their order, nor
/// at how a volume is mounted and by whom it was made.
fn is_same(one: &Resources, other: &Resources) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one == other && one.disk() == other.disk())
}

#[cfg(test)]
mod tests {
    use mezzo_resources::parse_resources;

    use super::*;

    fn resources(text: &str) -> Resources {
        parse_resources(text, "*").unwrap()
    }

    #[test]
    fn equal_lists_are_one() {
        let mut alike = Alike::default();
        let one = alike.share(resources("cpus:1;mem:32;ports:[1-2]"));
        assert!(Arc::ptr_eq(&one, &alike.share(resources("cpus:1;mem:32;ports:[1-2]"))));
        for other in ["cpus:1;mem:32", "cpus:1;mem:32;ports:[1-3]", "mem:32;cpus:1;ports:[1-2]"] {
            let shared = alike.share(resources(other));
            assert!(!Arc::ptr_eq(&one, &shared));
            assert_eq!(*shared, resources(other));
        }
        let role = "web".into();
        let allocated = alike.share(resources("cpus:1;mem:32;ports:[1-2]").allocated(&role));
        assert!(allocated.iter().all(|resource| resource.allocation_role() == Some(&role)));
    }

    #[test]
    fn nothing_is_kept_that_nobody_holds() {
        let mut alike = Alike::default();
        for n in 0..20_000 {
            drop(alike.share(resources(&format!("cpus:{n}"))));
        }
        assert_eq!(alike.places.len(), PLACES);
        assert!(alike.places.iter().all(|place| place.strong_count() == 0));
    }
}
