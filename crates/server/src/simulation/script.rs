//! The script of a seed: who sends what and when, and what breaks when.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How many people there are.
pub(super) const PEOPLE: usize = 3;
/// All people are connected before anything happens.
pub(super) const BEGIN: Duration = Duration::from_secs(5);
/// From here on nothing breaks any more.
pub(super) const END: Duration = Duration::from_secs(95);
/// The largest latency of the healthy network.
pub(super) const USUAL_LATENCY: Duration = Duration::from_millis(60);

/// How often each person sends messages.
const LETTER_TIMES: usize = 25;
const WORD_TIMES: usize = 20;
const SIGNAL_TIMES: usize = 50;
/// The most messages that are sent at once.
const BURST: usize = 6;

/// The events of a seed.
pub(super) struct Script {
    /// For each person: the encrypted messages, in order.
    pub(super) letters: Vec<Vec<Errand>>,
    /// For each person: the times of their chat messages.
    pub(super) words: Vec<Vec<Duration>>,
    /// For each person: the signals, in order.
    pub(super) signals: Vec<Vec<Errand>>,
    /// The server's resume window.
    pub(super) resume_window: Duration,
    /// The faults and recoveries, in order.
    pub(super) turns: Vec<Turn>,
}

/// Something to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    pub(super) at: Duration,
    pub(super) to: usize,
}

/// A fault or a recovery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) at: Duration,
    pub(super) what: Change,
}

/// A fault or a recovery. Those of the network concern the link between one person and the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// All data is lost, in both directions.
    Cut(usize),
    Mend(usize),
    /// The data that the person sends is lost.
    CutUp(usize),
    MendUp(usize),
    /// The data that the server sends is lost.
    CutDown(usize),
    MendDown(usize),
    /// The network delays all data, and loses nothing.
    Hold(usize),
    Release(usize),
    /// The connection breaks, and both ends notice.
    Break(usize),
    /// The largest latency.
    Latency(usize, Duration),
    /// The server's process is killed.
    Crash,
    /// The server is told to stop.
    Stop,
    /// The server is started, again.
    Start,
    /// A person's program is killed.
    Kill(usize),
    Revive(usize),
}

impl Script {
    /// The same seed gives the same script.
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let letters = (0..PEOPLE).map(|person| errands(&mut dice, person, LETTER_TIMES)).collect();
        let mut signals: Vec<Vec<Errand>> =
            (0..PEOPLE).map(|person| errands(&mut dice, person, SIGNAL_TIMES)).collect();
        let words = (0..PEOPLE).map(|_| times(&mut dice, WORD_TIMES)).collect();
        let resume_window = Duration::from_secs(if dice.random_bool(0.7) { 30 } else { 5 });
        let mut turns = spells(&mut dice, 15..90, server_spell);
        let calm = dice.random_range(2..14);
        for person in 0..PEOPLE {
            turns.extend(spells(&mut dice, 1..calm, |dice| network_spell(dice, person)));
            turns.extend(spells(&mut dice, 30..150, |dice| {
                (Change::Kill(person), seconds(dice, 0.1, 5.0), Some(Change::Revive(person)))
            }));
        }
        turns.sort_by_key(|turn| turn.at);
        for turn in &turns {
            interrupt(&mut dice, *turn, &mut signals);
        }
        signals.iter_mut().for_each(|signals| signals.sort_by_key(|signal| signal.at));
        Self { letters, words, signals, resume_window, turns }
    }
}

/// Adds signals from and to the person concerned, so that a fault that loses data in transit has some to lose.
fn interrupt(dice: &mut StdRng, turn: Turn, signals: &mut [Vec<Errand>]) {
    let (Change::Break(person) | Change::Cut(person) | Change::CutDown(person) | Change::CutUp(person)) =
        turn.what
    else {
        return;
    };
    for other in (0..PEOPLE).filter(|other| *other != person) {
        for (from, to) in [(other, person), (other, person), (person, other)] {
            signals[from].push(Errand { at: turn.at - seconds(dice, 0.0, 0.1), to });
        }
    }
}

fn errands(dice: &mut StdRng, person: usize, count: usize) -> Vec<Errand> {
    let times = times(dice, count);
    let burst = |at| {
        let count = dice.random_range(1..=BURST);
        let to: Vec<usize> = (0..count).map(|_| (person + dice.random_range(1..PEOPLE)) % PEOPLE).collect();
        to.into_iter().map(move |to| Errand { at, to })
    };
    times.into_iter().flat_map(burst).collect()
}

fn times(dice: &mut StdRng, count: usize) -> Vec<Duration> {
    let (begin, end) = (BEGIN.as_secs_f64(), END.as_secs_f64());
    let mut times: Vec<Duration> = (0..count).map(|_| seconds(dice, begin, end)).collect();
    times.sort_unstable();
    times
}

/// A fault, its duration, and the recovery if it needs one.
type Spell = (Change, Duration, Option<Change>);

/// Faults one after another until the end: some seconds without one, then a fault for a while.
fn spells(
    dice: &mut StdRng,
    calm: std::ops::Range<u32>,
    mut spell: impl FnMut(&mut StdRng) -> Spell,
) -> Vec<Turn> {
    let (mut turns, mut at) = (Vec::new(), BEGIN);
    loop {
        at += seconds(dice, calm.start.into(), calm.end.into());
        let (breaks, lasts, mends) = spell(dice);
        if at + lasts > END {
            return turns;
        }
        turns.push(Turn { at, what: breaks });
        at += lasts;
        turns.extend(mends.map(|what| Turn { at, what }));
    }
}

fn server_spell(dice: &mut StdRng) -> Spell {
    let breaks = if dice.random_bool(0.6) { Change::Crash } else { Change::Stop };
    (breaks, seconds(dice, 0.1, 12.0), Some(Change::Start))
}

fn network_spell(dice: &mut StdRng, person: usize) -> Spell {
    let (breaks, mends) = match dice.random_range(0..10) {
        0 => (Change::Cut(person), Change::Mend(person)),
        1 => (Change::CutUp(person), Change::MendUp(person)),
        2 => (Change::CutDown(person), Change::MendDown(person)),
        3 => (Change::Hold(person), Change::Release(person)),
        4 => {
            let slow = seconds(dice, 0.2, 3.0);
            (Change::Latency(person, slow), Change::Latency(person, USUAL_LATENCY))
        }
        _ => return (Change::Break(person), Duration::ZERO, None),
    };
    // A short break, one that a heartbeat detects, or one that no session survives.
    let lasts = match dice.random_range(0..10) {
        0..6 => seconds(dice, 0.05, 2.0),
        6..9 => seconds(dice, 2.0, 25.0),
        _ => seconds(dice, 32.0, 50.0),
    };
    (breaks, lasts, Some(mends))
}

/// Whole milliseconds, so that they are steps of the simulation.
fn seconds(dice: &mut StdRng, least: f64, most: f64) -> Duration {
    Duration::from_millis((dice.random_range(least..most) * 1000.0) as u64)
}
