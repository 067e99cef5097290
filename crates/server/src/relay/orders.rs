//! Carries out what an operator asks of every node: read every second, in the order of the commits.

use std::sync::atomic::{AtomicI64, Ordering};

use aldis_protocol::CloseCode;

use super::Relay;
use crate::{
    link::Closing,
    store::{NumberedOrder, Order, StoreError},
};

/// How many orders are read at a time.
const BATCH: i64 = 500;

/// The number of the order that was read last.
#[derive(Debug, Default)]
pub(super) struct LastOrder(AtomicI64);

impl Relay {
    /// Begins after the last order: before the node serves sessions, there is nothing to carry out.
    pub(crate) async fn recall_orders(&self) -> Result<(), StoreError> {
        self.orders.0.store(self.store.last_order().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Carries out the orders that were added since the last read.
    pub(crate) async fn read_orders(&self) -> Result<(), StoreError> {
        loop {
            let last = self.orders.0.load(Ordering::Relaxed);
            let orders = self.store.orders_after(last, BATCH).await?;
            let Some(end) = orders.last().map(|order| order.number) else { return Ok(()) };
            for NumberedOrder { order, .. } in &orders {
                self.carry_out(order);
            }
            self.orders.0.store(end, Ordering::Relaxed);
        }
    }

    fn carry_out(&self, order: &Order) {
        match order {
            Order::CloseDevice(device) => {
                if let Some((user, session)) = self.registry.on_device(device) {
                    tracing::info!(%user, %device, "an operator closes the session of a device");
                    let message = "an operator closed the session; sign in again";
                    session.close_with(Closing::new(CloseCode::SessionRevoked, "", message));
                }
            }
            Order::EndRoom(room) => {
                tracing::info!(%room, "an operator removed a room");
                self.room_changes.note(room);
                self.close_room(room);
            }
        }
    }
}
