//! Accounts over a database in memory, with sessions in the registry but no relay.

mod rotation_ends;
mod trimmed_revocations;

use std::sync::Arc;

use aldis_auth::{KeyRing, RootKey};
use aldis_protocol::{Codec, DeviceId, SessionId, UserId};
use aldis_registry::{Attached, Attachment};
use uuid::Uuid;

use super::Accounts;
use crate::{
    clock::unix_ms_i64,
    config::{Config, LiveConfig, Loaded},
    link::{Frame, Item, SessionHandle},
    shared::Shared,
    store::{LoginProof, NewFamily, Store, StoreOptions},
};

/// The accounts of a node.
pub(super) struct Node {
    pub(super) accounts: Accounts,
}

impl Node {
    pub(super) async fn start() -> Self {
        let arguments = ["aldis", "--database-url", "sqlite::memory:"].map(Into::into);
        let Loaded::Run(config) = Config::load(arguments, []).unwrap() else { unreachable!() };
        let config: Config = *config;
        let store = Store::open(&config.database_url, &StoreOptions::default()).await.unwrap();
        let ring = KeyRing::new(RootKey::new([7; 32]));
        let shared = Shared::new(LiveConfig::new(config), Arc::new(store));
        Self { accounts: Accounts::new(&ring, &shared).unwrap() }
    }

    async fn user(&self) -> UserId {
        account(&self.accounts.store).await
    }

    /// A sign-in of a user.
    async fn sign_in(&self, user: UserId) -> Uuid {
        sign_in(&self.accounts.store, user).await
    }

    /// A live session of a user: on an ephemeral device where none is named, by a key where no family is.
    fn session(&self, user: UserId, device: Option<&DeviceId>, family: Option<Uuid>) -> Arc<SessionHandle> {
        let device = device.cloned().unwrap_or_else(|| DeviceId::ephemeral(Uuid::now_v7()));
        let session =
            SessionHandle::new(SessionId::new(Uuid::now_v7()), user, device, None, family, Codec::Json);
        let session = Arc::new(session);
        let attached = Attached {
            session: session.session,
            device: session.device.clone(),
            claim: session.device_claim,
            handle: Arc::clone(&session),
        };
        let attachment = self.accounts.registry.attach(user, attached, usize::MAX, |_| {});
        assert!(matches!(attachment, Attachment::Attached { .. }));
        session
    }

    /// Ends a session, and gives back the frames that waited for it, as text.
    fn ends(&self, session: &SessionHandle) -> Vec<String> {
        self.accounts.registry.detach(session.user, session.session, |_| {});
        let text = |frame: &Frame| str::from_utf8(&frame.bytes).unwrap().to_owned();
        session.close().items.iter().filter_map(Item::frame).map(text).collect()
    }
}

/// A new account with a password.
pub(crate) async fn account(store: &Store) -> UserId {
    let user = UserId::new(Uuid::new_v4());
    let email = format!("{user}@example.org");
    store.create_account(user, &email, "hash", unix_ms_i64()).await.unwrap();
    user
}

/// A sign-in of such an account.
pub(crate) async fn sign_in(store: &Store, user_id: UserId) -> Uuid {
    let family_id = Uuid::now_v7();
    let token_hash = aldis_protocol::Hash::of(family_id.as_bytes()).0;
    let family = NewFamily { family_id, user_id, device_id: None, token_hash, second_factor: false };
    store.create_family(&family, LoginProof::Password("hash"), unix_ms_i64()).await.unwrap();
    family_id
}
