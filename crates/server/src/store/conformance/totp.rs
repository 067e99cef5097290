//! Second factors.

use aldis_protocol::UserId;

use super::{Fixture, NOW, acting, fifty_at_once, suite};
use crate::store::{
    Evidence, FactorChange, FactorCheck, Store,
    totp::{FAILURE_WINDOW_MS, MAX_FAILURES},
};

suite! {
    a_factor_is_active_once_confirmed,
    an_enrolment_replaces_only_an_inactive_one,
    a_step_works_once_and_earlier_steps_do_not_work_after_it,
    only_one_of_many_uses_of_a_step_is_accepted,
    a_repeated_code_was_counted_as_a_failure,
    a_recovery_code_works_once,
    only_one_of_many_uses_of_a_recovery_code_is_accepted,
    five_wrong_codes_lock_until_the_oldest_no_longer_counts,
    no_more_than_five_of_many_guesses_are_checked,
    enrolling_again_does_not_lift_the_lock,
    a_removed_factor_leaves_nothing,
    a_secret_is_stored_as_it_was_last_sealed,
    failures_that_no_longer_count_are_swept,
}

const SECRET: &[u8] = b"sealed";

fn step(step: i64) -> Evidence {
    Evidence::Step { step, sealed_secret: SECRET.to_vec() }
}

fn recovery(hash: u8) -> Evidence {
    Evidence::Recovery(vec![[99; 32], [hash; 32]])
}

/// What a code is used for: a sign-in, or a change.
type ShownFor = Option<FactorChange>;

const SIGN_IN: ShownFor = None;
const CONFIRMATION: ShownFor = Some(FactorChange::Confirmation);
const REMOVAL: ShownFor = Some(FactorChange::Removal);

async fn check(
    store: &Store,
    user: UserId,
    shown_for: ShownFor,
    evidence: Evidence,
    now_ms: i64,
) -> FactorCheck {
    let judge = |_: &[u8]| evidence;
    match shown_for {
        None => store.check_second_factor(user, now_ms, judge).await.unwrap(),
        Some(change) => store.change_second_factor(&acting(user), change, now_ms, judge).await.unwrap(),
    }
}

async fn sign_in(at: &Fixture, user: UserId, evidence: Evidence) -> FactorCheck {
    check(&at.store, user, SIGN_IN, evidence, NOW).await
}

/// A user with a factor that was activated by the code of step 1, and with the recovery codes 1 and 2.
async fn enrolled(at: &Fixture) -> UserId {
    let user = at.user().await;
    assert!(at.store.enroll_totp(&acting(user), SECRET, &[[1; 32], [2; 32]], NOW).await.unwrap());
    let confirmed = check(&at.store, user, CONFIRMATION, step(1), NOW).await;
    assert_eq!(confirmed, FactorCheck::Accepted);
    user
}

async fn a_factor_is_active_once_confirmed(at: Fixture) {
    let user = at.user().await;
    assert_eq!(sign_in(&at, user, step(1)).await, FactorCheck::NotEnrolled);
    at.store.enroll_totp(&acting(user), SECRET, &[[1; 32]], NOW).await.unwrap();
    assert!(!at.store.has_second_factor(user).await.unwrap());
    assert_eq!(sign_in(&at, user, step(1)).await, FactorCheck::NotEnrolled);

    let wrong = check(&at.store, user, CONFIRMATION, Evidence::Wrong, NOW).await;
    assert_eq!(wrong, FactorCheck::Wrong);
    assert!(!at.store.has_second_factor(user).await.unwrap());
    let right = check(&at.store, user, CONFIRMATION, step(1), NOW).await;
    assert_eq!(right, FactorCheck::Accepted);
    assert!(at.store.has_second_factor(user).await.unwrap());
    assert!(!at.store.has_second_factor(at.user().await).await.unwrap());
}

