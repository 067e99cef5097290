//! How often a signed-in user may call over HTTP, and how many of their calls may be under way at once.

use std::{sync::Arc, time::Duration};

use aldis_protocol::UserId;
use tokio::time::timeout;

use crate::{
    clock::Now,
    metrics::Metrics,
    rate::{AddressKey, Buckets, FairQueue, Limit, Rate, Ticket},
    refusal::Refusal,
};

const WRITES: Rate = Rate::per_second(10).in_bursts_of(30);
const READS: Rate = Rate::per_second(30).in_bursts_of(90);
/// Calls of a user that run, or whose answers are being read, at a time.
const UNDER_WAY_PER_USER: usize = 4;
/// The same for all users of an address together.
const UNDER_WAY_PER_ADDRESS: usize = 32;
/// Calls of a user that wait for others to end.
const WAITING_PER_USER: usize = 32;
/// How long they wait.
const WAIT: Duration = Duration::from_secs(2);

/// The calls of signed-in users on one node.
#[derive(Debug)]
pub(crate) struct Calls {
    writes: Buckets<UserId>,
    reads: Buckets<UserId>,
    /// None if everything may be under way at once.
    under_way: Option<Arc<FairQueue<UserId, AddressKey>>>,
    metrics: Arc<Metrics>,
}

/// A call that is under way.
pub(crate) type UnderWay = Ticket<UserId, AddressKey>;

/// A call that a signed-in user begins.
pub(crate) struct Call {
    pub(crate) user: UserId,
    pub(crate) address: AddressKey,
    /// Whether it may change something.
    pub(crate) writes: bool,
}

impl Calls {
    /// No call is under way.
    pub(crate) fn new(enforced: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            writes: Buckets::new(WRITES, enforced),
            reads: Buckets::new(READS, enforced),
            under_way: enforced.then(|| FairQueue::new(UNDER_WAY_PER_USER, WAITING_PER_USER)),
            metrics,
        }
    }

    /// Frees the memory of limits that are not in use.
    pub(crate) fn sweep(&self, now: Now) {
        self.writes.sweep(now.tick);
        self.reads.sweep(now.tick);
    }

    /// Lets a call begin in its turn. It is under way until what this returns is dropped.
    pub(crate) async fn begin(&self, call: Call, now: Now) -> Result<Option<UnderWay>, Refusal> {
        let Call { user, address, writes } = call;
        let (buckets, limit) =
            if writes { (&self.writes, Limit::Writes) } else { (&self.reads, Limit::Reads) };
        buckets.take(user, now.tick).map_err(|wait| {
            self.metrics.limited(limit);
            Refusal::rate_limited(limit, "you ask too often; wait before the next call", wait)
        })?;
        let Some(under_way) = &self.under_way else { return Ok(None) };
        let share = address.share(UNDER_WAY_PER_ADDRESS);
        let (ticket, turn) = under_way.enter(user, address, share).ok_or_else(|| self.too_much())?;
        match turn {
            Some(turn) => match timeout(WAIT, turn).await {
                Ok(Ok(())) => Ok(Some(ticket)),
                Ok(Err(_)) | Err(_) => Err(self.too_much()),
            },
            None => Ok(Some(ticket)),
        }
    }

    fn too_much(&self) -> Refusal {
        self.metrics.limited(Limit::Calls);
        Refusal::limited(Limit::Calls, "too many of your calls are under way; wait for their answers")
    }
}
