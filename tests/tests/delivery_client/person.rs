//! Users of the client library.

use std::time::Duration;

use aldis_client::protocol::{DeviceId, Fingerprint};
use aldis_client::{Credentials, Options};
use aldis_tests::{Identity, unique};

use crate::PATIENCE;

/// A user with a device.
pub(crate) struct Person {
    identity: Identity,
    pub(crate) device: DeviceId,
}

impl Person {
    pub(crate) fn new(name: &str) -> Self {
        Self { identity: Identity::new(), device: unique(name).parse().expect("a device id") }
    }

    /// The same user on another device.
    pub(crate) fn elsewhere(&self) -> Self {
        let identity = Identity::of(self.identity.secret());
        Self { identity, device: unique("other").parse().expect("a device id") }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.identity.secret().public_key().fingerprint()
    }

    /// Connects as an ephemeral device.
    pub(crate) fn visits(&self, url: &str) -> Options {
        Options::new(url, Credentials::key(self.identity.secret())).expect("a URL")
    }

    /// Connects as the device.
    pub(crate) fn options(&self, url: &str) -> Options {
        let credentials = Credentials::key(self.identity.secret()).for_device(self.device.clone());
        let options = Options::new(url, credentials).expect("a URL");
        // All that a test says fits in the queue, so only a slow machine can lag.
        let options = options.event_capacity(8_192);
        // Twenty breaks in a row take seconds only if the waits do not grow.
        options.longest_wait(Duration::from_millis(500)).request_timeout(PATIENCE)
    }
}
