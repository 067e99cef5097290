//! Revocations of a user of whom there are too many to be written down.

use std::future::poll_fn;

use aldis_protocol::{CloseCode, Codec, DeviceId, UserId};
use futures::FutureExt;
use uuid::Uuid;

use super::{Arc, Node, Outlet, new_session_id};
use crate::{
    clock::unix_ms_i64,
    link::Control,
    router::Admission,
    store::{Credential, KEPT_PER_USER},
};

fn session_of(node: &Node, user: UserId, family: Uuid) -> Arc<Outlet> {
    let device = DeviceId::ephemeral(Uuid::now_v7());
    let outlet = Arc::new(Outlet::new(new_session_id(), user, device, None, Some(family), Codec::Json));
    assert_eq!(node.router.attach(&outlet, 0), Admission::Admitted);
    outlet
}

fn close_code(outlet: &Outlet) -> Option<CloseCode> {
    match poll_fn(|cx| outlet.poll_control(cx)).now_or_never()? {
        Control::Close(closing) => Some(closing.code),
        Control::HandOver(_) => None,
    }
}

#[tokio::test]
async fn a_session_stayed_whose_revocation_was_forgotten_before_the_node_had_read_it() {
    let node = Node::start().await;
    let (user, store) = (node.user().await, &node.router.store);
    let first = session_of(&node, user, node.sign_in(user).await);
    let mut last = Uuid::nil();
    for _ in 0..2 * KEPT_PER_USER {
        last = node.sign_in(user).await;
    }
    let last = session_of(&node, user, last);
    store.revoke_families(&Credential::session(user), true, unix_ms_i64()).await.unwrap();
    let kept = session_of(&node, user, node.sign_in(user).await);
    assert!(store.revocations_after(0, 1_000).await.unwrap().len() <= KEPT_PER_USER + 1);

    node.router.read_revocations().await.unwrap();
    for outlet in [&first, &last] {
        assert_eq!(close_code(outlet), Some(CloseCode::SessionRevoked));
    }
    assert_eq!(close_code(&kept), None);
}
