//! The client library's accounts against the server: sign-ins, tokens, the device key, identities, blobs, contacts.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aldis_client::auth::{ChainForked, EncryptionKey, SecretKey};
use aldis_client::protocol::api::{ChainResponse, ContactState};
use aldis_client::protocol::{AlertKind, ContactLabel, ErrorCode, Fingerprint, UserRef};
use aldis_client::{
    Account, AccountError, Client, ConnectionError, Event, Events, IdentityError, LoginProof, Pins,
    PutBlobError, RequestError, SavedAccount, Server, SignInError, Since, TotpAsked, Whom,
};
use aldis_tests::{Authenticator, Identity, TestServer, unique};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "correct horse battery";

fn run<T>(scenario: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(scenario)
}

fn client_of(server: &TestServer) -> Server {
    Server::new(&server.url("")).unwrap()
}

fn new_key() -> SecretKey {
    Identity::new().secret()
}

fn email() -> String {
    format!("{}@aldis.example", unique("somebody"))
}

/// Where a test stores its account.
#[derive(Clone, Default)]
struct Drawer(Arc<Mutex<Vec<SavedAccount>>>);

impl Drawer {
    fn of(&self, server: Server) -> Server {
        let drawer = self.clone();
        server.keep(move |saved| {
            drawer.0.lock().unwrap().push(saved);
            async { Ok::<_, std::io::Error>(()) }
        })
    }

    fn times(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn last(&self) -> SavedAccount {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next())
        .await
        .expect("an event in time")
        .expect("a client that goes on")
}

async fn connected(account: &Account) -> (Client, Events) {
    let (client, mut events) = Client::start(account.options());
    match next(&mut events).await {
        Event::Connected(session) => {
            assert_eq!(session.user_id, account.user_id());
            assert_eq!(Some(&session.device_id), account.device().as_ref().map(|device| device.id()));
        }
        other => panic!("{other:?}"),
    }
    (client, events)
}

// Signing in.

#[test]
fn a_user_registers_and_continues_with_the_stored_account() {
    let server = TestServer::shared();
    run(async {
        let (drawer, address) = (Drawer::default(), email());
        let account = drawer.of(client_of(&server)).register(&address, PASSWORD).await.unwrap();
        assert_eq!(drawer.times(), 1);
        let text = serde_json::to_string(&drawer.last()).unwrap();
        let restored = client_of(&server).restore(serde_json::from_str(&text).unwrap());
        assert_eq!(restored.user_id(), account.user_id());
        let devices = restored.devices().await.unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(&devices[0].device_id, account.device().unwrap().id());

        let again =
            client_of(&server).without_device().log_in(&address.to_uppercase(), PASSWORD).await.unwrap();
        assert_eq!(again.user_id(), account.user_id());
        assert_eq!(again.devices().await.unwrap().len(), 1);
        let taken = client_of(&server).register(&address, PASSWORD).await.unwrap_err();
        assert_eq!(taken.code(), Some(ErrorCode::Conflict));
        let wrong = client_of(&server).log_in(&address, "another password").await.unwrap_err();
        assert_eq!((wrong.code(), wrong.needs_credentials()), (Some(ErrorCode::InvalidCredentials), true));
    });
}

#[test]
fn the_first_sign_in_registers_a_device_signed_by_the_identity() {
    let server = TestServer::shared();
    run(async {
        let (identity, drawer) = (new_key(), Drawer::default());
        let here = drawer.of(client_of(&server)).device_name("Ann's desk");
        let account = here.sign_in(&identity).await.unwrap();
        assert_eq!(account.fingerprint(), Some(identity.public_key().fingerprint()));
        let device = account.device().unwrap();
        let listed = account.devices().await.unwrap();
        assert_eq!((listed.len(), listed[0].name.as_deref()), (1, Some("Ann's desk")));

        let somebody = client_of(&server).sign_in(&new_key()).await.unwrap();
        let keys = somebody.keys_of(account.fingerprint().unwrap()).await.unwrap();
        assert_eq!(keys.active_key, Some(identity.public_key()));
        assert_eq!(
            (&keys.devices[0].device_id, keys.devices[0].key),
            (device.id(), device.key().public_key())
        );
        assert!(keys.unverified.devices.is_empty());

        // From now on the device is the proof, on the socket and over HTTP.
        let (client, _events) = connected(&account).await;
        client.stop().await;
        let restored = client_of(&server).restore(drawer.last());
        let (client, _events) = connected(&restored).await;
        client.stop().await;
        let as_device = client_of(&server).sign_in_as(device).await.unwrap();
        assert_eq!(as_device.user_id(), account.user_id());
    });
}

#[test]
fn a_removed_device_cannot_sign_in() {
    let server = TestServer::shared();
    run(async {
        let identity = new_key();
        let (here, there) = (
            client_of(&server).sign_in(&identity).await.unwrap(),
            client_of(&server).sign_in(&identity).await.unwrap(),
        );
        let device = here.device().unwrap();
        there.remove_device(device.id()).await.unwrap();
        // Its sign-in ended with it.
        let error = here.devices().await.unwrap_err();
        assert_eq!((error.code(), error.needs_credentials()), (Some(ErrorCode::Revoked), true));
        let error = client_of(&server).sign_in_as(device).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownDevice));
    });
}

