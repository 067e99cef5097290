//! The registry against a naive one, under random operations.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_protocol::{DeviceId, SessionId, UserId};
use aldis_registry::{Attached, Attachment, Registry};
use proptest::prelude::*;
use uuid::Uuid;

const LIMIT: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Attach { user: u8, device: u8 },
    Detach { nth: usize },
    DetachAgain { nth: usize },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        3 => (0..4_u8, 0..6_u8).prop_map(|(user, device)| Operation::Attach { user, device }),
        1 => (0..64_usize).prop_map(|nth| Operation::Detach { nth }),
        1 => (0..64_usize).prop_map(|nth| Operation::DetachAgain { nth }),
    ];
    prop::collection::vec(operation, 0..120)
}

fn user_id(user: u8) -> UserId {
    UserId::new(Uuid::from_u128(u128::from(user)))
}

/// Device ids are unique on a server, so each belongs to one user.
fn device_id(user: u8, device: u8) -> DeviceId {
    DeviceId::new(&format!("device-{user}-{device}")).unwrap()
}

/// A list, searched from end to end.
#[derive(Default)]
struct Model {
    live: Vec<(u8, Attached<u32>)>,
    gone: Vec<(u8, SessionId)>,
}

impl Model {
    fn attach(&mut self, user: u8, attached: Attached<u32>) -> Attachment<u32> {
        let same_device = self.live.iter().position(|(_, other)| other.device == attached.device);
        let others =
            self.live.iter().filter(|(owner, other)| *owner == user && other.device != attached.device);
        if same_device.is_none() && others.count() >= LIMIT {
            return Attachment::TooMany;
        }
        let replaced = same_device.map(|index| self.live.remove(index).1);
        self.gone.extend(replaced.iter().map(|replaced| (user, replaced.session)));
        self.live.push((user, attached));
        Attachment::Attached { replaced }
    }

    fn detach(&mut self, nth: usize) -> Option<(u8, Attached<u32>)> {
        (!self.live.is_empty()).then(|| self.live.remove(nth % self.live.len()))
    }

    fn of_user(&self, user: u8) -> Vec<u32> {
        let mut handles: Vec<_> = self
            .live
            .iter()
            .filter(|(owner, _)| *owner == user)
            .map(|(_, attached)| attached.handle)
            .collect();
        handles.sort_unstable();
        handles
    }
}

proptest! {
    #[test]
    fn the_registry_does_as_the_model_does(operations in operations()) {
        let registry = Registry::default();
        let mut model = Model::default();
        for (number, operation) in operations.into_iter().enumerate() {
            let handle = u32::try_from(number).unwrap();
            match operation {
                Operation::Attach { user, device } => {
                    let session = SessionId::new(Uuid::from_u128(u128::from(handle)));
                    let attached = Attached { session, device: device_id(user, device), handle };
                    let expected = model.attach(user, attached.clone());
                    prop_assert_eq!(registry.attach(user_id(user), attached, LIMIT), expected);
                }
                Operation::Detach { nth } => {
                    if let Some((user, expected)) = model.detach(nth) {
                        let detached = registry.detach(user_id(user), expected.session);
                        model.gone.push((user, expected.session));
                        prop_assert_eq!(detached, Some(expected));
                    }
                }
                Operation::DetachAgain { nth } => {
                    if let Some((user, session)) = model.gone.get(nth % model.gone.len().max(1)) {
                        prop_assert_eq!(registry.detach(user_id(*user), *session), None);
                    }
                }
            }
            check(&registry, &model)?;
        }
    }
}

fn check(registry: &Registry<u32>, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(registry.len(), model.live.len());
    prop_assert_eq!(registry.is_empty(), model.live.is_empty());
    for user in 0..4 {
        let mut handles: Vec<_> =
            registry.of_user(user_id(user)).iter().map(|attached| attached.handle).collect();
        handles.sort_unstable();
        prop_assert_eq!(handles, model.of_user(user));
        for device in 0..6 {
            let device = device_id(user, device);
            let expected = model.live.iter().find(|(_, attached)| attached.device == device);
            let expected = expected.map(|(user, attached)| (user_id(*user), attached.handle));
            prop_assert_eq!(registry.is_online(&device), expected.is_some());
            prop_assert_eq!(registry.on_device(&device), expected);
        }
    }
    Ok(())
}

#[test]
fn devices_that_come_and_go_on_many_threads_leave_nothing_behind() {
    let registry = Registry::default();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let registry = &registry;
            scope.spawn(move || {
                for round in 0..2_000_u32 {
                    let user = user_id(u8::try_from(round % 3).unwrap());
                    let session =
                        SessionId::new(Uuid::from_u128(u128::from(round) << 32 | u128::from(thread)));
                    let device = DeviceId::new(&format!("device-{}", round % 3)).unwrap();
                    let _ = registry.attach(user, Attached { session, device, handle: round }, LIMIT);
                    registry.detach(user, session);
                }
            });
        }
    });
    assert!(registry.is_empty(), "{} sessions left", registry.len());
    assert_eq!(registry.all(), Vec::<u32>::new());
}
