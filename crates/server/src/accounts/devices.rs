//! The devices of a user, over HTTP.

use aldis_auth::PublicKey;
use aldis_protocol::{
    AlertKind, DeviceId, ErrorCode, Timestamp,
    api::{Device, DeviceList, RegisterDevice},
    limits::MAX_DEVICE_NAME_CHARS,
    statement::DeviceStatement,
};

use super::{Accounts, Caller, sign_in::parse_key};
use crate::{
    clock::Now,
    refusal::Refusal,
    store::{self, NewDevice, Notice, Registration},
};

const KEY_IN_USE: Refusal = Refusal::new(ErrorCode::KeyInUse, "the key is somebody's identity");
const TOO_MANY: Refusal =
    Refusal::new(ErrorCode::Conflict, "you have as many devices as may be; remove one first");
const ID_TAKEN: Refusal = Refusal::new(
    ErrorCode::Conflict,
    "the device id is taken, or yours with another key; remove it first or take another",
);

impl Accounts {
    /// Registers a device of the caller. Its key will sign in without a second factor, so this needs a recent login. The
    /// second value says whether the device is new.
    pub(crate) async fn register_device(
        &self,
        caller: &Caller,
        request: RegisterDevice,
        now: Now,
    ) -> Result<(Device, bool), Refusal> {
        let device_id = DeviceId::registered(request.device_id.as_str()).map_err(|_| {
            Refusal::new(ErrorCode::BadRequest, "`device_id` of a registered device never starts with ~")
        })?;
        parse_key(&request.pubkey)?;
        check_name(request.name.as_deref())?;
        let credential = caller.step_up(now)?;
        self.check_statement(caller, &request).await?;
        let new = NewDevice {
            device_id: device_id.clone(),
            pubkey: Some(request.pubkey),
            name: request.name,
            created_at_ms: request
                .created_at_ms
                .and_then(|ms| i64::try_from(ms).ok())
                .unwrap_or(now.store_ms()),
            signature: request.signature,
        };
        let created = match self.register_within_limit(&credential, &new, now).await? {
            Registration::Registered => {
                tracing::info!(user = %caller.user, device = device_id.as_str(), "device added");
                self.cache.forget(caller.user);
                self.tell_of_device(caller, AlertKind::DeviceAdded, &device_id, now).await;
                true
            }
            Registration::Unchanged => false,
            Registration::KeyInUse => return Err(KEY_IN_USE),
            Registration::TooMany => return Err(TOO_MANY),
            Registration::IdTaken => return Err(ID_TAKEN),
        };
        let registered =
            self.devices(caller, now).await?.devices.into_iter().find(|device| device.device_id == device_id);
        registered
            .map(|device| (device, created))
            .ok_or(Refusal::new(ErrorCode::Conflict, "the device was removed while it was registered"))
    }

    /// The caller's devices.
    pub(crate) async fn devices(&self, caller: &Caller, now: Now) -> Result<DeviceList, Refusal> {
        let devices = self.store.devices_of(caller.user).await?;
        Ok(DeviceList { devices: devices.into_iter().map(|device| self.shown(device, now)).collect() })
    }

    /// Removes a device of the caller, closes its session and revokes the tokens that are bound to it.
    pub(crate) async fn remove_device(
        &self,
        caller: &Caller,
        device: &DeviceId,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.store.remove_device(&caller.credential(), device, now.store_ms()).await? {
            return Err(Refusal::new(ErrorCode::UnknownDevice, "there is no such device of yours"));
        }
        tracing::info!(user = %caller.user, device = device.as_str(), "device removed");
        self.revoked(now).await;
        self.tell_of_device(caller, AlertKind::DeviceRemoved, device, now).await;
        Ok(())
    }

    /// Delivers the alert about a device to every device except that one and the caller's.
    async fn tell_of_device(&self, caller: &Caller, kind: AlertKind, device: &DeviceId, now: Now) {
        let except: Vec<&DeviceId> = caller.device.iter().chain([device]).collect();
        self.notices.tell_written(caller.user, &Notice::of_device(kind, device), &except, now).await;
    }

    async fn check_statement(&self, caller: &Caller, request: &RegisterDevice) -> Result<(), Refusal> {
        let (Some(signature), Some(created_at_ms)) = (request.signature, request.created_at_ms) else {
            return match request.signature {
                None => Ok(()),
                Some(_) => Err(Refusal::new(
                    ErrorCode::BadRequest,
                    "missing field `created_at_ms` beside `signature`",
                )),
            };
        };
        let not_signed =
            Refusal::new(ErrorCode::InvalidSignature, "the signature is not of this user's identity");
        let Some(fingerprint) = self.store.fingerprint_of(caller.user).await? else { return Err(not_signed) };
        let identity = self.store.identity_of_fingerprint(fingerprint).await?;
        let key = identity.and_then(|identity| PublicKey::from_bytes(&identity.active_key).ok());
        let statement = DeviceStatement {
            fingerprint,
            device_id: &request.device_id,
            public_key: &request.pubkey,
            created_at_ms,
        };
        match key.map(|key| key.verify(&statement.bytes(), &signature)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(not_signed),
        }
    }

    /// When a device was last connected, including what this node has not written yet.
    fn last_seen(&self, device: &store::Device, online: bool, now: Now) -> Option<i64> {
        let now_ms = online.then(|| now.store_ms());
        // A time before the registration belongs to a device that had the id before.
        let known =
            self.last_seen.of_device(&device.device_id).filter(|at_ms| *at_ms >= device.registered_at_ms);
        now_ms.or(known.max(device.last_seen_at_ms))
    }

    fn shown(&self, device: store::Device, now: Now) -> Device {
        let online = self.registry.is_online(&device.device_id);
        let last_seen_ms = self.last_seen(&device, online, now);
        Device {
            online,
            pubkey: device.pubkey,
            name: device.name,
            created_at_ms: u64::try_from(device.created_at_ms).ok(),
            signature: device.signature,
            registered_at: Timestamp::from_ms(device.registered_at_ms),
            last_seen: last_seen_ms.map(Timestamp::from_ms),
            device_id: device.device_id,
        }
    }
}

fn check_name(name: Option<&str>) -> Result<(), Refusal> {
    let name = name.unwrap_or_default();
    if name.contains('\0') || name.chars().count() > MAX_DEVICE_NAME_CHARS {
        return Err(Refusal::new(ErrorCode::BadRequest, "`name` has at most 100 characters and no U+0000"));
    }
    Ok(())
}
