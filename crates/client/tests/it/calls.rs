//! Calls over HTTP: what becomes of an answer, and of none.

use std::{io, time::Duration};

use aldis_client::{
    CallError, DialError, IdentityError, Server, SignInError,
    auth::ChallengeRefused,
    protocol::{ErrorCode, Fingerprint},
};
use http::Response;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::{
    api::{api, challenge, json, problem, tokens},
    peer::{AUDIENCE, URL, key},
};

const ANYBODY: Fingerprint = Fingerprint([1; 32]);

async fn look_up(server: &Server) -> CallError {
    server.look_up(ANYBODY).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_problem_is_told_with_all_that_it_says() {
    let (server, _) = api(|_| {
        let mut answer = problem(429, "rate_limited");
        answer.headers_mut().insert("retry-after", "7".parse().unwrap());
        answer
    });
    let error = look_up(&server).await;
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.status, refusal.code), (429, Some(ErrorCode::RateLimited)));
    assert_eq!(
        (refusal.detail.as_str(), refusal.retry_after),
        ("do something", Some(Duration::from_secs(7)))
    );
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_names_the_head_and_a_revoked_key_its_rotation() {
    let hash = "07".repeat(32);
    let head = json!({"code": "chain_conflict", "head": {"sequence": 3, "hash": hash}});
    let (server, _) = api(move |_| json(409, &head));
    assert_eq!(look_up(&server).await.refusal().unwrap().head.unwrap().sequence, 3);

    let deadline = "2026-01-01T00:00:00.000Z";
    let rotation = json!({"sequence": 1, "hash": "07".repeat(32), "cancellation_deadline": deadline});
    let revoked =
        json!({"code": "revoked", "detail": "another key has replaced this one", "rotation": rotation});
    let (server, _) = api(move |call| match call.line.as_str() {
        "POST /api/auth/challenge" => challenge(AUDIENCE, 60_000),
        _ => json(401, &revoked),
    });
    let error = server.sign_in(&key()).await.unwrap_err();
    assert_eq!(error.pending_rotation().unwrap().cancellation_deadline.to_string(), deadline);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_problem_is_known_by_its_status() {
    let (server, _) = api(|_| Response::builder().status(502).body("<html>".into()).unwrap());
    let error = look_up(&server).await;
    assert_eq!((error.code(), error.refusal().unwrap().status), (None, 502));
    let (server, _) = api(|_| json(403, &json!({"code": "a code of tomorrow", "detail": "no"})));
    let error = look_up(&server).await;
    assert_eq!((error.code(), error.refusal().unwrap().detail.as_str()), (None, "no"));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_leads_nowhere() {
    let (server, record) =
        api(|_| Response::builder().status(302).header("location", "/elsewhere").body("".into()).unwrap());
    assert_eq!(look_up(&server).await.refusal().unwrap().status, 302);
    assert_eq!(record.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_read_up_to_its_limit() {
    let (server, _) = api(|_| json(200, &json!({"x": "x".repeat(64 * 1024)})));
    assert!(matches!(look_up(&server).await, CallError::AnswerTooLarge { limit: 65_536 }));
    let (server, _) = api(|_| json(500, &json!({"code": "internal", "detail": "x".repeat(64 * 1024)})));
    let error = look_up(&server).await;
    assert_eq!((error.code(), error.refusal().unwrap().status), (None, 500), "a refusal stays one");
    let (server, _) = api(|_| Response::new(vec![7; 256 * 1024 + 1].into()));
    assert!(matches!(server.blob(ANYBODY).await, Err(CallError::AnswerTooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_api_is_not_understood() {
    for body in ["", "nonsense", "[]", "{}"] {
        let (server, _) = api(move |_| Response::new(body.into()));
        assert!(matches!(look_up(&server).await, CallError::NotUnderstood(_)), "{body}");
    }
    let (server, _) = api(|_| Response::new("a blob without a version".into()));
    assert!(matches!(server.blob(ANYBODY).await, Err(CallError::NotUnderstood(_))));
    let (server, _) = api(|_| json(200, &json!({"fingerprint": ANYBODY, "statements": []})));
    assert!(matches!(server.chain(ANYBODY).await, Err(IdentityError::Chain(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_30_seconds() {
    let reach = |_, _| async {
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            drop(far);
        });
        Ok::<_, io::Error>(near)
    };
    let begun = tokio::time::Instant::now();
    let server = Server::insecure(URL).unwrap().transport(reach);
    assert!(matches!(look_up(&server).await, CallError::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(matches!(look_up(&server.call_timeout(Duration::from_secs(2))).await, CallError::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_told() {
    let reach = |_, _| async { Err::<tokio::io::DuplexStream, _>(io::ErrorKind::ConnectionRefused.into()) };
    let error = look_up(&Server::insecure(URL).unwrap().transport(reach)).await;
    assert!(matches!(&error, CallError::Dial(error) if matches!(**error, DialError::Connect(_))), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_told() {
    let reach = |_, _| async {
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move { far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await });
        Ok::<_, io::Error>(near)
    };
    let error = look_up(&Server::insecure(URL).unwrap().transport(reach)).await;
    assert!(matches!(error, CallError::Broken(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_call_after_call_until_it_was_idle_for_30_seconds() {
    let (server, record) = api(|_| problem(404, "not_found"));
    for _ in 0..5 {
        look_up(&server).await;
    }
    assert_eq!((record.connections(), record.calls().len()), (1, 5));
    tokio::time::sleep(Duration::from_secs(31)).await;
    look_up(&server).await;
    assert_eq!(record.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn eight_calls_are_under_way_at_a_time() {
    let (server, record) = api(|_| problem(404, "not_found"));
    let calls: Vec<_> = (0..100)
        .map(|_| server.clone())
        .map(|server| tokio::spawn(async move { look_up(&server).await }))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().code(), Some(ErrorCode::NotFound));
    }
    assert!(record.connections() <= 8, "{}", record.connections());
    assert_eq!(record.calls().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_of_another_server_is_not_signed() {
    let (server, record) = api(|_| challenge("elsewhere.test", 60_000));
    let error = server.sign_in(&key()).await.unwrap_err();
    assert!(matches!(error, SignInError::Challenge(ChallengeRefused::ForeignAudience)), "{error}");
    let (server, _) = api(|_| challenge(AUDIENCE, 121_000));
    let error = server.sign_in(&key()).await.unwrap_err();
    assert!(matches!(error, SignInError::Challenge(ChallengeRefused::LivesTooLong)), "{error}");
    assert_eq!(record.calls().len(), 1, "nothing was answered");
}

#[tokio::test(start_paused = true)]
async fn errors_and_accounts_print_no_secret() {
    let (server, _) = api(|_| tokens(1, 900));
    let account = server.without_device().register("ann@example.test", "correct horse").await.unwrap();
    let printed = format!("{account:?} {:?} {:?}", account.server(), account.saved());
    for secret in ["access-1", "refresh-1", "correct horse"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
