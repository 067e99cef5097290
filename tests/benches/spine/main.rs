//! What the server costs, beside what a floor program costs in the same run. What is measured and how to repeat it is
//! in `docs/benchmarks.md`:
//!
//! ```text
//! cargo build --release -p aldis-server
//! cargo bench -p aldis-tests --bench spine -- memory routing connects logins messages rooms --runs 3
//! ```

mod client;
mod connects;
mod floor;
mod logins;
mod memory;
mod messages;
mod process;
mod rooms;
mod routing;
mod spread;

use std::{env, process::ExitCode};

/// The same as the server's: this compares the programs, not the allocators.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The measures.
const MEASURES: [&str; 6] = ["memory", "routing", "connects", "logins", "messages", "rooms"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == process::FLOOR) {
        floor::serve();
        return ExitCode::SUCCESS;
    }
    let runs = runs(&arguments);
    let asked: Vec<&str> =
        MEASURES.into_iter().filter(|name| arguments.iter().any(|argument| argument == name)).collect();
    if asked.is_empty() {
        println!("nothing to measure: name some of {MEASURES:?}, and the number of `--runs`");
    }
    // One thread, so that the load takes as little of the machine as possible.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for measure in asked {
        match measure {
            "memory" => runtime.block_on(memory::measure(runs)),
            "routing" => runtime.block_on(routing::measure(runs)),
            "connects" => runtime.block_on(connects::measure(runs)),
            "rooms" => runtime.block_on(rooms::measure(runs)),
            "logins" => logins::measure(runs),
            _ => messages::measure(&runtime, runs),
        }
    }
    ExitCode::SUCCESS
}

fn runs(arguments: &[String]) -> usize {
    let given = arguments.iter().skip_while(|argument| *argument != "--runs").nth(1);
    given.map_or(3, |number| number.parse().expect("a number of runs"))
}
