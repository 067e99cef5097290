//! Operations of the command line on accounts.

use aldis_protocol::{AlertKind, UserId};
use uuid::Uuid;

use super::{
    Fixture, NOW, acting, by_token, device_id, fifty_at_once, log_in,
    revocations::{family, written},
    suite,
};
use crate::store::{
    AccountSummary, Administered, Evidence, FactorChange, FactorCheck, FamilyCreation, IdentityCreation,
    ImportedAccount, NewDevice, NewFamily, Notice, RefreshUse, Revocation,
};

suite! {
    a_disabled_account_cannot_sign_in_until_it_is_enabled,
    every_lookup_shows_that_an_account_is_disabled,
    an_account_is_disabled_once,
    disabling_during_many_logins_leaves_no_family,
    an_operator_sets_a_password,
    a_second_factor_is_removed_with_its_failures,
    every_session_of_an_account_is_signed_out,
    operations_on_an_unknown_account_do_nothing,
    accounts_are_read_page_by_page,
    accounts_with_a_free_address_are_imported,
    two_concurrent_imports_create_each_address_once,
}

fn new_family(user_id: UserId) -> NewFamily {
    let family_id = Uuid::new_v4();
    let mut token_hash = [0; 32];
    token_hash[..16].copy_from_slice(family_id.as_bytes());
    NewFamily { family_id, user_id, device_id: None, token_hash, second_factor: false }
}

async fn logs_in(at: &Fixture, user: UserId) -> FamilyCreation {
    log_in(&at.store, &new_family(user), NOW).await
}

async fn a_disabled_account_cannot_sign_in_until_it_is_enabled(at: Fixture) {
    let user = at.user().await;
    let login = new_family(user);
    log_in(&at.store, &login, NOW).await;
    assert_eq!(at.store.disable_account(user, NOW + 1).await.unwrap(), Administered::Done);

    let family = login.family_id;
    // In this order: connected clients are told that the account is disabled.
    let expected = [Revocation::AccountDisabled { user }, Revocation::Family { user, family }];
    assert_eq!(written(&at).await, expected);
    let used = at.store.use_refresh_token(&login.token_hash, &[9; 32], NOW + 2).await.unwrap();
    assert_eq!(used, RefreshUse::Revoked);
    assert_eq!(logs_in(&at, user).await, FamilyCreation::Disabled);

    assert_eq!(at.store.enable_account(user).await.unwrap(), Administered::Done);
    assert_eq!(logs_in(&at, user).await, FamilyCreation::Created { auth_time_ms: NOW });
    let used = at.store.use_refresh_token(&login.token_hash, &[9; 32], NOW + 3).await.unwrap();
    assert_eq!(used, RefreshUse::Revoked, "a revoked family stays revoked");
}

async fn every_lookup_shows_that_an_account_is_disabled(at: Fixture) {
    let (user, key) = (UserId::new(Uuid::new_v4()), [7; 32]);
    assert_eq!(at.store.create_account_for_key(user, key, NOW).await.unwrap(), IdentityCreation::Created);
    let phone = NewDevice {
        device_id: device_id("phone"),
        pubkey: Some([3; 32]),
        name: None,
        created_at_ms: NOW,
        signature: None,
    };
    at.store.register_device(&acting(user), &phone, NOW).await.unwrap();
    let by_email = at.user().await;
    for disabled in [user, by_email] {
        at.store.disable_account(disabled, NOW + 1).await.unwrap();
    }
    let email = at.store.find_email_account(&format!("{by_email}@example.org")).await.unwrap().unwrap();
    assert_eq!(email.disabled_at_ms, Some(NOW + 1));
    let identity = at.store.find_identity(&key).await.unwrap().unwrap();
    assert_eq!(identity.disabled_at_ms, Some(NOW + 1));
    assert!(at.store.find_device(&phone.device_id).await.unwrap().unwrap().disabled);
    at.store.enable_account(user).await.unwrap();
    assert_eq!(at.store.find_identity(&key).await.unwrap().unwrap().disabled_at_ms, None);
    assert!(!at.store.find_device(&phone.device_id).await.unwrap().unwrap().disabled);
}

async fn an_account_is_disabled_once(at: Fixture) {
    let user = at.user().await;
    assert_eq!(at.store.enable_account(user).await.unwrap(), Administered::Unchanged);
    assert_eq!(at.store.disable_account(user, NOW).await.unwrap(), Administered::Done);
    assert_eq!(at.store.disable_account(user, NOW + 1).await.unwrap(), Administered::Unchanged);
    assert_eq!(written(&at).await, [Revocation::AccountDisabled { user }]);
}