async fn an_enrolment_replaces_only_an_inactive_one(at: Fixture) {
    let user = at.user().await;
    assert!(at.store.enroll_totp(&acting(user), b"first", &[[1; 32]], NOW).await.unwrap());
    assert!(at.store.enroll_totp(&acting(user), SECRET, &[[2; 32]], NOW).await.unwrap());
    check(&at.store, user, CONFIRMATION, step(1), NOW).await;
    assert!(!at.store.enroll_totp(&acting(user), b"third", &[[3; 32]], NOW).await.unwrap());

    let judge = |sealed: &[u8]| if sealed == SECRET { step(2) } else { Evidence::Wrong };
    let checked = at.store.check_second_factor(user, NOW, judge).await.unwrap();
    assert_eq!(checked, FactorCheck::Accepted);
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Wrong);
    assert_eq!(sign_in(&at, user, recovery(3)).await, FactorCheck::Wrong);
    assert_eq!(sign_in(&at, user, recovery(2)).await, FactorCheck::Accepted);
}

async fn a_step_works_once_and_earlier_steps_do_not_work_after_it(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(sign_in(&at, user, step(1)).await, FactorCheck::Repeated);
    assert_eq!(sign_in(&at, user, step(3)).await, FactorCheck::Accepted);
    assert_eq!(sign_in(&at, user, step(3)).await, FactorCheck::Repeated);
    assert_eq!(sign_in(&at, user, step(2)).await, FactorCheck::Wrong);
    assert_eq!(sign_in(&at, user, step(4)).await, FactorCheck::Accepted);
}

async fn a_repeated_code_was_counted_as_a_failure(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Accepted);
    for _ in 0..=MAX_FAILURES {
        assert_eq!(sign_in(&at, user, step(1)).await, FactorCheck::Repeated);
        assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Repeated);
    }
    assert_eq!(sign_in(&at, user, step(2)).await, FactorCheck::Accepted);
    let later = check(&at.store, user, None, recovery(1), NOW + 30_000).await;
    assert_eq!(later, FactorCheck::Wrong, "a used recovery code is not remembered for ever");
    let other = enrolled(&at).await;
    assert_eq!(sign_in(&at, other, step(1)).await, FactorCheck::Repeated);
    assert_eq!(sign_in(&at, other, recovery(1)).await, FactorCheck::Accepted, "each user has their own");
}

async fn at_once(at: &Fixture, user: UserId, evidence: fn() -> Evidence) -> (usize, usize, usize) {
    let checks = fifty_at_once(&at.store, move |store, _| async move {
        check(&store, user, SIGN_IN, evidence(), NOW).await
    })
    .await;
    let count = |wanted| checks.iter().filter(|check| **check == wanted).count();
    (count(FactorCheck::Accepted), count(FactorCheck::Wrong), count(FactorCheck::Locked))
}

async fn only_one_of_many_uses_of_a_step_is_accepted(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(at_once(&at, user, || step(2)).await, (1, 0, 0));
}

async fn a_recovery_code_works_once(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Accepted);
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Repeated);
    assert_eq!(sign_in(&at, user, recovery(2)).await, FactorCheck::Accepted);
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Wrong);
    let other = enrolled(&at).await;
    assert_eq!(sign_in(&at, other, recovery(1)).await, FactorCheck::Accepted, "each user has their own");
}

async fn only_one_of_many_uses_of_a_recovery_code_is_accepted(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(at_once(&at, user, || recovery(1)).await, (1, 0, 0));
}

async fn five_wrong_codes_lock_until_the_oldest_no_longer_counts(at: Fixture) {
    let user = enrolled(&at).await;
    for number in 0..MAX_FAILURES {
        let wrong = check(&at.store, user, SIGN_IN, Evidence::Wrong, NOW + number).await;
        assert_eq!(wrong, FactorCheck::Wrong);
    }
    for evidence in [step(2), recovery(1), Evidence::Wrong] {
        for shown_for in [SIGN_IN, CONFIRMATION, REMOVAL] {
            let evidence = match &evidence {
                Evidence::Step { step: number, .. } => step(*number),
                Evidence::Recovery(hashes) => Evidence::Recovery(hashes.clone()),
                Evidence::Wrong => Evidence::Wrong,
            };
            let locked = check(&at.store, user, shown_for, evidence, NOW + FAILURE_WINDOW_MS - 1).await;
            assert_eq!(locked, FactorCheck::Locked);
        }
    }
    let later = check(&at.store, user, SIGN_IN, step(2), NOW + FAILURE_WINDOW_MS).await;
    assert_eq!(later, FactorCheck::Accepted);
    let other = enrolled(&at).await;
    assert_eq!(sign_in(&at, other, step(2)).await, FactorCheck::Accepted, "the lock is per user");
}