#[test]
fn a_sign_in_that_cannot_be_stored_is_not_begun() {
    let server = TestServer::shared();
    run(async {
        let identity = new_key();
        let forgetful = client_of(&server).keep(|_| async { Err("the disk is full") });
        let error = forgetful.sign_in(&identity).await.unwrap_err();
        assert!(matches!(error, SignInError::NotSaved(_)), "{error}");
        let account = client_of(&server).without_device().sign_in(&identity).await.unwrap();
        assert!(account.devices().await.unwrap().is_empty());
    });
}

// The second factor.

/// Activates a second factor.
async fn enroll(account: &Account) -> Authenticator {
    let enrolment = serde_json::to_value(account.enroll_totp().await.unwrap()).unwrap();
    let app = Authenticator::read(&enrolment);
    account.confirm_totp(&app.code()).await.unwrap();
    app
}

/// A server that gets these answers in order, and the list of what it asked.
fn answering(server: Server, answers: Vec<String>) -> (Server, Arc<Mutex<Vec<TotpAsked>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let server = server.totp(move |why| {
        let mut noted = noted.lock().unwrap();
        noted.push(why);
        let answer = answers.get(noted.len() - 1).cloned();
        async move { answer }
    });
    (server, asked)
}

#[test]
fn a_code_is_asked_for_until_one_is_right() {
    let server = TestServer::shared();
    run(async {
        let identity = new_key();
        let app = enroll(&client_of(&server).sign_in(&identity).await.unwrap()).await;
        let (here, asked) = answering(client_of(&server), vec![app.wrong_code(), app.next_code()]);
        let account = here.sign_in(&identity).await.unwrap();
        let asked: Vec<_> = asked.lock().unwrap().iter().map(|why| (why.attempt, why.was_wrong)).collect();
        assert_eq!(asked, [(1, false), (2, true)]);
        // The device needs no code.
        let (client, _events) = connected(&account).await;
        client.stop().await;
        account.sign_in_again(LoginProof::Device).await.unwrap();
        assert_eq!(account.devices().await.unwrap().len(), 2);
    });
}

#[test]
fn a_code_is_asked_for_at_most_three_times() {
    let server = TestServer::shared();
    run(async {
        let address = email();
        let app = enroll(&client_of(&server).register(&address, PASSWORD).await.unwrap()).await;
        let (here, asked) = answering(client_of(&server), vec![app.wrong_code(); 9]);
        let error = here.log_in(&address, PASSWORD).await.unwrap_err();
        assert_eq!((error.code(), asked.lock().unwrap().len()), (Some(ErrorCode::InvalidTotp), 3));

        let (here, asked) = answering(client_of(&server), Vec::new());
        let given_up = here.log_in(&address, PASSWORD).await.unwrap_err();
        assert_eq!((given_up.code(), asked.lock().unwrap().len()), (Some(ErrorCode::TotpRequired), 1));
        let nobody_to_ask = client_of(&server).log_in(&address, PASSWORD).await.unwrap_err();
        assert_eq!(nobody_to_ask.code(), Some(ErrorCode::TotpRequired));

        let recovery = app.recovery_codes[0].clone();
        let (here, _) = answering(client_of(&server), vec![recovery]);
        let account = here.log_in(&address, PASSWORD).await.unwrap();
        account.disable_totp(&app.recovery_codes[1]).await.unwrap();
        client_of(&server).log_in(&address, PASSWORD).await.unwrap();
    });
}