async fn disabling_during_many_logins_leaves_no_family(at: Fixture) {
    let user = at.user().await;
    let made = fifty_at_once(&at.store, move |store, number| async move {
        if number == 25 {
            store.disable_account(user, NOW).await.unwrap();
            return None;
        }
        let login = new_family(user);
        let created = log_in(&store, &login, NOW).await;
        (created == FamilyCreation::Created { auth_time_ms: NOW }).then_some(login.family_id)
    })
    .await;
    let revoked = written(&at).await;
    for family in made.into_iter().flatten() {
        assert!(revoked.contains(&Revocation::Family { user, family }), "{family} is in force");
    }
}

async fn an_operator_sets_a_password(at: Fixture) {
    let user = at.user().await;
    let phone = device(&at, user).await;
    let signed_in = family(&at, user, None).await;
    assert_eq!(at.store.set_password(user, "another", NOW).await.unwrap(), Administered::Done);
    assert_eq!(at.store.password_hash_of(user).await.unwrap().as_deref(), Some("another"));
    assert_eq!(written(&at).await, [Revocation::Family { user, family: signed_in }]);
    let told = at.store.take_notices(user, &phone, NOW).await.unwrap();
    assert_eq!(told, [Notice::of_account(AlertKind::PasswordChanged)]);

    let by_key = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(by_key, [7; 32], NOW).await.unwrap();
    assert_eq!(at.store.set_password(by_key, "another", NOW).await.unwrap(), Administered::NoPassword);
    assert_eq!(at.store.password_hash_of(by_key).await.unwrap(), None);
}

async fn device(at: &Fixture, user_id: UserId) -> aldis_protocol::DeviceId {
    let device = NewDevice {
        device_id: device_id(&format!("phone-{user_id}")),
        pubkey: None,
        name: None,
        created_at_ms: NOW,
        signature: None,
    };
    at.store.register_device(&acting(user_id), &device, NOW).await.unwrap();
    device.device_id
}

async fn a_second_factor_is_removed_with_its_failures(at: Fixture) {
    let user = at.user().await;
    let phone = device(&at, user).await;
    let step = |step| move |_: &[u8]| Evidence::Step { step, sealed_secret: b"sealed".to_vec() };
    let wrong = |_: &[u8]| Evidence::Wrong;
    let (store, confirmation) = (&at.store, FactorChange::Confirmation);

    store.enroll_totp(&acting(user), b"sealed", &[[1; 32]], NOW).await.unwrap();
    assert_eq!(store.remove_second_factor(user, NOW).await.unwrap(), Administered::Unchanged);
    let gone = store.change_second_factor(&acting(user), confirmation, NOW, step(1)).await.unwrap();
    assert_eq!(gone, FactorCheck::NotEnrolled, "an unconfirmed one is removed too");

    store.enroll_totp(&acting(user), b"sealed", &[[1; 32]], NOW).await.unwrap();
    let confirmed = store.change_second_factor(&acting(user), confirmation, NOW, step(1)).await.unwrap();
    assert_eq!(confirmed, FactorCheck::Accepted);
    for _ in 0..5 {
        store.check_second_factor(user, NOW, wrong).await.unwrap();
    }
    assert_eq!(store.remove_second_factor(user, NOW).await.unwrap(), Administered::Done);
    assert!(!store.has_second_factor(user).await.unwrap());
    let told = store.take_notices(user, &phone, NOW).await.unwrap();
    assert_eq!(told, [Notice::of_account(AlertKind::TotpChanged)]);

    store.enroll_totp(&acting(user), b"sealed", &[[1; 32]], NOW).await.unwrap();
    let confirmed = store.change_second_factor(&acting(user), confirmation, NOW, step(1)).await.unwrap();
    assert_eq!(confirmed, FactorCheck::Accepted, "not locked, and a current code works");
}

async fn every_session_of_an_account_is_signed_out(at: Fixture) {
    let user = at.user().await;
    let signed_in = family(&at, user, None).await;
    assert_eq!(at.store.sign_out(user, NOW).await.unwrap(), Administered::Done);
    let expected = [Revocation::SignedOut { user }, Revocation::Family { user, family: signed_in }];
    assert_eq!(written(&at).await, expected);
    assert_eq!(logs_in(&at, user).await, FamilyCreation::Created { auth_time_ms: NOW });
}

