//! How much a signed-in user may ask over HTTP: so often, and so much at once.

use std::{sync::Arc, time::Duration};

use aldis_protocol::UserId;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{address::caller_address, bearer, held::hold, problem::Problem};
use crate::{
    clock::Now,
    metrics::Metrics,
    node::Node,
    rate::{AddressKey, Buckets, FairQueue, Limit, Rate, Ticket},
    refusal::Denied,
};

const WRITES: Rate = Rate::per_second(10).in_bursts_of(30);
const READS: Rate = Rate::per_second(30).in_bursts_of(90);
/// Calls of a user that are carried out, or whose answers are being read, at a time.
const UNDER_WAY_PER_USER: usize = 4;
/// The same of all users of an address.
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
    /// None where everything may be under way at once.
    under_way: Option<Arc<FairQueue<UserId, AddressKey>>>,
    metrics: Arc<Metrics>,
}

/// A call that is under way.
type UnderWay = Ticket<UserId, AddressKey>;

/// Whose call it is.
struct Asking {
    user: UserId,
    address: AddressKey,
    writes: bool,
}

impl Calls {
    /// Nobody has asked anything yet.
    pub(crate) fn new(enforced: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            writes: Buckets::new(WRITES, enforced),
            reads: Buckets::new(READS, enforced),
            under_way: enforced.then(|| FairQueue::new(UNDER_WAY_PER_USER, WAITING_PER_USER)),
            metrics,
        }
    }

    /// Gives back the memory of limits that are not used.
    pub(crate) fn sweep(&self, now: Now) {
        self.writes.sweep(now.tick);
        self.reads.sweep(now.tick);
    }

    async fn begin(&self, asking: Asking) -> Result<Option<UnderWay>, Problem> {
        let Asking { user, address, writes } = asking;
        let (buckets, limit) =
            if writes { (&self.writes, Limit::Writes) } else { (&self.reads, Limit::Reads) };
        buckets.take(user, Now::tick()).map_err(|wait| {
            self.metrics.limited(limit);
            Problem::from(Denied::rate_limited(limit, "you ask too often; wait before the next call", wait))
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

    fn too_much(&self) -> Problem {
        self.metrics.limited(Limit::Calls);
        let detail = "too many of your calls are under way; wait for their answers";
        Problem::lifted(Limit::Calls, aldis_protocol::ErrorCode::RateLimited, detail)
    }
}

/// Lets the calls of signed-in users through in their turn. A token that is not good is for the handler to refuse.
pub(super) async fn take_turns(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let Some(asking) = asking(&node, &request) else { return next.run(request).await };
    match node.limits.calls.begin(asking).await {
        Ok(Some(under_way)) => hold(next.run(request).await, under_way),
        Ok(None) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn asking(node: &Node, request: &Request) -> Option<Asking> {
    let token = bearer(request.headers()).ok()??;
    let claims = node.accounts.check_token(token, Now::read()).ok()?;
    let address = caller_address(&node.config, request.extensions(), request.headers()).ok()?;
    Some(Asking { user: claims.sub, address, writes: !request.method().is_safe() })
}
