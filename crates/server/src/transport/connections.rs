//! Limits the connections without a session, by address and in all.
//!
//! At a limit, the connection is closed that has been idle between two requests for longest; if none is idle, the new
//! one is refused. At the limit in all, a new connection first waits a moment, and nothing is read from it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::rate::AddressKey;

/// Connections of one address, including TLS handshakes.
const PER_ADDRESS: usize = 128;
/// Connections of all addresses.
const IN_ALL: usize = 4_096;
/// The same if limits are off: a bound on memory and file descriptors.
const IN_ALL_WITHOUT_LIMITS: usize = 16_384;
/// Connections that wait for their turn. If they stayed in the kernel's queue, it would run over in a storm, and clients
/// would try again only a second later.
const WAITING: usize = 8_192;
/// For so long no connection gets a turn before one that waits is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many times the patience is the longest that a connection waits.
const MOST_WAITS: usize = 10;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    table: Mutex<Table>,
    /// `None` if an address may have as many as fit: behind a proxy, or if limits are off.
    per_address: Option<usize>,
    in_all: usize,
    /// One for each connection that may be served.
    turns: Arc<Semaphore>,
    /// How many turns were given in all.
    given: AtomicU64,
}

/// A connection that is known, and not served yet.
#[derive(Debug)]
pub(super) struct Admitted(Slot);

/// The place of a connection that is served; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    slot: Slot,
    _turn: OwnedSemaphorePermit,
}

/// The entry of a connection.
#[derive(Debug)]
struct Slot {
    connections: Arc<Connections>,
    id: u64,
}

/// Closes an idle connection.
pub(super) trait Evict: Send + Sync {
    /// Closes the connection, unless its next request has begun.
    fn evict(&self);
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Its address has the maximum number.
    Address,
    /// The node has the maximum number.
    Node,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// The idle connections, the longest idle first.
    idle: BTreeMap<u64, Idle>,
    addresses: HashMap<AddressKey, Address>,
}

#[derive(Debug)]
struct Entry {
    address: AddressKey,
    /// Its key among the idle connections.
    idle: Option<u64>,
}

/// The connection owns its place, so the table must not own the connection.
struct Idle {
    id: u64,
    connection: Weak<dyn Evict>,
}

#[derive(Debug, Default)]
struct Address {
    count: usize,
    /// The keys of its idle connections.
    idle: BTreeSet<u64>,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Idle").field(&self.id).finish()
    }
}

impl Connections {
    /// An empty table. Behind a proxy, one peer stands for all clients.
    pub(super) fn new(is_limited: bool, is_behind_proxy: bool) -> Arc<Self> {
        let per_address = (is_limited && !is_behind_proxy).then_some(PER_ADDRESS);
        Self::with(per_address, if is_limited { IN_ALL } else { IN_ALL_WITHOUT_LIMITS })
    }

