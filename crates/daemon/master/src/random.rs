//! Randomness from the operating system.

use std::{fs::File, io::Read};

use mezzo_ids::Uuid;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A fresh generator.
pub(crate) fn generator() -> std::io::Result<ChaCha12Rng> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(ChaCha12Rng::from_seed(seed))
}

/// A random UUID.
pub(crate) fn uuid(generator: &mut impl Rng) -> Uuid {
    let mut bytes = [0; 16];
    generator.fill_bytes(&mut bytes);
    Uuid::from_random(bytes)
}
