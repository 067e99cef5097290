//! When devices were last connected: collected here, written together every few seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aldis_protocol::DeviceId;

use super::Router;
use crate::clock::unix_ms_i64;

/// Devices that may wait to be written down; of more, the time is known no better than before.
const LIMIT: usize = 65_536;

/// What was not written down yet.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<DeviceId, i64>>);

impl Seen {
    /// A device is connected now, or was until now.
    pub(super) fn note(&self, device: &DeviceId) {
        if device.is_ephemeral() {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < LIMIT || seen.contains_key(device) {
            seen.insert(device.clone(), unix_ms_i64());
        }
    }

    fn take(&self) -> Vec<(DeviceId, i64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

impl Router {
    /// Writes down when devices were last connected.
    pub(crate) async fn write_seen(&self) {
        let seen = self.seen.take();
        if let Err(error) = self.store.set_last_seen(&seen).await {
            tracing::warn!(%error, devices = seen.len(), "cannot write down when devices were last connected");
        }
    }
}
