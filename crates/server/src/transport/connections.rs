//! Limits the connections without a session, by address and in all.
//!
//! At a limit, the connection is closed that has been idle between two requests for longest; if none is idle, the new
//! one is refused.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::rate::AddressKey;

/// Connections of one address, including TLS handshakes.
const PER_ADDRESS: usize = 128;
/// Connections of all addresses.
const IN_ALL: usize = 4_096;
/// The same if limits are off: a bound on memory and file descriptors.
const IN_ALL_WITHOUT_LIMITS: usize = 16_384;
/// How long a new connection waits for a place if there are too many in all. So a burst of honest clients is admitted
/// as fast as it is served. Clients that only hold their places cost this wait once.
const PATIENCE: Duration = Duration::from_millis(100);

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    table: Mutex<Table>,
    /// `None` if an address may have as many as fit: behind a proxy, or if limits are off.
    per_address: Option<usize>,
    in_all: usize,
    freed: Notify,
}

/// The place of a connection; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
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
    /// A wait for a place was unsuccessful, and no place has become free since.
    is_stuck: bool,
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
        Arc::new(Self { table: Mutex::default(), per_address, in_all, freed: Notify::new() })
    }

    /// A place for a connection from this address. Waits a moment if there are too many in all.
    pub(super) async fn admit(self: &Arc<Self>, address: AddressKey) -> Result<Place, Full> {
        let refused = match self.try_admit(address) {
            Err(Full::Node) if !self.lock().is_stuck => Full::Node,
            admitted => return admitted,
        };
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.freed.notified();
                match self.try_admit(address) {
                    Err(Full::Node) => freed.await,
                    admitted => return admitted,
                }
            }
        });
        admitted.await.unwrap_or_else(|_| {
            self.lock().is_stuck = true;
            Err(refused)
        })
    }

    fn try_admit(self: &Arc<Self>, address: AddressKey) -> Result<Place, Full> {
        let mut table = self.lock();
        let most = self.per_address.map_or(usize::MAX, |most| address.share(most));
        let mut evicted = None;
        if table.addresses.get(&address).is_some_and(|held| held.count >= most) {
            let longest = table.addresses.get(&address).and_then(|held| held.idle.first().copied());
            evicted = table.evict(longest.ok_or(Full::Address)?);
        } else if table.entries.len() >= self.in_all {
            let longest = table.idle.keys().next().copied();
            evicted = table.evict(longest.ok_or(Full::Node)?);
        }
        let id = table.add(address);
        drop(table);
        // Not earlier: if this is the last reference, dropping it frees the place, which takes the lock.
        drop(evicted);
        Ok(Place { connections: Arc::clone(self), id })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection is idle from now on: it has answered, and no request has begun.
    pub(super) fn set_idle(&self, connection: Arc<dyn Evict>) {
        let mut table = self.connections.lock();
        table.set_busy(self.id);
        table.set_idle(self.id, Arc::downgrade(&connection));
    }

    /// A request has begun.
    pub(super) fn set_busy(&self) {
        self.connections.lock().set_busy(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        if table.remove(self.id) {
            table.is_stuck = false;
            drop(table);
            self.connections.freed.notify_one();
        }
    }
}

impl Table {
    fn add(&mut self, address: AddressKey) -> u64 {
        let id = self.next_key();
        self.entries.insert(id, Entry { address, idle: None });
        self.addresses.entry(address).or_default().count += 1;
        id
    }

    /// Whether the connection was there. An evicted one has lost its place already.
    fn remove(&mut self, id: u64) -> bool {
        self.set_busy(id);
        let Some(entry) = self.entries.remove(&id) else { return false };
        if let Some(held) = self.addresses.get_mut(&entry.address) {
            held.count -= 1;
            if held.count == 0 {
                self.addresses.remove(&entry.address);
            }
        }
        true
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
    use std::{
        net::IpAddr,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Connection(AtomicBool);

    impl Evict for Connection {
        fn evict(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn address(last: u8) -> AddressKey {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn idle(place: &Place) -> Arc<Connection> {
        let connection = Arc::new(Connection::default());
        let evicted: Arc<dyn Evict> = Arc::<Connection>::clone(&connection);
        place.set_idle(evicted);
        connection
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.0.load(Ordering::Relaxed)
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
            let place = Arc::new(connections.admit(address(1)).await.unwrap());
            let holder: Arc<dyn Evict> = Arc::new(Holder { _place: Arc::clone(&place) });
            place.set_idle(Arc::clone(&holder));
            drop((place, holder));
            assert!(connections.lock().entries.is_empty(), "it ended");
        }
        let place = Arc::new(connections.admit(address(1)).await.unwrap());
        let holder: Arc<dyn Evict> = Arc::new(Holder { _place: Arc::clone(&place) });
        place.set_idle(Arc::clone(&holder));
        drop(place);
        connections.admit(address(1)).await.unwrap();
        drop(holder);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_an_address_is_closed_first() {
        let connections = Connections::with(Some(3), 100);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(connections.admit(address(1)).await.unwrap());
        }
        assert_eq!(connections.admit(address(1)).await.unwrap_err(), Full::Address);
        let other = connections.admit(address(2)).await.unwrap();
        let of_other = idle(&other);
        let (second, first) = (idle(&places[2]), idle(&places[0]));
        places.push(connections.admit(address(1)).await.unwrap());
        assert_eq!((is_evicted(&second), is_evicted(&first), is_evicted(&of_other)), (true, false, false));
        places[0].set_busy();
        assert_eq!(connections.admit(address(1)).await.unwrap_err(), Full::Address);
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
            places.push(connections.admit(address(1)).await.unwrap());
        }
        let idle: Vec<_> = places.iter().map(idle).collect();
        for number in 0..4 {
            places.push(connections.admit(address(2)).await.unwrap());
            assert_eq!(idle.iter().filter(|one| is_evicted(one)).count(), number + 1);
        }
        assert_eq!(connections.admit(address(3)).await.unwrap_err(), Full::Node);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_admitted_as_places_become_free() {
        let connections = Connections::with(None, 1);
        let place = connections.admit(address(1)).await.unwrap();
        let waits = connections.admit(address(2));
        let (admitted, ()) = tokio::join!(waits, async {
            tokio::task::yield_now().await;
            drop(place);
        });
        let _held = admitted.unwrap();
        let start = tokio::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(connections.admit(address(3)).await.unwrap_err(), Full::Node);
        }
        assert_eq!(start.elapsed(), PATIENCE, "it waits once, not for each connection");
    }

    #[tokio::test(start_paused = true)]
    async fn loopback_has_ten_times_as_many_connections() {
        let connections = Connections::with(Some(2), 1_000);
        let address = AddressKey::from(IpAddr::from([127, 0, 0, 1]));
        let mut places = Vec::new();
        for _ in 0..20 {
            places.push(connections.admit(address).await.unwrap());
        }
        assert_eq!(connections.admit(address).await.unwrap_err(), Full::Address);
    }
}
