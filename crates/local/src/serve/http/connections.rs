//! The open connections. Every new connection is accepted at once. Above the limit, other
//! connections are closed for it ([`connections_to_close`]).

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::HttpLimits;
use super::share::Network;
use super::transfer::Transfer;

/// Above the limit, one in this many connections is closed at once. Otherwise each further
/// new connection would cost a search through all of them.
const CLOSED_FRACTION: usize = 32;

#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    grace: Duration,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next_id: u64,
    by_id: HashMap<u64, Arc<Connection>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) network: Network,
    activity: Mutex<(Activity, Instant)>,
    closing: CancellationToken,
}

/// What a connection is doing.
#[derive(Clone, Debug)]
pub(super) enum Activity {
    /// Its first request's headers are not complete.
    Connecting,
    /// Its last request was answered, and the next request's headers are not complete.
    Idle,
    /// Its request waits for a permit and has no effect yet.
    Waiting,
    /// Its request's body is being received.
    Receiving(Arc<Transfer>),
    /// Its request may have an effect.
    Working,
    /// A large response is being sent.
    Responding,
}

/// Counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct TrackedConnection {
    connections: Arc<Connections>,
    id: u64,
    pub(super) connection: Arc<Connection>,
}

/// The connection is being closed for newer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is being closed for a newer one")]
pub(super) struct ConnectionClosing;

/// Sets the connection to idle when dropped.
#[derive(Debug)]
pub(super) struct ResponseInProgress(Arc<Connection>);

impl Connections {
    pub(super) fn new(limits: &HttpLimits) -> Arc<Self> {
        Arc::new(Self {
            limit: limits.max_connections,
            grace: limits.grace,
            open: Mutex::default(),
        })
    }

    /// Adds a connection from `address`, and closes others if there are too many.
    pub(super) fn track(self: &Arc<Self>, address: IpAddr) -> TrackedConnection {
        let connection = Arc::new(Connection {
            network: Network::from_address(address),
            activity: Mutex::new((Activity::Connecting, Instant::now())),
            closing: CancellationToken::new(),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.next_id += 1;
        let id = open.next_id;
        open.by_id.insert(id, Arc::clone(&connection));
        if open.by_id.len() > self.limit {
            let number = (self.limit / CLOSED_FRACTION).max(1);
            for id in connections_to_close(&open.by_id, Instant::now(), self.grace, number) {
                // Its request may have begun to have an effect in the meantime.
                if open
                    .by_id
                    .get(&id)
                    .is_some_and(|chosen| chosen.close_unless_working())
                {
                    open.by_id.remove(&id);
                }
            }
        }
        TrackedConnection {
            connections: Arc::clone(self),
            id,
            connection,
        }
    }

    /// Whether fewer than a quarter of the connections are free. Connections are then closed
    /// after their response.
    pub(super) fn are_scarce(&self) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_id.len() > self.limit - self.limit / 4
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.connections
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .remove(&self.id);
    }
}

impl Connection {
    pub(super) fn begin(&self, activity: Activity) {
        *self.lock_activity() = (activity, Instant::now());
    }

    /// Begins an activity that may have an effect. Fails if the connection is being closed,
    /// because the caller would not learn of the effect.
    pub(super) fn begin_work(&self, activity: Activity) -> Result<(), ConnectionClosing> {
        let mut current = self.lock_activity();
        if self.closing.is_cancelled() {
            return Err(ConnectionClosing);
        }
        *current = (activity, Instant::now());
        Ok(())
    }

    /// Returns false and leaves the connection open if its request may have an effect, because
    /// the caller must get the response.
    fn close_unless_working(&self) -> bool {
        let current = self.lock_activity();
        let is_closable = match &current.0 {
            Activity::Receiving(transfer) => transfer.interrupt_unless_complete(),
            activity => !activity.is_working(),
        };
        if is_closable {
            self.closing.cancel();
        }
        is_closable
    }

    pub(super) fn begin_response(self: &Arc<Self>) -> ResponseInProgress {
        self.begin(Activity::Responding);
        ResponseInProgress(Arc::clone(self))
    }