async fn no_more_than_five_of_many_guesses_are_checked(at: Fixture) {
    let user = enrolled(&at).await;
    assert_eq!(at_once(&at, user, || Evidence::Wrong).await, (0, 5, 45));
    assert_eq!(sign_in(&at, user, step(2)).await, FactorCheck::Locked);
}

async fn enrolling_again_does_not_lift_the_lock(at: Fixture) {
    let user = at.user().await;
    for _ in 0..MAX_FAILURES {
        assert!(at.store.enroll_totp(&acting(user), SECRET, &[[1; 32]], NOW).await.unwrap());
        check(&at.store, user, CONFIRMATION, Evidence::Wrong, NOW).await;
    }
    assert!(at.store.enroll_totp(&acting(user), SECRET, &[[1; 32]], NOW).await.unwrap());
    let locked = check(&at.store, user, CONFIRMATION, step(1), NOW).await;
    assert_eq!(locked, FactorCheck::Locked);
}

async fn a_removed_factor_leaves_nothing(at: Fixture) {
    let user = enrolled(&at).await;
    let wrong = check(&at.store, user, REMOVAL, recovery(3), NOW).await;
    assert_eq!(wrong, FactorCheck::Wrong);
    assert!(at.store.has_second_factor(user).await.unwrap());
    let right = check(&at.store, user, REMOVAL, recovery(2), NOW).await;
    assert_eq!(right, FactorCheck::Accepted);
    assert!(!at.store.has_second_factor(user).await.unwrap());
    let again = check(&at.store, user, REMOVAL, recovery(1), NOW).await;
    assert_eq!(again, FactorCheck::NotEnrolled);

    at.store.enroll_totp(&acting(user), SECRET, &[[3; 32]], NOW).await.unwrap();
    let confirmed = check(&at.store, user, CONFIRMATION, step(1), NOW).await;
    assert_eq!(confirmed, FactorCheck::Accepted, "a new secret has new steps");
    assert_eq!(sign_in(&at, user, recovery(1)).await, FactorCheck::Wrong);
}

async fn a_secret_is_stored_as_it_was_last_sealed(at: Fixture) {
    let user = enrolled(&at).await;
    let renewed = || Evidence::Step { step: 2, sealed_secret: b"sealed again".to_vec() };
    assert_eq!(sign_in(&at, user, renewed()).await, FactorCheck::Accepted);
    let replayed = Evidence::Step { step: 2, sealed_secret: b"another form".to_vec() };
    assert_eq!(sign_in(&at, user, replayed).await, FactorCheck::Repeated);
    let mut kept = Vec::new();
    let judge = |sealed: &[u8]| {
        kept = sealed.to_vec();
        Evidence::Wrong
    };
    at.store.check_second_factor(user, NOW, judge).await.unwrap();
    assert_eq!(kept, b"sealed again");
}

async fn failures_that_no_longer_count_are_swept(at: Fixture) {
    let user = enrolled(&at).await;
    for number in 0..MAX_FAILURES {
        check(&at.store, user, SIGN_IN, Evidence::Wrong, NOW + number).await;
    }
    assert_eq!(at.store.sweep(NOW + FAILURE_WINDOW_MS - 1).await.unwrap(), 0);
    assert_eq!(at.store.sweep(NOW + FAILURE_WINDOW_MS + 1).await.unwrap(), 2);
}
