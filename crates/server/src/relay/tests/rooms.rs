//! Rooms through the relay alone: concurrent changes.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aldis_protocol::{
    AckStatus, ChatMessage, ClientMessage, ErrorCode, Join, MessageKind, Payload, RoomId, ServerMessage,
    api::{CreateRoom, RoomVisibility, SetRoomState},
};
use futures::future::join_all;
use serde_json::Value;

use super::{Node, code};
use crate::{
    accounts::Caller,
    clock::Now,
    link::{Item, SessionHandle, Taken, Ticket},
    store::{Revisions, StateChange},
};

const ROUNDS: usize = 100;

fn room() -> RoomId {
    "room".parse().unwrap()
}

impl Node {
    async fn owner_of_room(&self, visibility: RoomVisibility) -> Caller {
        let user = self.user().await;
        let owner = Caller { user, family: self.sign_in(user).await, auth_time: 0, device: None };
        let request = CreateRoom { room: room(), visibility, members: None, state_writers: None };
        self.relay.create_room(&owner, request, Now::read()).await.unwrap();
        owner
    }

    fn asks(&self, from: &Arc<SessionHandle>, message: ClientMessage<'_>) -> Answer {
        let reply = self.relay.handle(from, Ticket::default(), None, message, Now::read());
        let from = Arc::clone(from);
        Box::pin(async move { reply.awaited(&from).await })
    }

    fn joins(&self, from: &Arc<SessionHandle>) -> Answer {
        self.asks(from, ClientMessage::Join(Join { room: Some(room()) }))
    }

    fn says(&self, from: &Arc<SessionHandle>, content: &str) -> Answer {
        let payload = Payload::of(&serde_json::json!({"content": content})).unwrap();
        self.asks(from, ClientMessage::ChatMessage(ChatMessage { room: Some(room()), payload }))
    }

    fn is_in_room(&self, session: &SessionHandle) -> bool {
        self.relay.registry.seat((session.user, session.session), &room()).is_some()
    }
}

type Answer = futures::future::BoxFuture<'static, ServerMessage<'static>>;

/// What a session received since the last call, without acks.
fn received(session: &SessionHandle) -> Vec<Value> {
    let mut received = Vec::new();
    while let Poll::Ready(Taken::Items(items)) = session.poll_take(&mut Context::from_waker(Waker::noop())) {
        received.extend(items.iter().map(|item| match item {
            Item::Frame(frame) => serde_json::from_slice::<Value>(&frame.bytes).unwrap(),
            other @ (Item::Notice(_) | Item::Reply(..)) => panic!("nobody expects {other:?}"),
        }));
    }
    received
}

