//! The whole server and the client library on a network that is simulated (turmoil): people send each other signals and
//! encrypted messages and talk in a room, while connections break, are cut, held and slowed, the server is killed,
//! drained and started, and so are the people's programs. Whatever broke: each message of a mailbox and of the room comes
//! once and in order; signals come once and in order too, and where one that was taken got lost, the client says that its
//! session was not resumed; and when nothing breaks any more, all is well soon.
//!
//! A seed is a script: what is sent when, what breaks and mends when, and how the network's own dice fall. Not from the
//! seed are the dice of server and client (ids, challenges, waits between attempts) and how long the database takes,
//! which works in real time. So a seed is the same trouble each time, and not the same run.

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

/// One seed to run, and nothing else.
const SEED: &str = "ALDIS_SIMULATION_SEED";
/// How many seeds to draw and run.
const RUNS: &str = "ALDIS_SIMULATION_RUNS";
/// Without either: the same ones each time, so that a change that fails is to blame.
const USUAL_SEEDS: std::ops::Range<u64> = 0..3;
/// How soon all is well when nothing breaks any more: a silence is noticed within 40 s, an attempt that was under way
/// ends within 20 s, the next one is made within 30 s, and there is something left to do then.
const RECOVERY: Duration = Duration::from_secs(120);
/// How soon everybody hears from everybody whose sessions are there.
const PARTING: Duration = Duration::from_secs(5);

thread_local! {
    /// How many tasks have panicked on this thread, which is everybody's. Else one of the server's is a broken
    /// connection to the people, like any other.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn what_is_counted_arrives_once_and_in_order_whatever_breaks() {
    // Before there is a simulated clock, so that none is behind the start of them all.
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

/// Runs a script to its end. Says how often sessions were resumed.
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
