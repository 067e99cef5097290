//! The relay alone: which queries it makes, and in which order it carries out requests.

mod rooms;

use std::sync::Arc;

use aldis_auth::{KeyRing, RootKey};
use aldis_protocol::{
    ClientMessage, Codec, DeviceId, ErrorCode, Fingerprint, Payload, PresenceSubscribe, ServerMessage,
    SetPresence, Signal, SignalKind, Status, Target, UserId, UserRef, api::ContactDecision,
};
use uuid::Uuid;

use super::{Admission, Relay, Reply, new_session_id};
use crate::{
    accounts::tests::{account, sign_in},
    clock::{Now, unix_ms_i64},
    config::{Config, Loaded},
    link::{SessionHandle, Ticket},
    store::{Credential, Store, StoreOptions},
};

struct Node {
    relay: Arc<Relay>,
}

impl Node {
    async fn start() -> Self {
        let arguments = ["aldis", "--database-url", "sqlite::memory:"].map(Into::into);
        let Loaded::Run(config) = Config::load(arguments, []).unwrap() else { unreachable!() };
        let mut config = *config;
        config.rate_limits = false;
        let store = Store::open(&config.database_url, &StoreOptions::default()).await.unwrap();
        Self {
            relay: Relay::over(
                crate::config::LiveConfig::new(config),
                &KeyRing::new(RootKey::new([7; 32])),
                Arc::new(store),
            ),
        }
    }

    async fn user(&self) -> UserId {
        account(&self.relay.store).await
    }

    /// A sign-in of a user.
    async fn sign_in(&self, user: UserId) -> Uuid {
        sign_in(&self.relay.store, user).await
    }

    fn session(&self, user: UserId) -> Arc<SessionHandle> {
        let device = DeviceId::ephemeral(Uuid::now_v7());
        let session = Arc::new(SessionHandle::new(new_session_id(), user, device, None, None, Codec::Json));
        assert_eq!(self.relay.attach(&session, 0), Admission::Admitted);
        session
    }

    async fn allow(&self, user: UserId, peer: UserId) {
        let (store, now_ms) = (&self.relay.store, unix_ms_i64());
        store
            .decide_contact(&Credential::session(user), peer, ContactDecision::Allowed, now_ms)
            .await
            .unwrap();
        self.relay.relations.forget(user, peer);
    }

    fn signal(&self, from: &Arc<SessionHandle>, kind: SignalKind, target: Target, now: Now) -> Reply {
        let payload = Payload::from_json("1").unwrap();
        let signal = Signal { kind, target, payload, signature: None };
        self.relay.handle(from, Ticket::default(), None, ClientMessage::Signal(signal), now)
    }

    async fn signals(
        &self,
        from: &Arc<SessionHandle>,
        kind: SignalKind,
        target: Target,
    ) -> ServerMessage<'static> {
        self.signal(from, kind, target, Now::read()).awaited(from).await
    }
}

fn code(message: &ServerMessage<'_>) -> Option<ErrorCode> {
    if let ServerMessage::Error(error) = message { Some(error.code) } else { None }
}

fn waits(session: &SessionHandle) -> usize {
    session.close().items.len()
}

/// Each first signal costs one relation look-up, a second within the cache's lifetime none, whatever the target.
#[tokio::test]
async fn unreachable_targets_cost_the_same_look_ups() {
    let node = Node::start().await;
    let (user, live, away) = (node.user().await, node.user().await, node.user().await);
    let blocker = node.user().await;
    node.relay
        .store
        .decide_contact(&Credential::session(blocker), user, ContactDecision::Blocked, unix_ms_i64())
        .await
        .unwrap();
    let sender = node.session(user);
    let (stranger, blocking) = (node.session(live), node.session(blocker));
    let targets = [
        Target::Device(stranger.device.clone()),
        Target::Device(blocking.device.clone()),
        Target::Device(DeviceId::new("never").unwrap()),
        Target::User(UserRef::Id(away)),
        Target::User(UserRef::Id(UserId::new(Uuid::new_v4()))),
    ];
    let now = Now::read();
    for (number, target) in targets.into_iter().enumerate() {
        let reply = node.signal(&sender, SignalKind::Offer, target.clone(), now);
        assert!(matches!(reply, Reply::Later(_)), "{target:?} was answered without the store");
        assert_eq!(code(&reply.awaited(&sender).await), Some(ErrorCode::TargetUnavailable), "{target:?}");
        assert_eq!(node.relay.relations.known(), number + 1, "{target:?} cost one look-up");
        let Reply::Now(message) = node.signal(&sender, SignalKind::Offer, target.clone(), now) else {
            panic!("{target:?} was not remembered");
        };
        assert_eq!(code(&message), Some(ErrorCode::TargetUnavailable), "{target:?}");
    }
    assert_eq!((waits(&stranger), waits(&blocking)), (0, 0));
}

