//! Random histories compared with a simple model, and random damage to a chain.

use aldis_auth::{CANCELLATION_WINDOW_MS, Chain, ChainError, MAX_CLOCK_SKEW_MS, Pin, Statement, check_pin};
use aldis_protocol::api::{ChainResponse, StatementStatus};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;

use super::world::{NOW, cancellation, chain, key, rotation};

/// An operation, with keys by number.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Rotate { old: Who, new: u64 },
    Cancel { signer: Who },
}

/// Most operations use a permitted key, some use a forbidden one.
#[derive(Debug, Clone, Copy)]
enum Who {
    Active,
    Replaced,
    Number(u64),
}

#[derive(Debug, Clone, Copy)]
struct Step {
    after_ms: u64,
    skew_ms: i64,
    operation: Operation,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![6 => Just(Who::Active), 6 => Just(Who::Replaced), 1 => (0..6_u64).prop_map(Who::Number)]
}

fn step() -> impl Strategy<Value = Step> {
    let after_ms = prop_oneof![
        Just(1),
        Just(CANCELLATION_WINDOW_MS - 1),
        Just(CANCELLATION_WINDOW_MS),
        Just(CANCELLATION_WINDOW_MS + 1),
        1..2 * CANCELLATION_WINDOW_MS,
    ];
    let limit = MAX_CLOCK_SKEW_MS as i64;
    let skew_ms = prop_oneof![8 => -limit..=limit, 1 => Just(limit + 1), 1 => Just(-limit - 1)];
    let operation = prop_oneof![
        (who(), 0..12_u64).prop_map(|(old, new)| Operation::Rotate { old, new }),
        who().prop_map(|signer| Operation::Cancel { signer }),
    ];
    (after_ms, skew_ms, operation).prop_map(|(after_ms, skew_ms, operation)| Step {
        after_ms,
        skew_ms,
        operation,
    })
}

/// Rotations as (old, new, accepted_at, cancelled), in order; everything else is searched for.
#[derive(Default)]
struct Model {
    rotations: Vec<(u64, u64, u64, bool)>,
    statements: u64,
}

impl Model {
    fn active(&self) -> u64 {
        self.rotations.iter().rev().find(|rotation| !rotation.3).map_or(0, |rotation| rotation.1)
    }

    fn pending_at(&self, now_ms: u64) -> Option<usize> {
        self.rotations
            .iter()
            .position(|(_, _, at_ms, cancelled)| !cancelled && now_ms - at_ms < CANCELLATION_WINDOW_MS)
    }

    fn replaced(&self) -> u64 {
        self.rotations.last().map_or(0, |rotation| rotation.0)
    }

    fn who(&self, who: Who) -> u64 {
        match who {
            Who::Active => self.active(),
            Who::Replaced => self.replaced(),
            Who::Number(number) => number,
        }
    }

    /// Whether the operation is accepted.
    fn apply(&mut self, operation: Operation, skew_ms: i64, now_ms: u64) -> bool {
        let in_time = skew_ms.unsigned_abs() <= MAX_CLOCK_SKEW_MS;
        let pending = self.pending_at(now_ms);
        let taken = match operation {
            Operation::Rotate { old, new } => {
                let old = self.who(old);
                let fresh = new != 0 && self.rotations.iter().all(|rotation| rotation.1 != new);
                let taken = pending.is_none() && old == self.active() && fresh && in_time;
                if taken {
                    self.rotations.push((old, new, now_ms, false));
                }
                taken
            }
            Operation::Cancel { signer } => {
                let signer = self.who(signer);
                let taken = in_time && pending.is_some_and(|place| self.rotations[place].0 == signer);
                if let (true, Some(place)) = (taken, pending) {
                    self.rotations[place].3 = true;
                }
                taken
            }
        };
        self.statements += u64::from(taken);
        taken
    }
}

fn sign(chain: &Chain, model: &Model, step: Step, now_ms: u64) -> Statement {
    let created_at_ms = now_ms.checked_add_signed(step.skew_ms).unwrap();
    match step.operation {
        Operation::Rotate { old, new } => rotation(chain, model.who(old), new, created_at_ms).into(),
        Operation::Cancel { signer } => cancellation(chain, model.who(signer), created_at_ms).into(),
    }
}

