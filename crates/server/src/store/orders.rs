//! What an operator asks of every running node. A command writes it, and each node carries it out when it reads it, a second
//! later at most.

use aldis_protocol::{DeviceId, RoomId, UserId};
use uuid::Uuid;

use super::{
    Store, StoreError, accounts,
    db::{Db, Tx, on, within},
    revocations, rooms, row, sweep_rows,
};

/// Nodes read orders every second; a day covers a node whose database was unavailable.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Close the session of a device. Its client may come back.
    CloseDevice(DeviceId),
    /// Empty a room that was removed.
    EndRoom(RoomId),
}

/// An order with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberedOrder {
    /// Its number.
    pub(crate) number: i64,
    /// The order.
    pub(crate) order: Order,
}

impl Store {
    /// The number of the last order; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_order(&self) -> Result<i64, StoreError> {
        let select = "SELECT COALESCE(MAX(number), 0) FROM orders";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).fetch_one(pool).await?))
    }

    /// Up to `limit` orders after a number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn orders_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<NumberedOrder>, StoreError> {
        let select = "SELECT number, kind, subject FROM orders WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<(i64, String, String)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        rows.into_iter()
            .map(|(number, kind, subject)| {
                Ok(NumberedOrder { number, order: Order::parse(&kind, &subject)? })
            })
            .collect()
    }

    /// Asks every node to close the session of a device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn order_close(&self, device: &DeviceId, now_ms: i64) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        append(&mut tx, &Order::CloseDevice(device.clone()), now_ms).await?;
        tx.commit().await
    }

    /// Removes a room with its members, state and invitations; the sweep deletes its messages. Every node empties it.
    /// False if there is no such room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remove_room(&self, room: &RoomId, now_ms: i64) -> Result<bool, StoreError> {
        let select = "SELECT room_id, owner_id FROM rooms WHERE name = $1";
        let mut tx = self.db.begin().await?;
        let found: Option<(Uuid, Uuid)> = within!(&mut tx, connection => {
            sqlx::query_as(select).bind(room.as_str()).fetch_optional(connection).await?
        });
        let Some((room_id, owner)) = found else {
            tx.rollback().await?;
            return Ok(false);
        };
        let owner = UserId::new(owner);
        accounts::lock(&mut tx, owner).await?;
        rooms::leave_private_rooms(&mut tx, owner, now_ms).await?;
        for statement in rooms::OF_ROOM {
            within!(&mut tx, connection => {
                sqlx::query(statement).bind(room_id).execute(connection).await?;
            });
        }
        append(&mut tx, &Order::EndRoom(room.clone()), now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Order {
    const fn kind(&self) -> &'static str {
        match self {
            Self::CloseDevice(_) => "close_device",
            Self::EndRoom(_) => "end_room",
        }
    }

    fn subject(&self) -> &str {
        match self {
            Self::CloseDevice(device) => device.as_str(),
            Self::EndRoom(room) => room.as_str(),
        }
    }

    fn parse(kind: &str, subject: &str) -> Result<Self, StoreError> {
        let unreadable = || StoreError::from(sqlx::Error::Decode("an unknown kind of order".into()));
        match kind {
            "close_device" => row::device_id(subject).map(Self::CloseDevice),
            "end_room" => subject.parse().map(Self::EndRoom).map_err(|_| unreadable()),
            _ => Err(unreadable()),
        }
    }
}

/// Call it last in a transaction, because it locks the counter of revocations.
async fn append(tx: &mut Tx, order: &Order, now_ms: i64) -> Result<(), StoreError> {
    let number = revocations::draw_numbers(tx, 1).await?;
    let insert = "INSERT INTO orders (number, kind, subject, at_ms) VALUES ($1, $2, $3, $4)";
    within!(tx, connection => {
        let query = sqlx::query(insert).bind(number).bind(order.kind()).bind(order.subject()).bind(now_ms);
        query.execute(connection).await?;
    });
    Ok(())
}

/// Deletes orders that every node has read.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM orders WHERE number IN \
         (SELECT number FROM orders WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}