#[tokio::test]
async fn an_unknown_fingerprint_costs_as_much_as_a_known_one() {
    let node = Node::start().await;
    let sender = node.session(node.user().await);
    let known = UserId::new(Uuid::new_v4());
    node.relay.store.create_account_for_key(known, [7; 32], unix_ms_i64()).await.unwrap();
    for (number, first_key) in [[7; 32], [8; 32]].into_iter().enumerate() {
        let target = Target::User(UserRef::Fingerprint(Fingerprint::of_first_key(&first_key)));
        let answer = node.signals(&sender, SignalKind::Offer, target).await;
        assert_eq!(code(&answer), Some(ErrorCode::TargetUnavailable));
        assert_eq!(node.relay.relations.known(), number + 1);
    }
}

#[tokio::test]
async fn signals_to_oneself_cost_no_query() {
    let node = Node::start().await;
    let user = node.user().await;
    let (one, other) = (node.session(user), node.session(user));
    let target = Target::Device(other.device.clone());
    let Reply::Now(message) = node.signal(&one, SignalKind::Signal, target, Now::read()) else {
        panic!("the store was asked");
    };
    assert_eq!(code(&message), None);
    assert_eq!(waits(&other), 1);
}

#[tokio::test]
async fn an_offer_lets_only_its_target_session_answer() {
    let node = Node::start().await;
    let (caller, callee) = (node.user().await, node.user().await);
    node.allow(callee, caller).await;
    let (calling, called) = (node.session(caller), node.session(callee));
    let (other_of_caller, other_of_callee) = (node.session(caller), node.session(callee));
    let back = Target::Device(calling.device.clone());
    let answer = node.signals(&called, SignalKind::Answer, back.clone()).await;
    assert_eq!(code(&answer), Some(ErrorCode::TargetUnavailable), "nothing was offered yet");

    let offer = node.signals(&calling, SignalKind::Offer, Target::Device(called.device.clone())).await;
    assert_eq!(code(&offer), None);
    assert_eq!(code(&node.signals(&called, SignalKind::Answer, back.clone()).await), None);
    let from_another = node.signals(&other_of_callee, SignalKind::Answer, back).await;
    assert_eq!(
        code(&from_another),
        Some(ErrorCode::TargetUnavailable),
        "another session was offered nothing"
    );
    let to_another = Target::Device(other_of_caller.device.clone());
    let to_another = node.signals(&called, SignalKind::Answer, to_another).await;
    assert_eq!(code(&to_another), Some(ErrorCode::TargetUnavailable), "another session offered nothing");

    node.relay.detach(&calling);
    let again = Arc::new(SessionHandle::new(
        new_session_id(),
        caller,
        calling.device.clone(),
        None,
        None,
        Codec::Json,
    ));
    assert_eq!(node.relay.attach(&again, 0), Admission::Admitted);
    let late = node.signals(&called, SignalKind::Answer, Target::Device(again.device.clone())).await;
    assert_eq!(code(&late), Some(ErrorCode::TargetUnavailable), "the offer ended with its session");
}

#[tokio::test]
async fn only_an_offer_lets_its_target_answer() {
    let node = Node::start().await;
    let (one, other) = (node.user().await, node.user().await);
    node.allow(other, one).await;
    let (calling, called) = (node.session(one), node.session(other));
    for kind in [SignalKind::Signal, SignalKind::IceCandidate, SignalKind::Answer] {
        let sent = node.signals(&calling, kind, Target::Device(called.device.clone())).await;
        assert_eq!(code(&sent), None);
    }
    let back = node.signals(&called, SignalKind::Answer, Target::Device(calling.device.clone())).await;
    assert_eq!(code(&back), Some(ErrorCode::TargetUnavailable));
}

/// What a session sends about a user, if there is news.
fn told(node: &Node, to: &SessionHandle, user: UserId) -> Option<(Status, u32)> {
    let Some(ServerMessage::Presence(presence)) = node.relay.tell(to, user) else { return None };
    Some((presence.status, presence.devices))
}

async fn subscribes(node: &Node, from: &Arc<SessionHandle>, users: &[UserId]) -> ServerMessage<'static> {
    let user_ids = users.iter().copied().map(UserRef::Id).collect();
    let message = ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids });
    let reply = node.relay.handle(from, Ticket::default(), None, message, Now::read());
    assert!(matches!(reply, Reply::Later(_)), "answered without the store");
    reply.awaited(from).await
}