    fn with(per_address: Option<usize>, in_all: usize) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(in_all));
        Arc::new(Self { table: Mutex::default(), per_address, in_all, turns, given: AtomicU64::new(0) })
    }

    /// Admits a connection from this address, to be served when it is its turn.
    pub(super) fn admit(self: &Arc<Self>, address: AddressKey) -> Result<Admitted, Full> {
        let mut table = self.lock();
        let most = self.per_address.map_or(usize::MAX, |most| address.share(most));
        let mut evicted = None;
        if table.addresses.get(&address).is_some_and(|held| held.count >= most) {
            let longest = table.addresses.get(&address).and_then(|held| held.idle.first().copied());
            evicted = table.evict(longest.ok_or(Full::Address)?);
        } else if table.entries.len() >= self.in_all {
            match table.idle.keys().next().copied() {
                Some(longest) => evicted = table.evict(longest),
                None if table.entries.len() >= self.in_all + WAITING => return Err(Full::Node),
                None => {}
            }
        }
        let id = table.add(address);
        drop(table);
        // Not earlier: if this is the last reference, dropping it frees the place, which takes the lock.
        drop(evicted);
        Ok(Admitted(Slot { connections: Arc::clone(self), id }))
    }

    /// Waits as long as others get their turns: a burst of honest clients is served, however large it is.
    async fn next_turn(&self, turns: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let mut turn = pin!(turns.acquire_owned());
        for _ in 0..MOST_WAITS {
            let given = self.given.load(Relaxed);
            match timeout(PATIENCE, turn.as_mut()).await {
                Ok(turn) => return turn.ok(),
                Err(_) if self.given.load(Relaxed) == given => return None,
                Err(_) => {}
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Waits for the connection's turn. Turns come in the order of admission.
    pub(super) async fn turn(self) -> Result<Place, Full> {
        let Self(slot) = self;
        let turns = Arc::clone(&slot.connections.turns);
        let turn = match Arc::clone(&turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => slot.connections.next_turn(turns).await.ok_or(Full::Node)?,
        };
        slot.connections.given.fetch_add(1, Relaxed);
        Ok(Place { slot, _turn: turn })
    }
}

impl Place {
    /// The connection is idle from now on: it has answered, and no request has begun.
    pub(super) fn set_idle(&self, connection: Arc<dyn Evict>) {
        let mut table = self.slot.connections.lock();
        table.set_busy(self.slot.id);
        table.set_idle(self.slot.id, Arc::downgrade(&connection));
    }

    /// A request has begun.
    pub(super) fn set_busy(&self) {
        self.slot.connections.lock().set_busy(self.slot.id);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
    }
}

impl Table {
    fn add(&mut self, address: AddressKey) -> u64 {
        let id = self.next_key();
        self.entries.insert(id, Entry { address, idle: None });
        self.addresses.entry(address).or_default().count += 1;
        id
    }

    /// An evicted connection has lost its entry already.
    fn remove(&mut self, id: u64) {
        self.set_busy(id);
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(held) = self.addresses.get_mut(&entry.address) {
            held.count -= 1;
            if held.count == 0 {
                self.addresses.remove(&entry.address);
            }
        }
    }

    /// Removes the connection and returns it if it still exists; the caller must drop it without the lock.
    fn evict(&mut self, key: u64) -> Option<Arc<dyn Evict>> {
        let Idle { id, connection } = self.idle.remove(&key)?;
        let connection = connection.upgrade();
        if let Some(connection) = &connection {
            connection.evict();
        }
        self.remove(id);
        connection
    }

    fn set_idle(&mut self, id: u64, connection: Weak<dyn Evict>) {
        let key = self.next_key();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.idle = Some(key);
        self.addresses.entry(entry.address).or_default().idle.insert(key);
        self.idle.insert(key, Idle { id, connection });
    }

    fn set_busy(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(key) = entry.idle.take() else { return };
        self.idle.remove(&key);
        if let Some(held) = self.addresses.get_mut(&entry.address) {
            held.idle.remove(&key);
        }
    }

    fn next_key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::atomic::AtomicBool};

    use tokio::time::Instant;

    use super::*;

    #[derive(Default)]
    struct Connection(AtomicBool);

    impl Evict for Connection {
        fn evict(&self) {
            self.0.store(true, Relaxed);
        }
    }

    fn address(last: u8) -> AddressKey {
        IpAddr::from([192, 0, 2, last]).into()
    }

    async fn served(connections: &Arc<Connections>, address: AddressKey) -> Place {
        connections.admit(address).unwrap().turn().await.unwrap()
    }

    fn idle(place: &Place) -> Arc<Connection> {
        let connection = Arc::new(Connection::default());
        let evicted: Arc<dyn Evict> = Arc::<Connection>::clone(&connection);
        place.set_idle(evicted);
        connection
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.0.load(Relaxed)
    }

    /// Like a real connection, it frees its place when its last reference is dropped.
    struct Holder {
        _place: Arc<Place>,
    }

    impl Evict for Holder {
        fn evict(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ended_while_idle_kept_its_place_for_ever() {
        let connections = Connections::with(Some(1), 1);
        for _ in 0..3 {
            let place = Arc::new(served(&connections, address(1)).await);
            let holder: Arc<dyn Evict> = Arc::new(Holder { _place: Arc::clone(&place) });
            place.set_idle(Arc::clone(&holder));
            drop((place, holder));
            assert!(connections.lock().entries.is_empty(), "it ended");
        }
        let place = Arc::new(served(&connections, address(1)).await);
        let holder: Arc<dyn Evict> = Arc::new(Holder { _place: Arc::clone(&place) });
        place.set_idle(Arc::clone(&holder));
        drop(place);
        connections.admit(address(1)).unwrap();
        drop(holder);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_an_address_is_closed_first() {
        let connections = Connections::with(Some(3), 100);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(served(&connections, address(1)).await);
        }
        assert_eq!(connections.admit(address(1)).unwrap_err(), Full::Address);
        let other = served(&connections, address(2)).await;
        let of_other = idle(&other);
        let (second, first) = (idle(&places[2]), idle(&places[0]));
        places.push(served(&connections, address(1)).await);
        assert_eq!((is_evicted(&second), is_evicted(&first), is_evicted(&of_other)), (true, false, false));
        places[0].set_busy();
        assert_eq!(connections.admit(address(1)).unwrap_err(), Full::Address);
        drop(places);
        drop(other);
        let table = connections.lock();
        assert!(table.entries.is_empty() && table.idle.is_empty() && table.addresses.is_empty());
    }

    /// One address held every place, and all other addresses timed out.
    #[tokio::test(start_paused = true)]
    async fn idle_connections_of_one_address_lock_nobody_out() {
        let connections = Connections::with(None, 4);
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(served(&connections, address(1)).await);
        }
        let idle: Vec<_> = places.iter().map(idle).collect();
        let mut admitted = Vec::new();
        for number in 0..4 {
            admitted.push(connections.admit(address(2)).unwrap());
            assert_eq!(idle.iter().filter(|one| is_evicted(one)).count(), number + 1);
        }
        // Evicted connections end, and those that made them end are served.
        drop(places);
        for connection in admitted {
            connection.turn().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_served_in_turn_as_places_become_free() {
        let connections = Connections::with(None, 1);
        let place = served(&connections, address(1)).await;
        let (second, third) =
            (connections.admit(address(2)).unwrap(), connections.admit(address(3)).unwrap());
        let (mut second, mut third) = (pin!(second.turn()), pin!(third.turn()));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        drop(place);
        assert!(futures::poll!(&mut third).is_pending(), "not before the second");
        let place = second.await.unwrap();
        let start = Instant::now();
        assert_eq!(third.await.unwrap_err(), Full::Node);
        assert_eq!(start.elapsed(), 2 * PATIENCE, "the second got its turn in the first of them");
        drop(place);
        assert!(connections.lock().entries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_connections_wait_and_the_next_is_refused() {
        let connections = Connections::with(None, 2);
        let mut places = vec![served(&connections, address(1)).await, served(&connections, address(1)).await];
        let waiting: Vec<_> = (0..WAITING).map(|_| connections.admit(address(2)).unwrap()).collect();
        assert_eq!(connections.admit(address(3)).unwrap_err(), Full::Node);
        let idle = idle(&places[0]);
        let admitted = connections.admit(address(3)).unwrap();
        assert!(is_evicted(&idle));
        drop((waiting, places.pop()));
        admitted.turn().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn loopback_has_ten_times_as_many_connections() {
        let connections = Connections::with(Some(2), 1_000);
        let address = AddressKey::from(IpAddr::from([127, 0, 0, 1]));
        let mut places = Vec::new();
        for _ in 0..20 {
            places.push(served(&connections, address).await);
        }
        assert_eq!(connections.admit(address).unwrap_err(), Full::Address);
    }
}
