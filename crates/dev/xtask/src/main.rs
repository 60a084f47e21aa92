//! Tasks of the people who build Mezzo: `cargo xtask COMMAND`.

mod bench;
mod rules;
mod tidy;
mod vm_test;

use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy            the floors' arrows, file lengths, forbidden words, the map of ARCHITECTURE.md
  rules           which behaviour rules are named by tests or by docs/compatibility.md
  vm-test [NAME...] the tests of containers in emulated machines: one with control groups of v2 alone, one of v1
  bench kernel    the numbers of docs/performance.md, each beside its comparison
  bench allocator the allocator alone, at 20,000 to 100,000 agents
  bench sim       how fast a simulated cluster runs
  bench services  services over their API, and their matching of offers alone
  bench container containers beside bare system calls and other runtimes; as root";

/// The measurements of the allocator; the one of memory comes first.
const ALLOCATOR: [&str; 4] = ["allocator-memory", "allocator-20000", "allocator-50000", "allocator-hostile"];

/// The measurements of the simulation.
const SIM: [&str; 3] = ["sim-events", "sim-seeds", "sim-day"];

/// The measurements of containers.
const CONTAINER: [&str; 5] =
    ["container-exec", "container-network", "container-thousand", "container-many", "container-unpack"];

/// The measurements of services.
const SERVICES: [&str; 5] =
    ["services-placement", "services-api", "services-events", "services-thousand", "services-simulated"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["tidy"] => tidy::run(&root()),
        ["rules", rest @ ..] => rules::run(&root(), rest),
        ["vm-test", names @ ..] => vm_test::run(&root(), names),
        ["bench", "kernel", rest @ ..] => bench::run(&root(), &["mezzo", "mezzo-bench"], rest),
        ["bench", "sim"] => bench::run(&root(), &["mezzo-bench"], &SIM),
        ["bench", "container"] => bench::containers(&root(), &CONTAINER),
        ["bench", "container", rest @ ..] => bench::containers(&root(), rest),
        ["bench", "services"] => bench::run(&root(), &["mezzo", "mezzo-bench"], &SERVICES),
        // Memory in a process of its own, where nothing that was freed before is used again.
        ["bench", "allocator"] => bench::run(&root(), &["mezzo-bench"], &["master-memory"])
            .and_then(|()| bench::run(&root(), &["mezzo-bench"], &ALLOCATOR)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).components().collect::<PathBuf>().join("../../..")
}
