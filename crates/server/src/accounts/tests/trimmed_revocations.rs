//! Revocations of a user of whom there are too many to be written down.

use std::future::poll_fn;

use aldis_protocol::CloseCode;
use futures::FutureExt;
use uuid::Uuid;

use super::{Node, SessionHandle};
use crate::{
    clock::{Now, unix_ms_i64},
    link::Control,
    store::{Credential, KEPT_PER_USER},
};

fn close_code(session: &SessionHandle) -> Option<CloseCode> {
    match poll_fn(|cx| session.poll_control(cx)).now_or_never()? {
        Control::Close(closing) => Some(closing.code),
        Control::HandOver(_) => None,
    }
}

#[tokio::test]
async fn a_session_stayed_whose_revocation_was_forgotten_before_the_node_had_read_it() {
    let node = Node::start().await;
    let (user, store) = (node.user().await, &node.accounts.store);
    let first = node.session(user, None, Some(node.sign_in(user).await));
    let mut last = Uuid::nil();
    for _ in 0..2 * KEPT_PER_USER {
        last = node.sign_in(user).await;
    }
    let last = node.session(user, None, Some(last));
    store.revoke_families(&Credential::session(user), true, unix_ms_i64()).await.unwrap();
    let kept = node.session(user, None, Some(node.sign_in(user).await));
    assert!(store.revocations_after(0, 1_000).await.unwrap().len() <= KEPT_PER_USER + 1);

    node.accounts.read_revocations(Now::read()).await.unwrap();
    for session in [&first, &last] {
        assert_eq!(close_code(session), Some(CloseCode::SessionRevoked));
    }
    assert_eq!(close_code(&kept), None);
}