// Tokens.

#[test]
fn fifty_tasks_make_one_refresh() {
    let server = TestServer::start();
    let drawer = Drawer::default();
    run(async {
        let account = drawer.of(client_of(&server)).sign_in(&new_key()).await.unwrap();
        let kept = drawer.times();
        let restored = drawer.of(client_of(&server)).restore(account.saved());
        let tasks: Vec<_> = (0..50)
            .map(|_| restored.clone())
            .map(|account| tokio::spawn(async move { account.access_token().await.unwrap() }))
            .collect();
        let mut tokens = Vec::new();
        for task in tasks {
            tokens.push(task.await.unwrap());
        }
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(drawer.times(), kept + 1, "kept once");
        assert_eq!(drawer.last().refresh_token, restored.saved().refresh_token);
        restored.devices().await.unwrap();
    });
    let refreshes = |status: u16| {
        let labels = format!("{{route=\"/api/auth/refresh\",status=\"{status}\"}}");
        server.metric(&format!("aldis_http_requests_total{labels}"))
    };
    assert_eq!((refreshes(200), refreshes(401)), (1, 0));
}

#[test]
fn a_cancelled_task_loses_no_refresh_token() {
    let server = TestServer::start();
    run(async {
        let saved = client_of(&server).without_device().sign_in(&new_key()).await.unwrap().saved();
        let restored = client_of(&server).restore(saved.clone());
        let mut asking = Box::pin(restored.access_token());
        assert!(futures::poll!(&mut asking).is_pending());
        drop(asking);
        restored.settle().await;
        assert_ne!(restored.saved().refresh_token, saved.refresh_token);
        restored.devices().await.unwrap();
    });
    let refreshed = server.metric(r#"aldis_http_requests_total{route="/api/auth/refresh",status="200"}"#);
    assert_eq!(refreshed, 1);
}

#[test]
fn a_socket_renews_its_tokens_by_itself() {
    let server = TestServer::builder().env("ACCESS_TOKEN_EXPIRE_MINUTES", "0.1").start();
    run(async {
        let account = client_of(&server).register(&email(), PASSWORD).await.unwrap();
        let credentials = account.token_credentials();
        let (client, mut events) = Client::start(account.server().options(credentials));
        assert!(matches!(next(&mut events).await, Event::Connected(session) if session.expires_at.is_some()));
        for _ in 0..2 {
            assert!(matches!(next(&mut events).await, Event::AuthRequired { .. }));
            assert!(matches!(next(&mut events).await, Event::Reauthenticated { .. }));
        }
        client.stop().await;
        account.devices().await.unwrap();
    });
}

#[test]
fn a_sign_out_ends_the_sign_in_and_its_device() {
    let server = TestServer::shared();
    run(async {
        let drawer = Drawer::default();
        let account = drawer.of(client_of(&server)).sign_in(&new_key()).await.unwrap();
        let before = account.saved();
        let credentials = account.token_credentials();
        let (_client, mut events) = Client::start(account.server().options(credentials));
        assert!(matches!(next(&mut events).await, Event::Connected(_)));
        account.log_out().await.unwrap();
        assert!(drawer.last().refresh_token.is_none());
        match next(&mut events).await {
            Event::Closed { cause: ConnectionError::Closed { code, .. }, retry_in } => {
                assert_eq!((code, retry_in), (4301, None));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(account.devices().await, Err(AccountError::SignedOut)));
        let (_client, mut events) = Client::start(account.server().options(account.token_credentials()));
        let stopped = next(&mut events).await;
        assert!(
            matches!(stopped, Event::Closed { cause: ConnectionError::Token(_), retry_in: None }),
            "{stopped:?}"
        );
        // The old refresh token is revoked, and the device does not sign in again by itself.
        let stale = client_of(&server).restore(before);
        assert_eq!(stale.devices().await.unwrap_err().code(), Some(ErrorCode::Revoked));
        assert!(matches!(stale.devices().await, Err(AccountError::SignedOut)));
        account.sign_in_again(LoginProof::Device).await.unwrap();
        assert_eq!(account.devices().await.unwrap().len(), 1);
        let nobody = client_of(&server).sign_in(&new_key()).await.unwrap();
        let error = nobody.sign_in_again(LoginProof::Key(&new_key())).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownDevice));
    });
}