/// The states that a session sends its client once its socket has room.
async fn states(node: &Node, session: &SessionHandle) -> Vec<Value> {
    node.relay.tell_waiting_states().await;
    let mut told = Vec::new();
    while let Some(states) = session.take_states() {
        let frames = states.into_iter().filter_map(|state| node.relay.take_state(session, state));
        told.extend(frames.map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
    }
    told
}

async fn sets_state(node: &Node, owner: &Caller, revision: u64) {
    let request: SetRoomState = serde_json::from_str(r#"{"state":1}"#).unwrap();
    let expected = Revisions::OneOf(vec![revision]);
    node.relay.set_room_state(owner, &room(), request, &expected, Now::read()).await.unwrap();
}

fn revisions(told: &[Value]) -> Vec<u64> {
    let updates = of_kind(told, MessageKind::RoomUpdate).into_iter();
    updates.map(|update| update["payload"]["revision"].as_u64().unwrap()).collect()
}

/// The number under which this message is stored.
fn stored(message: &ServerMessage<'_>) -> Option<u64> {
    let ack = if let ServerMessage::Ack(ack) = message { ack } else { return None };
    ack.seq.filter(|_| ack.status == AckStatus::Stored)
}

fn of_kind(received: &[Value], kind: MessageKind) -> Vec<&Value> {
    received.iter().filter(|message| message["type"] == kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_removed_during_a_join_is_not_in_the_room() {
    let node = Node::start().await;
    let owner = node.owner_of_room(RoomVisibility::Public).await;
    for _ in 0..ROUNDS {
        let user = node.user().await;
        let session = node.session(user);
        let joining = tokio::spawn(node.joins(&session));
        node.relay
            .remove_room_member(&owner, &room(), user.to_string().parse().unwrap(), Now::read())
            .await
            .unwrap();
        let answer = joining.await.unwrap();
        assert!(!node.is_in_room(&session), "{answer:?}");
        let told = received(&session);
        let left = of_kind(&told, MessageKind::MemberLeft).len();
        assert_eq!(
            left,
            usize::from(code(&answer).is_none()),
            "a session that was in is told that it is out: {told:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_during_a_state_change_gets_the_newest_state() {
    let node = Node::start().await;
    let owner = node.owner_of_room(RoomVisibility::Public).await;
    for round in 0..ROUNDS {
        let session = node.session(node.user().await);
        let joining = tokio::spawn(node.joins(&session));
        sets_state(&node, &owner, round as u64).await;
        assert_eq!(code(&joining.await.unwrap()), None);
        let mut told = received(&session);
        told.extend(states(&node, &session).await);
        let revisions = revisions(&told);
        assert_eq!(revisions.last(), Some(&(round as u64 + 1)), "{told:?}");
        assert!(revisions.is_sorted_by(|one, next| one < next), "each once: {revisions:?}");
    }
}

#[tokio::test]
async fn rapid_states_filled_the_queue_of_a_slow_reader() {
    let node = Node::start().await;
    let owner = node.owner_of_room(RoomVisibility::Public).await;
    let [slow, gone] = [node.session(node.user().await), node.session(node.user().await)];
    for session in [&slow, &gone] {
        assert_eq!(code(&node.joins(session).await), None);
    }
    for session in [&slow, &gone] {
        received(session);
    }
    for revision in 0..5 {
        sets_state(&node, &owner, revision).await;
        node.relay.tell_waiting_states().await;
    }
    assert_eq!(received(&slow), Vec::<Value>::new());
    assert_eq!(revisions(&states(&node, &slow).await), [5], "the latest alone");
    assert_eq!(revisions(&states(&node, &slow).await), [0; 0]);
    node.relay.registry.leave((gone.user, gone.session), &room(), |_| ());
    assert_eq!(revisions(&states(&node, &gone).await), [0; 0], "it is in the room no longer");
    assert_eq!(code(&node.joins(&gone).await), None);
    assert_eq!(revisions(&received(&gone)), [5]);
}

/// A join that had read a new state from the database used to hide it from the sessions already in the room.
#[tokio::test]
async fn a_join_that_read_a_new_state_hid_it_from_the_others() {
    let node = Node::start().await;
    let owner = node.owner_of_room(RoomVisibility::Public).await;
    let [first, second] = [node.session(node.user().await), node.session(node.user().await)];
    assert_eq!(code(&node.joins(&first).await), None);
    received(&first);
    let (credential, name, none) = (owner.credential(), room(), Revisions::OneOf(vec![0]));
    let set = node.relay.store.set_room_state(&credential, &name, "1", &none);
    let StateChange::Set(document) = set.await.unwrap() else { panic!("the owner sets it") };
    assert_eq!(code(&node.joins(&second).await), None);
    node.relay.tell_state(&room(), document);
    assert_eq!(revisions(&states(&node, &first).await), [1]);
    assert_eq!(revisions(&states(&node, &second).await), [0; 0], "they were told by joining");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_joins_see_each_other() {
    let node = Node::start().await;
    node.owner_of_room(RoomVisibility::Public).await;
    for _ in 0..ROUNDS {
        let sessions = [node.session(node.user().await), node.session(node.user().await)];
        let joining = sessions.each_ref().map(|session| tokio::spawn(node.joins(session)));
        for answer in joining {
            assert_eq!(code(&answer.await.unwrap()), None);
        }
        for (session, other) in [(&sessions[0], &sessions[1]), (&sessions[1], &sessions[0])] {
            let told = received(session);
            let list = of_kind(&told, MessageKind::RoomMembers)[0]["members"].to_string();
            let joined = of_kind(&told, MessageKind::MemberJoined);
            let hears = joined.iter().filter(|joined| joined["device_id"] == other.device.as_str()).count();
            let knows = usize::from(list.contains(other.device.as_str()));
            assert_eq!(knows + hears, 1, "in the list or told later: {told:?}");
        }
        for session in &sessions {
            node.relay.detach(session, Now::read());
        }
    }
    assert!(node.relay.registry.room_here(&room()).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_messages_of_an_unmade_room_keep_their_order() {
    for _ in 0..ROUNDS / 10 {
        let node = Node::start().await;
        let delivery = tokio::spawn(Arc::clone(&node.relay).deliver_committed());
        let sessions = [node.session(node.user().await), node.session(node.user().await)];
        for session in &sessions {
            assert_eq!(code(&node.joins(session).await), None);
        }
        let saying = sessions.each_ref().map(async |session| {
            let mut acks = Vec::new();
            for content in ["1", "2", "3", "4"] {
                acks.push(node.says(session, content).await);
            }
            acks
        });
        for acks in join_all(saying).await {
            let seqs: Vec<u64> = acks.iter().filter_map(stored).collect();
            assert_eq!(seqs.len(), 4, "{acks:?}");
            assert!(seqs.is_sorted(), "{seqs:?}");
        }
        for session in &sessions {
            let told = received(session);
            let chats = of_kind(&told, MessageKind::ChatMessage);
            let contents: Vec<_> =
                chats.iter().map(|chat| chat["payload"]["content"].as_str().unwrap()).collect();
            assert_eq!(contents, ["1", "2", "3", "4"]);
        }
        delivery.abort();
    }
}

#[tokio::test]
async fn joins_fail_without_the_store() {
    let node = Node::start().await;
    let session = node.session(node.user().await);
    node.relay.store.close().await;
    assert_eq!(code(&node.joins(&session).await), Some(ErrorCode::Unavailable));
    assert!(!node.is_in_room(&session));
}