fn compare(chain: &Chain, model: &Model, now_ms: u64) -> Result<(), TestCaseError> {
    let state = chain.state(now_ms);
    prop_assert_eq!(state.active_key, key(model.active()).public_key());
    prop_assert_eq!(state.head.sequence, model.statements);
    let pending = model.pending_at(now_ms).map(|place| model.rotations[place]);
    prop_assert_eq!(
        state.provisional.map(|provisional| (provisional.old_key, provisional.until_ms)),
        pending.map(|(old, _, at_ms, _)| (key(old).public_key(), at_ms + CANCELLATION_WINDOW_MS))
    );
    let statuses = chain.links().iter().zip(chain.statuses(now_ms));
    let of_rotations = statuses.filter(|(link, _)| matches!(link.statement(), Statement::Rotation(_)));
    let expected = model.rotations.iter().map(|(_, _, at_ms, cancelled)| match cancelled {
        true => StatementStatus::Cancelled,
        false if now_ms - at_ms < CANCELLATION_WINDOW_MS => StatementStatus::Provisional,
        false => StatementStatus::Final,
    });
    prop_assert!(of_rotations.map(|(_, status)| status).eq(expected));
    Ok(())
}

/// A history with every kind of statement.
fn full_history() -> Chain {
    let mut chain = chain();
    let mut now_ms = NOW + 1;
    chain.append(rotation(&chain, 0, 1, now_ms).into(), now_ms).unwrap();
    now_ms += 1;
    chain.append(cancellation(&chain, 0, now_ms).into(), now_ms).unwrap();
    now_ms += 1;
    chain.append(rotation(&chain, 0, 2, now_ms).into(), now_ms).unwrap();
    now_ms += CANCELLATION_WINDOW_MS;
    chain.append(rotation(&chain, 2, 3, now_ms).into(), now_ms).unwrap();
    chain
}

/// Changes one byte of a text, or a number.
fn damaged(value: &Value, at: Index, with: u8) -> Value {
    let Some(text) = value.as_str() else { return Value::from(value.as_u64().unwrap() ^ u64::from(with)) };
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= with;
    Value::from(String::from_utf8_lossy(&bytes))
}

fn verify(chain: &Chain, response: &Value) -> Option<Result<Chain, ChainError>> {
    let response = serde_json::from_str::<ChainResponse>(&response.to_string()).ok()?;
    Some(Chain::from_response(chain.fingerprint(), &response))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn chain_and_model_agree(steps in prop::collection::vec(step(), 1..24)) {
        let (mut chain, mut model, mut now_ms) = (chain(), Model::default(), NOW);
        let mut pin = Pin::of(&chain, now_ms);
        for step in steps {
            now_ms += step.after_ms;
            let (statement, before) = (sign(&chain, &model, step, now_ms), chain.clone());
            let taken = model.apply(step.operation, step.skew_ms, now_ms);
            let result = chain.append(statement, now_ms).map(|_| ());
            prop_assert_eq!(result.is_ok(), taken, "{:?}: {:?}", step, result);
            prop_assert!(taken || chain == before);
            compare(&chain, &model, now_ms)?;
            pin = check_pin(&pin, &chain, now_ms).unwrap();
        }
        let response = serde_json::to_value(chain.to_response(now_ms)).unwrap();
        prop_assert_eq!(verify(&chain, &response), Some(Ok(chain)));
    }

    /// Changes each text, number and byte of each statement. Only `status` is not verified, and `accepted_at_ms` only
    /// within its bounds.
    #[test]
    fn damage_is_detected(statement in 0..5_usize, field: Index, at: Index, with in 1_u8..) {
        let chain = full_history();
        let mut response = serde_json::to_value(chain.to_response(NOW)).unwrap();
        let object = response["statements"][statement].as_object_mut().unwrap();
        let fields: Vec<_> =
            object.keys().filter(|name| !["status", "accepted_at_ms"].contains(&name.as_str())).cloned().collect();
        let value = &mut object[field.get(&fields)];
        *value = damaged(value, at, with);
        prop_assert!(!matches!(verify(&chain, &response), Some(Ok(_))));
    }

    #[test]
    fn wrong_order_and_gaps_are_detected(left in 0..5_usize, right in 0..5_usize) {
        prop_assume!(left != right);
        let chain = full_history();
        let whole = chain.to_response(NOW);
        let (mut swapped, mut repeated, mut missing) = (whole.clone(), whole.clone(), whole);
        swapped.statements.swap(left, right);
        repeated.statements[left] = repeated.statements[right].clone();
        missing.statements.remove(left.min(3));
        for response in [swapped, repeated, missing] {
            prop_assert!(Chain::from_response(chain.fingerprint(), &response).is_err());
        }
    }
}