    /// Closes the connection when cancelled.
    pub(super) const fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn activity(&self) -> (Activity, Instant) {
        self.lock_activity().clone()
    }

    fn lock_activity(&self) -> MutexGuard<'_, (Activity, Instant)> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        self.0.begin(Activity::Idle);
    }
}

impl Activity {
    /// Whether its caller is too slow.
    fn is_stalled(&self, since: Instant, now: Instant, grace: Duration) -> bool {
        match self {
            Self::Connecting => now.duration_since(since) >= grace,
            Self::Receiving(transfer) => transfer.is_slow(now),
            Self::Idle | Self::Waiting | Self::Working | Self::Responding => false,
        }
    }

    /// Whether its request may have an effect, so that the caller must get the response.
    fn is_working(&self) -> bool {
        match self {
            Self::Receiving(transfer) => transfer.is_complete(),
            Self::Working => true,
            Self::Connecting | Self::Idle | Self::Waiting | Self::Responding => false,
        }
    }
}

/// Returns up to `number` connections: stalled ones; if there are none, idle ones; if there
/// are none either, ones in use.
///
/// Among these it prefers the network with the most connections, then the activity that most
/// of that network's connections have, because an attacker has many alike. Last, it prefers
/// connections whose activity has not changed for the longest time.
fn connections_to_close(
    open: &HashMap<u64, Arc<Connection>>,
    now: Instant,
    grace: Duration,
    number: usize,
) -> Vec<u64> {
    let open: Vec<_> = open
        .iter()
        .map(|(id, open)| (*id, open.network, open.activity()))
        .collect();
    let mut by_network: HashMap<Network, usize> = HashMap::new();
    let mut by_activity: HashMap<(Network, Discriminant<Activity>), usize> = HashMap::new();
    for (_, network, (activity, _)) in &open {
        *by_network.entry(*network).or_default() += 1;
        *by_activity
            .entry((*network, discriminant(activity)))
            .or_default() += 1;
    }
    let fewer = |number: Option<&usize>| usize::MAX - number.copied().unwrap_or_default();
    let closable = open
        .iter()
        .filter(|(.., (activity, _))| !activity.is_working());
    let mut closable: Vec<(Urgency, usize, Instant, u64)> = closable
        .map(|(id, network, (activity, since))| {
            let fewer_of_network = fewer(by_network.get(network));
            let urgency = match activity {
                activity if activity.is_stalled(*since, now, grace) => Urgency::Stalled,
                Activity::Idle => Urgency::Idle { fewer_of_network },
                _ => Urgency::InUse { fewer_of_network },
            };
            (
                urgency,
                fewer(by_activity.get(&(*network, discriminant(activity)))),
                *since,
                *id,
            )
        })
        .collect();
    closable.sort_unstable();
    let most_urgent = closable.first().map(|(urgency, ..)| *urgency);
    let chosen = closable
        .into_iter()
        .take_while(|(urgency, ..)| Some(*urgency) == most_urgent);
    chosen.take(number).map(|(.., id)| id).collect()
}

