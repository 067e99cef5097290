//! Runs the whole server and the client library on a simulated network (turmoil). People send each other signals and
//! encrypted messages and talk in a room. Meanwhile connections break and are cut, held and slowed, and the server and
//! the people's programs are killed, drained and restarted.
//!
//! The test checks that each message of a mailbox and of the room arrives once and in order. Signals arrive once and
//! in order too; if an accepted signal is lost, the client must report that its session was not resumed. When nothing
//! breaks any more, everything must recover soon.
//!
//! A seed determines the script: what is sent when, what breaks and recovers when, and the random delays of the
//! network. It does not determine the randomness of server and client (ids, challenges, waits between attempts) or the
//! time that the database takes, which runs in real time. So a seed gives the same faults each time, but not the same
//! run.

mod life;
mod line;
mod network;
mod people;
mod program;
mod script;
mod verdict;

use std::{cell::Cell, env, panic, sync::Arc, time::Duration};

use self::{
    network::Network,
    people::{People, Summary},
    script::Script,
};
use crate::clock::Now;

/// Runs only this seed.
const SEED: &str = "ALDIS_SIMULATION_SEED";
/// How many new seeds to run.
const RUNS: &str = "ALDIS_SIMULATION_RUNS";
/// The default: the same seeds each time, so that a failure comes from the change.
const USUAL_SEEDS: std::ops::Range<u64> = 0..3;
/// The time to recover when nothing breaks any more: silence is detected within 40 s, a running attempt ends within 20
/// s, the next one is made within 30 s, and the rest is for the remaining work.
const RECOVERY: Duration = Duration::from_secs(120);
/// The time within which all people get each other's last signals, once their sessions exist.
const PARTING: Duration = Duration::from_secs(5);

thread_local! {
    /// How many tasks have panicked on this thread, on which everything runs. Otherwise a panic of the server would
    /// look like a broken connection to the people.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn counted_messages_arrive_once_and_in_order_whatever_breaks() {
    // Before the simulated clock exists, so that no reading of it is before the common start.
    Now::read();
    count_panics();
    let seeds = seeds();
    let resumed: usize = seeds.iter().map(|seed| run(*seed)).sum();
    assert!(resumed > 0 || seeds.len() == 1, "no session was resumed: nothing was tested");
}

fn count_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        PANICS.set(PANICS.get() + 1);
        before(panicked);
    }));
}

fn seeds() -> Vec<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match (number(SEED), number(RUNS)) {
        (Some(seed), _) => vec![seed],
        (None, Some(runs)) => (0..runs).map(|_| rand::random()).collect(),
        (None, None) => USUAL_SEEDS.collect(),
    }
}

/// Runs a script to its end. Returns how often sessions were resumed.
fn run(seed: u64) -> usize {
    println!("{SEED}={seed}");
    let script = Script::of(seed);
    let people = Arc::new(People::new(&script));
    let mut network = Network::new(seed, script.resume_window, Arc::clone(&people));
    for turn in script.turns {
        while network.elapsed() < turn.at {
            network.step();
        }
        println!("{:?} {:?}", turn.at, turn.what);
        network.change(turn.what);
    }
    while network.elapsed() < script::END {
        network.step();
    }
    step_until(&mut network, RECOVERY, "all mail", || verdict::is_all_well(&people));
    people.parting.send_replace(true);
    step_until(&mut network, PARTING, "signals between all", || verdict::have_all_parted(&people));
    verdict::check(&people);
    assert_eq!(PANICS.get(), 0, "tasks that panicked");
    let Summary { resumed, fresh, heard, refused } = people.summary();
    println!(
        "{resumed} sessions resumed, {fresh} fresh; {heard} signals heard; {refused} refusals that passed"
    );
    resumed
}

fn step_until(network: &mut Network, patience: Duration, what: &str, is_there: impl Fn() -> bool) {
    let end = network.elapsed() + patience;
    while !is_there() {
        assert!(network.elapsed() < end, "{what} within {patience:?}");
        network.step();
    }
}
