//! The connection pool: idle connections by origin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_types::body::SdkBody;
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;

use crate::connect::Origin;

/// How long an idle connection may take to finish its previous request.
const READY_TIMEOUT: Duration = Duration::from_millis(50);
/// Servers close idle connections, and we may miss the FIN.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Clones share the connections.
#[derive(Clone, Default)]
pub(crate) struct ConnectionPool(Arc<Mutex<HashMap<Origin, Vec<IdleConnection>>>>);

struct IdleConnection {
    connection: SendRequest<SdkBody>,
    /// The wall clock, which continues while Lambda freezes the process.
    since: SystemTime,
}

/// Guard for a request on a pooled connection. If the request fails, the other idle
/// connections to this origin are evicted too, because they have been idle as long.
pub(crate) struct EvictOnFailure<'a> {
    pool: Option<&'a ConnectionPool>,
    origin: &'a Origin,
}

impl ConnectionPool {
    pub(crate) fn store_idle(&self, origin: Origin, connection: SendRequest<SdkBody>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.entry(origin).or_default();
        idle.retain(IdleConnection::is_fresh);
        idle.push(IdleConnection {
            connection,
            since: SystemTime::now(),
        });
    }

    /// Returns the most recently used connection that is still open.
    pub(crate) async fn reuse_idle(&self, origin: &Origin) -> Option<SendRequest<SdkBody>> {
        loop {
            let mut idle = self.take_idle(origin)?;
            if !idle.is_fresh() {
                continue;
            }
            // A connection never becomes ready again if the response came before the whole
            // request was sent.
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, idle.connection.ready()).await {
                return Some(idle.connection);
            }
        }
    }

    fn take_idle(&self, origin: &Origin) -> Option<IdleConnection> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(origin)?.pop()
    }

    /// Whether no idle connection is open.
    #[cfg(test)]
    pub(crate) fn all_are_closed(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values()
            .flatten()
            .all(|idle| idle.connection.is_closed())
    }
}

impl IdleConnection {
    fn is_fresh(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < IDLE_TIMEOUT)
    }
}

impl<'a> EvictOnFailure<'a> {
    pub(crate) const fn arm(pool: &'a ConnectionPool, origin: &'a Origin) -> Self {
        Self {
            pool: Some(pool),
            origin,
        }
    }

    pub(crate) fn disarm(mut self) {
        self.pool = None;
    }
}

impl Drop for EvictOnFailure<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            pool.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(self.origin);
        }
    }
}
