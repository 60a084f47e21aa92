//! Randomness from the operating system.

use std::{fs::File, io::Read};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

/// A fresh generator.
pub(crate) fn generator() -> std::io::Result<ChaCha12Rng> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(ChaCha12Rng::from_seed(seed))
}
