//! The checks at the end of a run.

use std::collections::BTreeSet;

use super::people::{Call, Durable, Moment, Notes, People, Person, Post, Session};

/// Whether all people are connected again, and all messages are acknowledged and received.
pub(super) fn is_all_well(people: &People) -> bool {
    people.all().iter().all(|person| {
        let notes = person.notes();
        let is_whole = |kind| {
            let shelf = notes.shelf(kind);
            let got: BTreeSet<Post> = shelf.got.iter().map(|shelved| shelved.post).collect();
            let is_sent = shelf.acknowledged.len() == person.times(kind).len();
            is_sent && from_others(people, person, kind).is_subset(&got)
        };
        notes.is_back && Durable::ALL.into_iter().all(is_whole)
    })
}

/// Whether all people have got each other's last signals, which needs sessions on both sides.
pub(super) fn have_all_parted(people: &People) -> bool {
    people.all().iter().all(|person| {
        let from = people.all().iter().filter(|other| other.number() != person.number());
        let partings: BTreeSet<Post> = from
            .map(|other| Post { from: other.number(), number: other.parting_signal(person.number()) })
            .collect();
        let heard = person.notes().sessions.last().map(|session| session.heard.iter().copied().collect());
        heard.is_some_and(|heard| partings.is_subset(&heard))
    })
}

/// Compares all notes with what was sent.
pub(super) fn check(people: &People) {
    for person in people.all() {
        let notes = person.notes();
        assert!(notes.faults.is_empty(), "{}: {:#?}", person.name(), notes.faults);
        Durable::ALL.into_iter().for_each(|kind| check_numbers(people, person, &notes, kind));
        check_signals(person, &notes);
    }
    for (from, to) in pairs(people) {
        Durable::ALL.into_iter().for_each(|kind| check_order(from, to, kind));
        check_calls(from, to);
    }
}

/// Numbers come without gaps, once and in order.
fn check_numbers(people: &People, person: &Person, notes: &Notes, kind: Durable) {
    let (name, shelf) = (person.name(), notes.shelf(kind));
    let seqs: Vec<u64> = shelf.got.iter().map(|shelved| shelved.seq).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{name}: {kind:?} out of order: {seqs:?}");
    let all: BTreeSet<u64> = seqs.iter().chain(shelf.acknowledged.values()).copied().collect();
    let count = (person.times(kind).len() + from_others(people, person, kind).len()) as u64;
    assert!(all.iter().copied().eq(1..=count), "{name}: {kind:?} 1 to {count} with gaps or more: {all:?}");
}

/// Messages come once, and in the order in which they were sent.
fn check_order(from: &Person, to: &Person, kind: Durable) {
    let (is_refused, notes) = (from.notes().shelf(kind).refused > 0, to.notes());
    let posts = notes.shelf(kind).got.iter().map(|shelved| shelved.post);
    let mut got: Vec<usize> =
        posts.filter(|post| post.from == from.number()).map(|post| post.number).collect();
    if is_refused {
        got.sort_unstable();
    }
    let sent: Vec<usize> = sent_to(from, to, kind).collect();
    assert_eq!(got, sent, "{kind:?} of {} to {}", from.name(), to.name());
}

/// No signal comes twice, in any session, and those of one sender come in order.
fn check_signals(person: &Person, notes: &Notes) {
    for from in 0..super::script::PEOPLE {
        let heard = notes.sessions.iter().flat_map(|session| heard_of(session, from));
        let numbers: Vec<usize> = heard.collect();
        let name = person.name();
        assert!(numbers.is_sorted_by(|one, next| one < next), "signals to {name} of {from}: {numbers:?}");
    }
}

/// In a session, no signal is missing before a received one. In the last session, which no fault ended, none is
/// missing at all.
fn check_calls(from: &Person, to: &Person) {
    let (sender, receiver) = (from.notes(), to.notes());
    let taken = |since: Moment| {
        let is_counted = move |call: &Call| call.to == to.number() && call.is_taken && call.asked > since;
        sender.calls.iter().filter(move |(_, call)| is_counted(call)).map(|(number, _)| *number)
    };
    for (index, session) in receiver.sessions.iter().enumerate() {
        let heard: BTreeSet<usize> = heard_of(session, from.number()).collect();
        let is_last = index + 1 == receiver.sessions.len();
        let last = if is_last { usize::MAX } else { heard.last().copied().unwrap_or_default() };
        let missing: Vec<usize> =
            taken(session.began).filter(|number| *number < last && !heard.contains(number)).collect();
        assert!(
            missing.is_empty(),
            "of {} to {}, {missing:?} are missing in {session:?}",
            from.name(),
            to.name()
        );
    }
}

fn heard_of(session: &Session, from: usize) -> impl Iterator<Item = usize> {
    session.heard.iter().filter(move |heard| heard.from == from).map(|heard| heard.number)
}

fn pairs(people: &People) -> impl Iterator<Item = (&Person, &Person)> {
    let all = people.all();
    all.iter()
        .flat_map(move |from| all.iter().map(move |to| (from, to)))
        .filter(|(from, to)| from.number() != to.number())
}

/// The messages of others that are for this person too.
fn from_others(people: &People, person: &Person, kind: Durable) -> BTreeSet<Post> {
    let others = people.all().iter().filter(|from| from.number() != person.number());
    let posts = others
        .flat_map(|from| sent_to(from, person, kind).map(|number| Post { from: from.number(), number }));
    posts.collect()
}

fn sent_to(from: &Person, to: &Person, kind: Durable) -> impl Iterator<Item = usize> {
    let is_for = move |number: &usize| match kind {
        Durable::Letter => from.letters[*number].to == to.number(),
        Durable::Word => true,
    };
    (0..from.times(kind).len()).filter(is_for)
}