/// The smallest is closed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Stalled,
    /// Closing it harms no caller, because no request is in progress.
    Idle {
        fewer_of_network: usize,
    },
    InUse {
        fewer_of_network: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::super::transfer::Pace;
    use super::*;

    const PACE: Pace = Pace {
        grace: Duration::from_secs(1),
        bytes_per_second: 1000,
    };

    fn connections(limit: usize) -> Arc<Connections> {
        Connections::new(&HttpLimits {
            max_connections: limit,
            ..HttpLimits::default()
        })
    }

    /// Opens a connection from 192.0.2.`network` with this activity.
    fn open(connections: &Arc<Connections>, network: u8, activity: Activity) -> TrackedConnection {
        let tracked = connections.track([192, 0, 2, network].into());
        tracked.connection.begin(activity);
        tracked
    }

    /// The indices of those that a new connection from 192.0.2.9 closes.
    fn closed(connections: &Arc<Connections>, open: &[TrackedConnection]) -> Vec<usize> {
        let _newcomer = connections.track([192, 0, 2, 9].into());
        let closing = |(number, tracked): (usize, &TrackedConnection)| {
            tracked
                .connection
                .closing()
                .is_cancelled()
                .then_some(number)
        };
        open.iter().enumerate().filter_map(closing).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_is_closed_within_the_limit_and_a_closed_one_no_longer_counts() {
        let connections = connections(2);
        let first = open(&connections, 1, Activity::Idle);
        assert_eq!(closed(&connections, &[first]), [] as [usize; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_with_the_most_loses_its_oldest_idle_connection() {
        let connections = connections(4);
        let mut tracked = vec![open(&connections, 1, Activity::Idle)];
        for activity in [Activity::Working, Activity::Idle, Activity::Idle] {
            tokio::time::advance(Duration::from_millis(1)).await;
            tracked.push(open(&connections, 2, activity));
        }
        assert_eq!(closed(&connections, &tracked), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_loses_its_oldest_connection_with_the_most_frequent_activity() {
        for alike in [
            Activity::Waiting,
            Activity::Responding,
            Activity::Connecting,
        ] {
            let connections = connections(3);
            let transfer = Transfer::start(PACE, CancellationToken::new());
            let mut tracked = Vec::new();
            for activity in [Activity::Receiving(transfer), alike.clone(), alike] {
                tracked.push(open(&connections, 1, activity));
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            assert_eq!(closed(&connections, &tracked), [1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_connection_is_closed_first_whatever_its_network() {
        let connections = connections(4);
        let transfer = Transfer::start(PACE, CancellationToken::new());
        let tracked = vec![
            open(&connections, 1, Activity::Receiving(transfer)),
            open(&connections, 2, Activity::Idle),
            open(&connections, 2, Activity::Idle),
            open(&connections, 2, Activity::Idle),
        ];
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(closed(&connections, &tracked), [0]);
    }

    /// An attacker with many addresses has idle connections, and the victim's network has the
    /// most connections.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_of_a_small_network_is_closed_before_a_request_of_a_large_one() {
        let connections = connections(4);
        let receiving = || Activity::Receiving(Transfer::start(PACE, CancellationToken::new()));
        let tracked = [
            open(&connections, 1, receiving()),
            open(&connections, 1, receiving()),
            open(&connections, 2, Activity::Idle),
            open(&connections, 1, Activity::Waiting),
        ];
        assert_eq!(closed(&connections, &tracked), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_no_effect_once_its_connection_is_chosen_for_closing() {
        let connections = connections(2);
        let transfer = Transfer::start(PACE, CancellationToken::new());
        for activity in [
            Activity::Waiting,
            Activity::Receiving(Arc::clone(&transfer)),
        ] {
            let chosen = open(&connections, 1, activity);
            let working = open(&connections, 2, Activity::Working);
            let _newcomer = connections.track([192, 0, 2, 9].into());
            assert!(chosen.connection.closing().is_cancelled());
            assert_eq!(
                chosen.connection.begin_work(Activity::Working),
                Err(ConnectionClosing)
            );
            assert_eq!(working.connection.begin_work(Activity::Working), Ok(()));
        }
        assert!(!transfer.complete());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_chosen_is_not_closed_if_its_request_has_begun_since() {
        let connections = connections(2);
        let complete = Transfer::start(PACE, CancellationToken::new());
        assert!(complete.complete());
        for activity in [Activity::Working, Activity::Receiving(complete)] {
            let chosen = open(&connections, 1, Activity::Waiting);
            chosen.connection.begin_work(activity).unwrap();
            assert!(!chosen.connection.close_unless_working());
            assert!(!chosen.connection.closing().is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_may_have_an_effect_is_not_closed() {
        let connections = connections(2);
        let complete = Transfer::start(PACE, CancellationToken::new());
        complete.complete();
        let tracked = [
            open(&connections, 1, Activity::Working),
            open(&connections, 1, Activity::Receiving(complete)),
        ];
        let newcomer = connections.track([192, 0, 2, 9].into());
        assert!(newcomer.connection.closing().is_cancelled());
        assert!(
            tracked
                .iter()
                .all(|tracked| !tracked.connection.closing().is_cancelled())
        );
    }
}