#[test]
fn a_password_changes_and_an_account_ends() {
    let server = TestServer::shared();
    run(async {
        let address = email();
        let account = client_of(&server).register(&address, PASSWORD).await.unwrap();
        let other = client_of(&server).log_in(&address, PASSWORD).await.unwrap();
        account.change_password(Some(PASSWORD), "another password").await.unwrap();
        assert!(other.devices().await.unwrap_err().needs_credentials());
        let proof = LoginProof::Password { email: &address, password: "another password" };
        other.sign_in_again(proof).await.unwrap();
        other.delete_account().await.unwrap();
        assert!(account.devices().await.unwrap_err().needs_credentials());
        let gone = client_of(&server).log_in(&address, "another password").await.unwrap_err();
        assert_eq!(gone.code(), Some(ErrorCode::InvalidCredentials));
    });
}

// Identities.

#[test]
fn a_rotation_is_cancelled_by_the_replaced_key() {
    let server = TestServer::shared();
    run(async {
        let (old, new) = (new_key(), new_key());
        let account = client_of(&server).sign_in(&old).await.unwrap();
        let fingerprint = account.fingerprint().unwrap();
        let (client, mut events) = connected(&account).await;
        let pending = account.rotate(&old, &new, "the laptop was stolen").await.unwrap();
        assert_eq!(account.rotate(&old, &new, "a repetition").await.unwrap(), pending);
        assert!(matches!(account.rotate(&old, &new_key(), "x").await, Err(IdentityError::NotActive)));
        account.vouch_for_device(&new).await.unwrap();
        let seen = loop {
            match next(&mut events).await {
                Event::Alert(alert) => break alert,
                Event::Closed { retry_in: Some(_), .. } | Event::Connected(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((seen.kind, seen.hash), (AlertKind::RotationStarted, Some(pending.hash)));
        client.stop().await;

        let state = client_of(&server).chain(fingerprint).await.unwrap().state(aldis_tests::now_ms());
        assert_eq!(state.active_key, new.public_key());
        assert_eq!(state.provisional.unwrap().old_key, old.public_key());
        let refused = client_of(&server).cancel_rotation(fingerprint, &new).await;
        assert!(matches!(refused, Err(IdentityError::NothingToCancel)));
        let cancelled = client_of(&server).cancel_rotation(fingerprint, &old).await.unwrap();
        assert_eq!((cancelled.sequence, cancelled.active_key), (2, *old.public_key().as_bytes()));
        assert_eq!(client_of(&server).cancel_rotation(fingerprint, &old).await.unwrap(), cancelled);
        assert!(account.devices().await.unwrap_err().needs_credentials());
        client_of(&server).sign_in(&old).await.unwrap();
        assert_eq!(client_of(&server).sign_in(&new).await.unwrap_err().code(), Some(ErrorCode::Revoked));
    });
}

#[test]
fn a_rotation_is_cancelled_with_the_refusal_that_names_it() {
    let server = TestServer::shared();
    run(async {
        let (old, thiefs) = (new_key(), new_key());
        let fingerprint = old.public_key().fingerprint();
        let rotated = client_of(&server).sign_in(&old).await.unwrap();
        let pending = rotated.rotate(&old, &thiefs, "mine now").await.unwrap();

        // Over HTTP.
        let error = client_of(&server).sign_in(&old).await.unwrap_err();
        assert_eq!((error.code(), error.pending_rotation()), (Some(ErrorCode::Revoked), Some(pending)));

        // On the socket.
        let credentials = aldis_client::Credentials::key(SecretKey::from_bytes(&old.to_bytes()));
        let (_client, mut events) = Client::start(client_of(&server).options(credentials));
        let named = match next(&mut events).await {
            Event::Closed { cause: ConnectionError::Refused { code, rotation, .. }, retry_in: None } => {
                assert_eq!(code, ErrorCode::Revoked);
                rotation.unwrap()
            }
            other => panic!("{other:?}"),
        };
        client_of(&server).cancel_pending(fingerprint, &named, &old).await.unwrap();
        client_of(&server).sign_in(&old).await.unwrap();
        let state = client_of(&server).chain(fingerprint).await.unwrap().state(aldis_tests::now_ms());
        assert_eq!((state.active_key, state.provisional), (old.public_key(), None));
    });
}

#[test]
fn an_email_account_links_an_identity() {
    let server = TestServer::shared();
    run(async {
        let account = client_of(&server).register(&email(), PASSWORD).await.unwrap();
        let identity = new_key();
        assert!(matches!(account.vouch_for_device(&identity).await, Err(IdentityError::NoIdentity)));
        let fingerprint = account.link(&identity).await.unwrap();
        assert_eq!(fingerprint, identity.public_key().fingerprint());

        let somebody = client_of(&server).sign_in(&new_key()).await.unwrap();
        let before = somebody.keys_of(fingerprint).await.unwrap();
        assert_eq!((before.devices.len(), before.unverified.devices.len()), (0, 1), "unsigned is unverified");
        account.vouch_for_device(&identity).await.unwrap();
        let key = EncryptionKey::from_bytes(&[9; 32]).unwrap();
        let unsigned = account.publish_encryption_key(&key, None).await.unwrap_err();
        assert_eq!(unsigned.code(), Some(ErrorCode::BadRequest));
        account.publish_encryption_key(&key, Some(&identity)).await.unwrap();
        let keys = somebody.keys_of(account.user_id()).await.unwrap();
        assert_eq!((keys.devices.len(), keys.encryption_key), (1, Some(key)));
        let summary = client_of(&server).look_up(fingerprint).await.unwrap();
        assert_eq!((summary.user_id, summary.encryption_key), (account.user_id(), Some([9; 32])));
    });
}

#[test]
fn a_blob_is_replaced_only_with_its_etag() {
    let server = TestServer::shared();
    run(async {
        let account = client_of(&server).sign_in(&new_key()).await.unwrap();
        let fingerprint = account.fingerprint().unwrap();
        let anybody = client_of(&server);
        assert_eq!(anybody.blob(fingerprint).await.unwrap(), None);
        let first = account.put_blob(&b"one"[..], None).await.unwrap();
        assert!(matches!(account.put_blob(&b"two"[..], None).await, Err(PutBlobError::Exists)));
        let second = account.put_blob(&b"two"[..], Some(&first)).await.unwrap();
        assert!(matches!(account.put_blob(&b"three"[..], Some(&first)).await, Err(PutBlobError::Changed)));
        let blob = anybody.blob(fingerprint).await.unwrap().unwrap();
        assert_eq!((&blob.content[..], &blob.version), (&b"two"[..], &second));
        let largest = vec![7; 256 * 1024];
        let third = account.put_blob(largest.clone(), Some(&second)).await.unwrap();
        assert_eq!(anybody.blob(fingerprint).await.unwrap().unwrap().content, largest);
        let too_large = vec![7; 256 * 1024 + 1];
        assert!(matches!(account.put_blob(too_large, Some(&third)).await, Err(PutBlobError::TooLarge)));
    });
}

/// A server that answers every call with the same body.
async fn liar(body: String) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let body = body.clone();
            let answer = service_fn(move |_| {
                let body = Full::new(Bytes::from(body.clone()));
                async move { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Server::new(&url).unwrap()
}

#[test]
fn a_server_that_hides_part_of_a_chain_is_caught() {
    let server = TestServer::shared();
    let old = new_key();
    let fingerprint = old.public_key().fingerprint();
    let chain_now = || {
        let answer = server.http().get(&format!("/api/identity/{fingerprint}/chain"));
        serde_json::from_value::<ChainResponse>(answer.expects(200)).unwrap()
    };
    let account = run(client_of(&server).sign_in(&old)).unwrap();
    let short = chain_now();
    run(account.rotate(&old, &new_key(), "scheduled")).unwrap();
    let long = chain_now();
    let pins = run(async {
        let honest = client_of(&server);
        honest.chain(fingerprint).await.unwrap();
        honest.pins()
    });
    let kept = serde_json::to_string(&pins).unwrap();

    let fetched = |response: &ChainResponse, pins: Pins| {
        let body = serde_json::to_string(response).unwrap();
        run(async { liar(body).await.with_pins(pins).chain(fingerprint).await })
    };
    let read = || serde_json::from_str::<Pins>(&kept).unwrap();
    assert!(fetched(&long, read()).is_ok());
    let shorter = fetched(&short, read()).unwrap_err();
    assert!(matches!(shorter, IdentityError::Forked(ChainForked::Shorter)), "{shorter}");
    assert!(shorter.is_alarming() && !shorter.is_retryable());
    assert!(fetched(&short, Pins::default()).is_ok(), "it verifies without a pin");

    let mut forged = long.clone();
    forged.statements.swap(0, 1);
    assert!(matches!(fetched(&forged, Pins::default()).unwrap_err(), IdentityError::Chain(_)));
    let somebody_elses = ChainResponse { fingerprint: Fingerprint([1; 32]), ..long.clone() };
    assert!(fetched(&somebody_elses, Pins::default()).is_err());
    let mut forgotten = read();
    forgotten.forget(&fingerprint);
    assert!(fetched(&short, forgotten).is_ok());
}

// Contacts.

#[test]
fn two_users_who_ask_each_other_are_contacts() {
    let server = TestServer::shared();
    run(async {
        let address = email();
        let ann = client_of(&server).register(&address, PASSWORD).await.unwrap();
        let bob = client_of(&server).sign_in(&new_key()).await.unwrap();
        let fingerprint = bob.fingerprint().unwrap();
        bob.request_contact_as(Whom::Email(address.clone()), ContactLabel::new("Bob").unwrap())
            .await
            .unwrap();
        assert_eq!(ann.contacts().await.unwrap()[0].label, Some(ContactLabel::new("Bob").unwrap()));
        bob.remove_contact(Whom::Email(address.clone())).await.unwrap();
        assert!(ann.contacts().await.unwrap().is_empty());
        bob.request_contact(Whom::Email(address)).await.unwrap();
        let asked = ann.contacts().await.unwrap();
        assert_eq!((asked[0].user_id, asked[0].state), (bob.user_id(), ContactState::Incoming));
        ann.request_contact(fingerprint).await.unwrap();
        for (account, other) in [(&ann, &bob), (&bob, &ann)] {
            let contacts = account.contacts().await.unwrap();
            assert_eq!((contacts[0].user_id, contacts[0].state), (other.user_id(), ContactState::Allowed));
        }
        ann.block(fingerprint).await.unwrap();
        assert_eq!(ann.contacts().await.unwrap()[0].state, ContactState::Blocked);
        ann.allow(bob.user_id()).await.unwrap();
        ann.remove_contact(UserRef::from(bob.user_id())).await.unwrap();
        assert!(ann.contacts().await.unwrap().is_empty());
        let nobody = ann.allow(Fingerprint([1; 32])).await.unwrap_err();
        assert_eq!(nobody.code(), Some(ErrorCode::NotFound));
    });
}

// Rooms.

#[test]
fn a_user_added_to_a_private_room_is_told_and_decides() {
    let server = TestServer::shared();
    let owner = server.user();
    let rooms = ["first", "second"].map(unique);
    run(async {
        let account = client_of(&server).sign_in(&new_key()).await.unwrap();
        let (client, mut events) = connected(&account).await;
        for room in &rooms {
            let body =
                serde_json::json!({"room": room, "visibility": "private", "members": [account.user_id()]});
            let makes = owner.clone();
            tokio::task::spawn_blocking(move || makes.http().post("/api/rooms", &body).expects(201))
                .await
                .unwrap();
            match next(&mut events).await {
                Event::RoomInvite(invite) => {
                    assert_eq!(
                        (invite.room.as_str(), invite.user_id.to_string()),
                        (room.as_str(), owner.id.clone())
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        let invited: Vec<_> =
            account.room_invitations().await.unwrap().into_iter().map(|one| one.room.to_string()).collect();
        assert_eq!(invited, rooms);
        let [first, second] = rooms.each_ref().map(|room| room.parse().unwrap());
        client.join(&first, Since::Now).await.unwrap();
        account.decline_invitation(&second).await.unwrap();
        assert!(account.room_invitations().await.unwrap().is_empty());
        match client.join(&second, Since::Now).await {
            Err(RequestError::Refused(refusal)) => assert_eq!(refusal.code, ErrorCode::UnknownRoom),
            other => panic!("{other:?}"),
        }
        account.leave_for_good(&first).await.unwrap();
        let gone = account.leave_for_good(&first).await.unwrap_err();
        assert_eq!(gone.code(), Some(ErrorCode::UnknownRoom));
    });
}
