//! What the server costs, beside what a floor program costs in the same run. What is measured and how to repeat it is
//! in `docs/benchmarks.md`:
//!
//! ```text
//! cargo build --release -p aldis-server
//! cargo bench -p aldis-tests --bench spine -- memory routing connects logins --runs 3
//! ```

mod client;
mod connects;
mod floor;
mod logins;
mod memory;
mod process;
mod routing;
mod spread;

use std::{env, process::ExitCode};

/// As the server's: what is compared is the programs, not the allocators.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str =
    "nothing to measure: name `memory`, `routing`, `connects` or `logins`, and the number of `--runs`";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == process::FLOOR) {
        floor::serve();
        return ExitCode::SUCCESS;
    }
    let runs = runs(&arguments);
    let is_asked = |name: &str| arguments.iter().any(|argument| argument == name);
    // One thread: the load must not take more of the machine than it has to.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if is_asked("memory") {
        runtime.block_on(memory::measure(runs));
    }
    if is_asked("routing") {
        runtime.block_on(routing::measure(runs));
    }
    if is_asked("connects") {
        runtime.block_on(connects::measure(runs));
    }
    if is_asked("logins") {
        logins::measure(runs);
    }
    if !["memory", "routing", "connects", "logins"].into_iter().any(is_asked) {
        println!("{USAGE}");
    }
    ExitCode::SUCCESS
}

fn runs(arguments: &[String]) -> usize {
    let given = arguments.iter().skip_while(|argument| *argument != "--runs").nth(1);
    given.map_or(3, |number| number.parse().expect("a number of runs"))
}
