//! What must hold, whatever broke.

use std::collections::BTreeSet;

use super::people::{Call, Moment, Notes, People, Person, Post, Session};

/// Whether everybody is there again, and every letter is acknowledged and on the shelf that it is for.
pub(super) fn is_all_well(people: &People) -> bool {
    people.all().iter().all(|person| {
        let notes = person.notes();
        let shelved: BTreeSet<Post> = notes.shelf.iter().map(|shelved| shelved.letter).collect();
        notes.is_back
            && notes.posted.len() == person.letters.len()
            && letters_for(people, person).is_subset(&shelved)
    })
}

/// Whether each has parted from each, which takes sessions that are there on both sides.
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

/// Holds what everybody wrote down against what was sent.
pub(super) fn check(people: &People) {
    for person in people.all() {
        let notes = person.notes();
        assert!(notes.faults.is_empty(), "{}: {:#?}", person.name(), notes.faults);
        check_mailbox(people, person, &notes);
        check_signals(person, &notes);
    }
    for (from, to) in pairs(people) {
        check_letters(from, to);
        check_calls(from, to);
    }
}

/// Numbers without a gap, each once, and in their order.
fn check_mailbox(people: &People, person: &Person, notes: &Notes) {
    let name = person.name();
    let seqs: Vec<u64> = notes.shelf.iter().map(|shelved| shelved.seq).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{name}'s mailbox is out of order: {seqs:?}");
    let all: BTreeSet<u64> = seqs.iter().chain(notes.posted.values()).copied().collect();
    let count = u64::try_from(person.letters.len() + letters_for(people, person).len()).unwrap();
    assert!(all.iter().copied().eq(1..=count), "{name}'s mailbox of {count} has gaps or more: {all:?}");
}

/// Each letter once, and in the order in which they were sent.
fn check_letters(from: &Person, to: &Person) {
    let (is_refused, notes) = (from.notes().refused > 0, to.notes());
    let of_sender =
        notes.shelf.iter().map(|shelved| shelved.letter).filter(|letter| letter.from == from.number());
    let mut got: Vec<usize> = of_sender.map(|letter| letter.number).collect();
    if is_refused {
        got.sort_unstable();
    }
    let sent: Vec<usize> = letters_between(from, to).collect();
    assert_eq!(got, sent, "letters of {} to {}", from.name(), to.name());
}

/// No signal twice, in whichever session, and those of a sender in the order in which he sent them.
fn check_signals(person: &Person, notes: &Notes) {
    for from in 0..super::script::PEOPLE {
        let heard = notes.sessions.iter().flat_map(|session| heard_of(session, from));
        let numbers: Vec<usize> = heard.collect();
        let name = person.name();
        assert!(numbers.is_sorted_by(|one, next| one < next), "signals to {name} of {from}: {numbers:?}");
    }
}

/// In a session, nothing is missing in front of what came; in the last one, which nothing broke for good, nothing at all.
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

fn letters_for(people: &People, person: &Person) -> BTreeSet<Post> {
    let letters = people
        .all()
        .iter()
        .flat_map(|from| letters_between(from, person).map(|number| Post { from: from.number(), number }));
    letters.collect()
}

fn letters_between(from: &Person, to: &Person) -> impl Iterator<Item = usize> {
    let letters = from.letters.iter().enumerate();
    letters.filter(|(_, letter)| letter.to == to.number()).map(|(number, _)| number)
}
