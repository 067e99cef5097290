//! Used challenges, and with them the group-commit writer.

use aldis_protocol::{RequestId, UserId};
use futures::future::join_all;

use super::{Fixture, NOW, device_id, fifty_at_once, suite, take_every_turn};
use crate::store::{NewMessage, PendingAppend, Posted, StoreError, db::Db};

suite! {
    a_challenge_works_once,
    only_one_of_many_uses_of_a_challenge_succeeds,
    each_of_many_challenges_gets_its_own_answer,
    used_challenges_are_swept_long_after_they_expired,
    an_append_that_the_database_refuses_fails_alone,
    a_full_queue_refuses_at_once_and_loses_nothing,
    closing_carries_out_what_was_queued,
    a_challenge_that_was_used_took_another_transaction,
    a_sign_in_waited_behind_messages,
}

const EXPIRY: i64 = NOW + 60_000;

fn challenge(number: u32) -> [u8; 32] {
    let mut challenge = [0; 32];
    challenge[..4].copy_from_slice(&number.to_be_bytes());
    challenge
}

async fn a_challenge_works_once(at: Fixture) {
    assert!(at.store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap());
    assert!(!at.store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap());
    assert!(!at.store.use_challenge([2; 32], EXPIRY, EXPIRY).await.unwrap());
    assert!(at.store.use_challenge([2; 32], EXPIRY, EXPIRY - 1).await.unwrap());
}

async fn only_one_of_many_uses_of_a_challenge_succeeds(at: Fixture) {
    let uses = fifty_at_once(&at.store, |store, _| async move {
        store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap()
    })
    .await;
    assert_eq!(uses.into_iter().filter(|first| *first).count(), 1);
}

async fn each_of_many_challenges_gets_its_own_answer(at: Fixture) {
    for number in (0..2000).step_by(3) {
        if number % 100 == 0 {
            assert!(at.store.use_challenge(challenge(number), EXPIRY, NOW).await.unwrap());
        }
    }
    let uses = (0..2000).map(|number| at.store.use_challenge(challenge(number), EXPIRY, NOW));
    for (number, first) in (0..2000).zip(join_all(uses).await) {
        assert_eq!(first.unwrap(), number % 300 != 0, "{number}");
    }
}

async fn used_challenges_are_swept_long_after_they_expired(at: Fixture) {
    let uses = (0..1200).map(|number| at.store.use_challenge(challenge(number), EXPIRY, NOW));
    join_all(uses).await.into_iter().for_each(|used| assert!(used.unwrap()));
    assert_eq!(at.store.sweep(EXPIRY).await.unwrap(), 0);
    assert_eq!(at.store.sweep(EXPIRY + 10 * 60 * 1000).await.unwrap(), 1200);
}

/// No real append can violate a constraint of the tables, so the test makes one that does.
async fn an_append_that_the_database_refuses_fails_alone(at: Fixture) {
    const REFUSED: i64 = EXPIRY + 1;
    match &at.store.db {
        Db::Sqlite { w, .. } => {
            let rule = "CREATE TRIGGER rule BEFORE INSERT ON used_challenges \
                 WHEN NEW.expires_at_ms = 1800000060001 BEGIN SELECT RAISE(ABORT, 'refused'); END";
            sqlx::query(rule).execute(w).await.map(drop).unwrap();
        }
        Db::Postgres(pool, _) => {
            let rule = "ALTER TABLE used_challenges ADD CHECK (expires_at_ms <> 1800000060001)";
            sqlx::query(rule).execute(pool).await.map(drop).unwrap();
        }
    }
    let expiry = |number| if number % 40 == 7 { REFUSED } else { EXPIRY };
    let uses = (0..400).map(|number| at.store.use_challenge(challenge(number), expiry(number), NOW));
    for (number, used) in (0..).zip(join_all(uses).await) {
        match used {
            Ok(first) => assert!(first && expiry(number) == EXPIRY, "{number}"),
            Err(error) => assert!(!error.is_retryable() && expiry(number) == REFUSED, "{number}: {error}"),
        }
    }
}

async fn a_full_queue_refuses_at_once_and_loses_nothing(at: Fixture) {
    let users = join_all((0..100).map(|_| at.user())).await;
    let post = |number: u32| {
        PendingAppend::by(|reply| at.store.post(message(number, users[number as usize % 100]), reply))
    };
    // Far more than are written in the time that it takes to queue them.
    let posted: Vec<_> = (0..20_000).map(post).collect();
    let answers = join_all(posted.into_iter().map(PendingAppend::answer)).await;
    assert!(answers.iter().any(|answer| matches!(answer, Err(StoreError::Overloaded))));
    for (number, outcome) in (0..).zip(answers) {
        let was_stored = match outcome {
            Ok(posted) => matches!(posted, Posted::Stored(_)),
            Err(error) => !matches!(error, StoreError::Overloaded),
        };
        if number % 100 == 0 {
            let again = post(number).answer().await.unwrap();
            assert_eq!(matches!(again, Posted::Duplicate(_)), was_stored, "{number}: {again:?}");
        }
    }
}

/// A message from a user to themselves.
fn message(number: u32, user: UserId) -> NewMessage {
    NewMessage {
        sender: user,
        sender_device: device_id(&format!("phone-{user}")),
        request: RequestId::new(&number.to_string()).unwrap(),
        addressee: user,
        recipient: user,
        encrypted_content: vec![7; 100].into(),
        is_allowed: true,
        reaches_out: false,
        now_ms: NOW,
    }
}

async fn closing_carries_out_what_was_queued(mut at: Fixture) {
    let uses: Vec<_> = (0..1000)
        .map(|number| {
            let store = at.store.clone();
            tokio::spawn(async move { store.use_challenge(challenge(number), EXPIRY, NOW).await })
        })
        .collect();
    at.store.close().await;
    let outcomes = join_all(uses).await;
    at.reopen().await;
    for (number, outcome) in (0..).zip(outcomes) {
        let was_used = outcome.unwrap().is_ok();
        let is_unused = at.store.use_challenge(challenge(number), EXPIRY, NOW).await.unwrap();
        assert_ne!(was_used, is_unused, "{number}");
    }
}

async fn a_challenge_that_was_used_took_another_transaction(at: Fixture) {
    assert!(at.store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap());
    let turns = take_every_turn(&at.store).await;
    assert!(!at.store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap());
    drop(turns);
}

async fn a_sign_in_waited_behind_messages(at: Fixture) {
    let user = at.user().await;
    let posted: Vec<_> = (0..8_000)
        .map(|number| PendingAppend::by(|reply| at.store.post(message(number, user), reply)))
        .collect();
    assert!(at.store.use_challenge([1; 32], EXPIRY, NOW).await.unwrap());
    assert!(!at.store.writer.is_at_rest(), "all messages were written before");
    for answer in join_all(posted.into_iter().map(|posted| posted.answer())).await {
        answer.unwrap();
    }
}
