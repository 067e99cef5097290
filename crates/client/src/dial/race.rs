//! Tries the addresses of a host in parallel, staggered (Happy Eyeballs, RFC 8305).

use std::{collections::VecDeque, future::Future, io, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep;

/// How long an attempt has a head start over the next one.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address that answers. The attempts start 250 ms apart, or as soon as the one before has failed;
/// the others are dropped when one succeeds. Fails with the last error when all have failed.
pub(super) async fn race<T, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = VecDeque::from(interleaved(addresses));
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(connect(address));
        }
        tokio::select! {
            biased;
            outcome = attempts.next() => match outcome {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => last_error = error,
                None => return Err(last_error),
            },
            () = sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

/// The addresses in turns of both families, in the order of the resolver, which begins with the preferred family.
fn interleaved(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<_> = addresses.into_iter().collect();
    let starts_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let resolved = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let turns = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(resolved), turns);
        let only = addresses(&["1.0.0.1:1", "1.0.0.2:1"]);
        assert_eq!(interleaved(only.clone()), only);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_250_ms() {
        let start = Instant::now();
        let connect = |address: SocketAddr| async move {
            if address.is_ipv6() { pending().await } else { Ok(address) }
        };
        let found = race(addresses(&["[::1]:1", "[::2]:1", "1.0.0.1:1"]), connect).await.unwrap();
        assert_eq!((found, start.elapsed()), ("1.0.0.1:1".parse().unwrap(), Duration::from_millis(250)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing() {
        let (start, tried) = (Instant::now(), Mutex::new(Vec::new()));
        let connect = |address: SocketAddr| {
            tried.lock().unwrap().push(address);
            async move { if address.port() == 3 { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) } }
        };
        race(addresses(&["1.0.0.1:1", "1.0.0.1:2", "1.0.0.1:3", "1.0.0.1:4"]), connect).await.unwrap();
        assert_eq!((start.elapsed(), tried.lock().unwrap().len()), (Duration::ZERO, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_named_where_all_fail() {
        let connect = |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) };
        let error = race(addresses(&["1.0.0.1:1", "[::1]:1"]), connect).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(race([], connect).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