async fn operations_on_an_unknown_account_do_nothing(at: Fixture) {
    let deleted = at.user().await;
    let signed_in = family(&at, deleted, None).await;
    at.store.delete_account(&by_token(deleted, signed_in), NOW).await.unwrap();
    let before = written(&at).await;
    for user in [deleted, UserId::new(Uuid::new_v4())] {
        assert_eq!(at.store.disable_account(user, NOW).await.unwrap(), Administered::NoAccount);
        assert_eq!(at.store.enable_account(user).await.unwrap(), Administered::NoAccount);
        assert_eq!(at.store.set_password(user, "another", NOW).await.unwrap(), Administered::NoAccount);
        assert_eq!(at.store.remove_second_factor(user, NOW).await.unwrap(), Administered::NoAccount);
        assert_eq!(at.store.sign_out(user, NOW).await.unwrap(), Administered::NoAccount);
    }
    assert_eq!(written(&at).await, before);
    assert_eq!(at.store.accounts_after(None, 10).await.unwrap(), []);
}

async fn accounts_are_read_page_by_page(at: Fixture) {
    let mut expected = Vec::new();
    for number in 0..5_u8 {
        let user = UserId::new(Uuid::now_v7());
        at.store.create_account_for_key(user, [number; 32], NOW + i64::from(number)).await.unwrap();
        let fingerprint = at.store.fingerprint_of(user).await.unwrap();
        expected.push(AccountSummary {
            user_id: user,
            email: None,
            fingerprint,
            created_at_ms: NOW + i64::from(number),
            disabled_at_ms: None,
            second_factor_at_ms: None,
        });
    }
    let by_email = UserId::new(Uuid::now_v7());
    at.store.create_account(by_email, "ann@example.org", "hash", NOW).await.unwrap();
    at.store.enroll_totp(&acting(by_email), b"sealed", &[], NOW).await.unwrap();
    at.store.disable_account(by_email, NOW + 9).await.unwrap();
    expected.push(AccountSummary {
        user_id: by_email,
        email: Some("ann@example.org".into()),
        fingerprint: None,
        created_at_ms: NOW,
        disabled_at_ms: Some(NOW + 9),
        second_factor_at_ms: None,
    });
    expected.sort_by_key(|account| account.user_id.as_uuid());

    let mut read = Vec::new();
    loop {
        let last = read.last().map(|account: &AccountSummary| account.user_id);
        let page = at.store.accounts_after(last, 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, expected);

    let now = |_: &[u8]| Evidence::Step { step: 1, sealed_secret: b"sealed".to_vec() };
    let confirmation = FactorChange::Confirmation;
    at.store.enable_account(by_email).await.unwrap();
    at.store.change_second_factor(&acting(by_email), confirmation, NOW + 8, now).await.unwrap();
    let read = at.store.accounts_after(None, 10).await.unwrap();
    let factors: Vec<_> = read.iter().filter_map(|account| account.second_factor_at_ms).collect();
    assert_eq!(factors, [NOW + 8]);
}

fn imported(email: &str) -> ImportedAccount {
    let user_id = UserId::new(Uuid::now_v7());
    ImportedAccount { user_id, email: email.into(), password_hash: format!("hash of {email}") }
}

async fn accounts_with_a_free_address_are_imported(at: Fixture) {
    let user = at.user().await;
    let taken = at.store.email_of(user).await.unwrap().unwrap();
    let (first, second) = (imported("zoe@example.org"), imported("zoe@example.org"));
    let all = vec![first.clone(), imported(&taken), imported("ann@example.org"), second];
    assert!(!format!("{all:?}").contains("hash of"));
    assert_eq!(at.store.import_accounts(all.clone(), NOW).await.unwrap(), 2);
    assert_eq!(at.store.password_hash_of(user).await.unwrap().as_deref(), Some("hash"));
    let zoe = at.store.find_email_account("zoe@example.org").await.unwrap().unwrap();
    assert_eq!((zoe.user_id, &*zoe.password_hash), (first.user_id, "hash of zoe@example.org"));
    assert_eq!(at.store.import_accounts(all, NOW).await.unwrap(), 0, "a repetition");
    assert_eq!(at.store.import_accounts(Vec::new(), NOW).await.unwrap(), 0);
}

async fn two_concurrent_imports_create_each_address_once(at: Fixture) {
    let emails: Vec<String> = (0..40).map(|number| format!("user{number}@example.org")).collect();
    let made = fifty_at_once(&at.store, move |store, number| {
        let mut batch: Vec<_> = emails.iter().map(|email| imported(email)).collect();
        if number % 2 == 1 {
            batch.reverse();
        }
        async move { store.import_accounts(batch, NOW).await.unwrap() }
    })
    .await;
    assert_eq!(made.into_iter().sum::<usize>(), 40);
}
