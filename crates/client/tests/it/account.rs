//! An account's tokens under virtual time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aldis_client::{
    Account, AccountError, LoginProof, OwnDevice, SavedAccount, Server,
    protocol::{ErrorCode, UserId},
};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{Received, Record, api, challenge, json, problem, tokens},
    peer::{AUDIENCE, device, key},
};

const REFRESH: &str = "POST /api/auth/refresh";
const VERIFY: &str = "POST /api/auth/verify";

/// A server that gives tokens of 900 s, one after the other, and takes each while it is the last; `refresh` may say
/// otherwise.
fn giving(
    refresh: impl Fn(&Received) -> Option<Response<Full<Bytes>>> + Clone + Send + Sync + 'static,
) -> (Server, Record) {
    let given = Arc::new(AtomicUsize::new(0));
    let next = move || tokens(given.fetch_add(1, Ordering::Relaxed) + 1, 900);
    api(move |call| match call.line.as_str() {
        "POST /auth/register" => next(),
        "POST /api/auth/challenge" => challenge(AUDIENCE, 60_000),
        VERIFY => next(),
        REFRESH => refresh(call).unwrap_or_else(&next),
        "POST /api/auth/logout" => Response::builder().status(204).body("".into()).unwrap(),
        _ => json(200, &json!({"devices": []})),
    })
}

fn saved(device: Option<OwnDevice>) -> SavedAccount {
    let refresh_token = Some("refresh-0".into());
    SavedAccount { user_id: UserId::new(Uuid::nil()), fingerprint: None, device, refresh_token }
}

fn own_device() -> OwnDevice {
    OwnDevice::new(device(), key())
}

async fn fifty(account: &Account) {
    let calls: Vec<_> = (0..50)
        .map(|_| account.clone())
        .map(|account| tokio::spawn(async move { account.devices().await.map(drop) }))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_a_minute_before_it_ends_once_for_everybody() {
    let (server, record) = giving(|_| None);
    let account = server.without_device().register("ann@example.test", "correct horse").await.unwrap();
    tokio::time::sleep(Duration::from_secs(839)).await;
    fifty(&account).await;
    assert_eq!(record.count(REFRESH), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    fifty(&account).await;
    assert_eq!(record.count(REFRESH), 1);
    let shown: Vec<_> = record.calls().into_iter().filter_map(|call| call.bearer).collect();
    assert!(shown[..50].iter().all(|token| token == "access-1"));
    assert!(shown[50..].iter().all(|token| token == "access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_renewed_after_two_thirds_of_it() {
    let (server, record) = api(|call| match call.line.as_str() {
        "POST /auth/register" => tokens(1, 90),
        REFRESH => tokens(2, 90),
        _ => json(200, &json!({"devices": []})),
    });
    let account = server.without_device().register("ann@example.test", "correct horse").await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    account.access_token().await.unwrap();
    assert_eq!(record.count(REFRESH), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    account.access_token().await.unwrap();
    assert_eq!(record.count(REFRESH), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_renewed_and_the_call_made_once_more() {
    let refused = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&refused);
    let (server, record) = api(move |call| match call.line.as_str() {
        "POST /auth/register" => tokens(1, 900),
        REFRESH => tokens(2, 900),
        _ if call.bearer.as_deref() == Some("access-2") => json(200, &json!({"devices": []})),
        _ => {
            noted.fetch_add(1, Ordering::Relaxed);
            problem(401, "expired_token")
        }
    });
    let account = server.without_device().register("ann@example.test", "correct horse").await.unwrap();
    fifty(&account).await;
    assert_eq!(record.count(REFRESH), 1);
    assert!((1..=50).contains(&refused.load(Ordering::Relaxed)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_every_token_is_asked_twice() {
    let (server, record) = api(|call| match call.line.as_str() {
        "POST /auth/register" => tokens(1, 900),
        REFRESH => tokens(2, 900),
        _ => problem(401, "invalid_token"),
    });
    let account = server.without_device().register("ann@example.test", "correct horse").await.unwrap();
    let error = account.devices().await.unwrap_err();
    assert_eq!((error.code(), error.needs_credentials()), (Some(ErrorCode::InvalidToken), true));
    assert_eq!((record.count(REFRESH), record.count("GET /devices/")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_device_signs_in_where_the_refresh_token_is_too_old() {
    let (server, record) = giving(|_| Some(problem(401, "expired_token")));
    let account = server.restore(saved(Some(own_device())));
    fifty(&account).await;
    assert_eq!((record.count(REFRESH), record.count(VERIFY)), (1, 1));
    let verified = record.calls().into_iter().find(|call| call.line == VERIFY).unwrap();
    assert_eq!(verified.body["device_id"], device().as_str());

    let error = server.restore(saved(None)).devices().await.unwrap_err();
    assert_eq!((error.code(), error.needs_credentials()), (Some(ErrorCode::ExpiredToken), true));
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_was_revoked_stays_over() {
    for code in ["revoked", "refresh_reused"] {
        let kept: Arc<Mutex<Vec<SavedAccount>>> = Arc::default();
        let drawer = Arc::clone(&kept);
        let (server, record) = giving(move |_| Some(problem(401, code)));
        let server = server.keep(move |saved| {
            drawer.lock().unwrap().push(saved);
            async { Ok::<_, std::io::Error>(()) }
        });
        let account = server.restore(saved(Some(own_device())));
        let error = account.devices().await.unwrap_err();
        assert_eq!(error.code().unwrap().as_str(), code);
        assert!(matches!(account.devices().await, Err(AccountError::SignedOut)));
        assert_eq!((record.count(REFRESH), record.count(VERIFY)), (1, 0));
        assert!(kept.lock().unwrap().last().unwrap().refresh_token.is_none());
        account.sign_in_again(LoginProof::Device).await.unwrap();
        account.devices().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_a_while_ends_nothing() {
    let times = Arc::new(AtomicUsize::new(0));
    let (server, record) =
        giving(move |_| (times.fetch_add(1, Ordering::Relaxed) == 0).then(|| problem(503, "unavailable")));
    let account = server.restore(saved(None));
    let error = account.devices().await.unwrap_err();
    assert!(error.is_retryable() && !error.needs_credentials());
    account.devices().await.unwrap();
    assert_eq!(record.count(REFRESH), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_kept_is_told_and_used_all_the_same() {
    let (server, record) = giving(|_| None);
    let account = server.keep(|_| async { Err("the disk is full") }).restore(saved(None));
    let error = account.devices().await.unwrap_err();
    assert!(matches!(error, AccountError::NotSaved(_)) && error.is_retryable());
    account.devices().await.unwrap();
    assert_eq!(record.count(REFRESH), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_waits_for_is_finished_and_kept() {
    let kept: Arc<Mutex<Vec<SavedAccount>>> = Arc::default();
    let drawer = Arc::clone(&kept);
    let (server, record) = giving(|_| None);
    let server = server.keep(move |saved| {
        drawer.lock().unwrap().push(saved);
        async { Ok::<_, std::io::Error>(()) }
    });
    let account = server.restore(saved(None));
    let mut asking = Box::pin(account.access_token());
    assert!(futures::poll!(&mut asking).is_pending());
    drop(asking);
    account.settle().await;
    let token = kept.lock().unwrap().last().unwrap().refresh_token.clone();
    assert_eq!(token.unwrap().expose(), "refresh-1");
    assert_eq!((account.access_token().await.unwrap().expose(), record.count(REFRESH)), ("access-1", 1));
}
