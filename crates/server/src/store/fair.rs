//! A queue that serves its keys in turn.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Items by key. The items of one key leave in the order in which they came; the keys take turns, one item each.
///
/// The caller bounds the queue through the weights of the items.
#[derive(Debug)]
pub(super) struct FairQueue<K, T> {
    lanes: HashMap<K, Lane<T>>,
    /// Every key with a lane, the next one first.
    turns: VecDeque<K>,
}

/// The waiting items of one key; never empty.
#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<Item<T>>,
    weight: usize,
}

#[derive(Debug)]
struct Item<T> {
    item: T,
    weight: usize,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// Adds an item behind the others of its key.
    pub(super) fn push(&mut self, key: K, weight: usize, item: T) {
        let lane = self.lanes.entry(key).or_insert_with(|| {
            self.turns.push_back(key);
            Lane { items: VecDeque::new(), weight: 0 }
        });
        lane.weight += weight;
        lane.items.push_back(Item { item, weight });
    }

    /// Takes the oldest item of the key that is next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let key = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let Item { item, weight } = lane.items.pop_front()?;
        lane.weight -= weight;
        if lane.items.is_empty() {
            self.lanes.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        Some(item)
    }

    /// Takes the newest item of the key with the most weight, if that key has more than `weight`.
    pub(super) fn shed(&mut self, weight: usize) -> Option<T> {
        let (key, lane) = self.lanes.iter_mut().max_by_key(|(_, lane)| lane.weight)?;
        if lane.weight <= weight {
            return None;
        }
        let Item { item, weight } = lane.items.pop_back()?;
        lane.weight -= weight;
        if lane.items.is_empty() {
            let key = *key;
            self.lanes.remove(&key);
            self.turns.retain(|other| *other != key);
        }
        Some(item)
    }

    /// The total weight that waits for a key.
    pub(super) fn weight_of(&self, key: K) -> usize {
        self.lanes.get(&key).map_or(0, |lane| lane.weight)
    }

    /// Whether the queue is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All waiting items, in the order in which they came.
    type Model = Vec<(u8, u32)>;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, usize),
        Pop,
        Shed(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u8..5, 1_usize..4).prop_map(|(key, weight)| Step::Push(key, weight)),
            4 => Just(Step::Pop),
            1 => (0_usize..8).prop_map(Step::Shed),
        ]
    }

    fn waiting_of(model: &Model, key: u8) -> Vec<u32> {
        model.iter().filter(|(other, _)| *other == key).map(|(_, number)| *number).collect()
    }

    proptest! {
        #[test]
        fn each_key_keeps_its_order_and_no_key_is_served_twice_while_another_waits(
            steps in prop::collection::vec(step(), 0..300),
        ) {
            let (mut queue, mut model, mut numbers) = (FairQueue::default(), Model::new(), 0..);
            let mut weights: HashMap<u32, usize> = HashMap::new();
            // How often each key was served since each waiting key was last served.
            let mut served: HashMap<u8, HashMap<u8, u32>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Push(key, weight) => {
                        let number = numbers.next().unwrap();
                        queue.push(key, weight, (key, number));
                        if waiting_of(&model, key).is_empty() {
                            served.insert(key, HashMap::new());
                        }
                        model.push((key, number));
                        weights.insert(number, weight);
                    }
                    Step::Pop => {
                        let Some((key, number)) = queue.pop() else {
                            prop_assert!(model.is_empty());
                            continue;
                        };
                        prop_assert_eq!(waiting_of(&model, key).first().copied(), Some(number));
                        model.retain(|(_, other)| *other != number);
                        served.insert(key, HashMap::new());
                        for (other, served) in &mut served {
                            if *other != key && !waiting_of(&model, *other).is_empty() {
                                let count = served.entry(key).or_default();
                                *count += 1;
                                prop_assert!(*count <= 1, "{} was served twice while {} waited", key, other);
                            }
                        }
                    }
                    Step::Shed(weight) => {
                        let weight_of = |key| -> usize {
                            waiting_of(&model, key).iter().map(|number| weights[number]).sum()
                        };
                        let heaviest = (0..5).map(weight_of).max().unwrap_or_default();
                        match queue.shed(weight) {
                            None => prop_assert!(heaviest <= weight),
                            Some((key, number)) => {
                                prop_assert!(heaviest > weight && weight_of(key) == heaviest);
                                prop_assert_eq!(waiting_of(&model, key).last().copied(), Some(number));
                                model.retain(|(_, other)| *other != number);
                            }
                        }
                    }
                }
                for key in 0..5 {
                    let expected: usize = waiting_of(&model, key).iter().map(|number| weights[number]).sum();
                    prop_assert_eq!(queue.weight_of(key), expected);
                }
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}