#[tokio::test]
async fn a_session_is_marked_for_watched_users_after_the_reply() {
    let node = Node::start().await;
    let (user, peer, stranger) = (node.user().await, node.user().await, node.user().await);
    node.allow(peer, user).await;
    let (watcher, _live, _hidden) = (node.session(user), node.session(peer), node.session(stranger));
    let users = [stranger, peer, user];
    assert_eq!(code(&subscribes(&node, &watcher, &users).await), None);
    assert_eq!(watcher.take_marks(), Some(users.to_vec()));
    let shown = users.map(|user| told(&node, &watcher, user));
    assert_eq!(shown, [Some((Status::Offline, 0)), Some((Status::Online, 1)), Some((Status::Online, 1))]);
    assert_eq!(told(&node, &watcher, peer), None, "told already");
}

#[tokio::test]
async fn a_change_of_another_node_takes_effect_when_it_is_read() {
    let node = Node::start().await;
    let (user, peer) = (node.user().await, node.user().await);
    node.relay.recall_relations().await.unwrap();
    let (watcher, _live) = (node.session(user), node.session(peer));
    subscribes(&node, &watcher, &[peer]).await;
    assert_eq!(told(&node, &watcher, peer), Some((Status::Offline, 0)));
    let (store, now_ms) = (&node.relay.store, unix_ms_i64());
    for (decision, shown) in
        [(ContactDecision::Allowed, (Status::Online, 1)), (ContactDecision::Blocked, (Status::Offline, 0))]
    {
        store.decide_contact(&Credential::session(peer), user, decision, now_ms).await.unwrap();
        assert_eq!(told(&node, &watcher, peer), None, "not read yet");
        node.relay.read_relation_log().await.unwrap();
        assert_eq!(told(&node, &watcher, peer), Some(shown));
        node.relay.read_relation_log().await.unwrap();
        assert_eq!(told(&node, &watcher, peer), None);
    }
}

/// A list entry that was read counts only after it is carried out.
#[tokio::test]
async fn presence_is_hidden_while_permission_is_unknown() {
    let node = Node::start().await;
    let (user, peer) = (node.user().await, node.user().await);
    node.allow(peer, user).await;
    let (watcher, _live) = (node.session(user), node.session(peer));
    subscribes(&node, &watcher, &[peer]).await;
    assert_eq!(told(&node, &watcher, peer), Some((Status::Online, 1)));
    node.relay.relation_was_changed(peer, user).await;
    assert_eq!(told(&node, &watcher, peer), None, "it is as it was");
    node.relay.store.close().await;
    assert!(node.relay.relation_changed(peer, user).await.is_err());
    assert_eq!(told(&node, &watcher, peer), Some((Status::Offline, 0)));
}

#[tokio::test]
async fn all_watchers_are_told_and_the_first_at_once() {
    const CROWD: usize = 700;
    let node = Node::start().await;
    let (user, peer) = (node.user().await, node.user().await);
    node.allow(peer, user).await;
    let live = node.session(peer);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let watcher = Arc::new(SessionHandle::new(
            new_session_id(),
            user,
            DeviceId::ephemeral(Uuid::now_v7()),
            None,
            None,
            Codec::Json,
        ));
        subscribes(&node, &watcher, &[peer]).await;
        assert_eq!(told(&node, &watcher, peer), Some((Status::Online, 1)));
        assert!(is_marked(&watcher, peer));
        crowd.push(watcher);
    }
    let busy = SetPresence { status: Status::Busy, note: None };
    let _ = node.relay.handle(&live, Ticket::default(), None, ClientMessage::Presence(busy), Now::read());
    let at_once = crowd.iter().filter(|watcher| is_marked(watcher, peer)).count();
    assert_eq!(at_once, 256);
    let rest = async {
        let mut rounds = Vec::new();
        for _ in 0..100 {
            tokio::task::yield_now().await;
            rounds.push(crowd.iter().filter(|watcher| is_marked(watcher, peer)).count());
        }
        rounds
    };
    let rounds = tokio::select! {
        biased;
        () = node.relay.tell_crowds() => unreachable!("it goes on for ever"),
        rounds = rest => rounds,
    };
    assert_eq!(rounds.iter().sum::<usize>(), CROWD - at_once);
    assert!(rounds.iter().all(|told| *told <= 256), "others have their turn: {rounds:?}");
    let told = crowd.iter().filter(|watcher| told(&node, watcher, peer) == Some((Status::Busy, 1)));
    assert_eq!(told.count(), CROWD);
}

/// Takes the marks of a session; returns whether this user is among them.
fn is_marked(session: &SessionHandle, user: UserId) -> bool {
    session.take_marks().is_some_and(|marked| marked.contains(&user))
}
