//! The open connections. Every new one is accepted at once; beyond the limit
//! others are closed for it ([`connections_to_close`]).

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

/// Beyond the limit this part of the connections is closed at once, so that a
/// caller who opens one after the other does not have all looked through for each.
const CLOSED_PART: usize = 32;

/// All of them.
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

/// One of them.
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
    /// It has had an answer, and the next request's headers are not complete.
    Idle,
    /// Its request waits for a permit and has had no effect.
    Waiting,
    /// Its request's body is being received.
    Receiving(Arc<Transfer>),
    /// Its request has an effect.
    Working,
    /// A large answer is being sent.
    Answering,
}

/// Listed until it is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    connections: Arc<Connections>,
    id: u64,
    pub(super) connection: Arc<Connection>,
}

/// The connection is being closed for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is being closed for a newer one")]
pub(super) struct Closing;

/// Makes a connection idle when it is dropped.
#[derive(Debug)]
pub(super) struct AnswerInProgress(Arc<Connection>);

impl Connections {
    pub(super) fn new(limits: &HttpLimits) -> Arc<Self> {
        Arc::new(Self { limit: limits.connections, grace: limits.grace, open: Mutex::default() })
    }

    /// Lists a connection from `address`, and closes others if there are too many.
    pub(super) fn list(self: &Arc<Self>, address: IpAddr) -> Listed {
        let connection = Arc::new(Connection {
            network: Network::of(address),
            activity: Mutex::new((Activity::Connecting, Instant::now())),
            closing: CancellationToken::new(),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.next_id += 1;
        let id = open.next_id;
        open.by_id.insert(id, Arc::clone(&connection));
        if open.by_id.len() > self.limit {
            let number = (self.limit / CLOSED_PART).max(1);
            for id in connections_to_close(&open.by_id, Instant::now(), self.grace, number) {
                // It may have begun to work since it was chosen.
                if open.by_id.get(&id).is_some_and(|chosen| chosen.close_unless_working()) {
                    open.by_id.remove(&id);
                }
            }
        }
        Listed { connections: Arc::clone(self), id, connection }
    }

    /// Fewer than a quarter are free: connections that have had their answer make room.
    pub(super) fn are_scarce(&self) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_id.len() > self.limit - self.limit / 4
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.open.lock().unwrap_or_else(PoisonError::into_inner).by_id.remove(&self.id);
    }
}

impl Connection {
    pub(super) fn begin(&self, activity: Activity) {
        *self.lock_activity() = (activity, Instant::now());
    }

    /// Begins what may have an effect, unless the connection is being closed: its caller
    /// would not learn of the effect.
    pub(super) fn begin_work(&self, activity: Activity) -> Result<(), Closing> {
        let mut current = self.lock_activity();
        if self.closing.is_cancelled() {
            return Err(Closing);
        }
        *current = (activity, Instant::now());
        Ok(())
    }

    /// Returns false if its request may have an effect that its caller must learn of.
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

    pub(super) fn begin_answer(self: &Arc<Self>) -> AnswerInProgress {
        self.begin(Activity::Answering);
        AnswerInProgress(Arc::clone(self))
    }

    /// Cancelled to close the connection.
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

impl Drop for AnswerInProgress {
    fn drop(&mut self) {
        self.0.begin(Activity::Idle);
    }
}

impl Activity {
    /// It should have come further by now.
    fn is_stalled(&self, since: Instant, now: Instant, grace: Duration) -> bool {
        match self {
            Self::Connecting => now.duration_since(since) >= grace,
            Self::Receiving(transfer) => transfer.is_slow(now),
            Self::Idle | Self::Waiting | Self::Working | Self::Answering => false,
        }
    }

    /// Its request may have an effect that its caller must learn of.
    fn is_working(&self) -> bool {
        match self {
            Self::Receiving(transfer) => transfer.is_complete(),
            Self::Working => true,
            Self::Connecting | Self::Idle | Self::Waiting | Self::Answering => false,
        }
    }
}

/// Up to `number` connections that are stalled; if there are none, as many that are idle;
/// and then some in use. Of these, the ones of the network that has the most, of the
/// activity that most of its connections have, because it is the attacker who has many
/// alike, and whose activity has not changed for the longest time.
fn connections_to_close(
    open: &HashMap<u64, Arc<Connection>>,
    now: Instant,
    grace: Duration,
    number: usize,
) -> Vec<u64> {
    let open: Vec<_> = open.iter().map(|(id, open)| (*id, open.network, open.activity())).collect();
    let mut by_network: HashMap<Network, usize> = HashMap::new();
    let mut alike: HashMap<(Network, Discriminant<Activity>), usize> = HashMap::new();
    for (_, network, (activity, _)) in &open {
        *by_network.entry(*network).or_default() += 1;
        *alike.entry((*network, discriminant(activity))).or_default() += 1;
    }
    let fewer = |number: Option<&usize>| usize::MAX - number.copied().unwrap_or_default();
    let closable = open.iter().filter(|(.., (activity, _))| !activity.is_working());
    let mut closable: Vec<(Urgency, usize, Instant, u64)> = closable
        .map(|(id, network, (activity, since))| {
            let fewer_of_network = fewer(by_network.get(network));
            let urgency = match activity {
                activity if activity.is_stalled(*since, now, grace) => Urgency::Stalled,
                Activity::Idle => Urgency::Idle { fewer_of_network },
                _ => Urgency::InUse { fewer_of_network },
            };
            (urgency, fewer(alike.get(&(*network, discriminant(activity)))), *since, *id)
        })
        .collect();
    closable.sort_unstable();
    let most_urgent = closable.first().map(|(urgency, ..)| *urgency);
    let chosen = closable.into_iter().take_while(|(urgency, ..)| Some(*urgency) == most_urgent);
    chosen.take(number).map(|(.., id)| id).collect()
}

/// The smallest comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Stalled,
    /// No request is in progress, so closing it harms nobody.
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

    const PACE: Pace = Pace { grace: Duration::from_secs(1), bytes_per_second: 1000 };

    fn connections(limit: usize) -> Arc<Connections> {
        Connections::new(&HttpLimits { connections: limit, ..HttpLimits::default() })
    }

    /// From 192.0.2.`network`, doing this.
    fn list(connections: &Arc<Connections>, network: u8, activity: Activity) -> Listed {
        let listed = connections.list([192, 0, 2, network].into());
        listed.connection.begin(activity);
        listed
    }

    /// Which of them a newcomer from 192.0.2.9 closes.
    fn closed(connections: &Arc<Connections>, listed: &[Listed]) -> Vec<usize> {
        let _newcomer = connections.list([192, 0, 2, 9].into());
        let closing =
            |(number, listed): (usize, &Listed)| listed.connection.closing().is_cancelled().then_some(number);
        listed.iter().enumerate().filter_map(closing).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_closed_within_the_limit_and_a_closed_one_counts_no_more() {
        let connections = connections(2);
        let first = list(&connections, 1, Activity::Idle);
        assert_eq!(closed(&connections, &[first]), [] as [usize; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_with_the_most_loses_its_oldest_idle_connection() {
        let connections = connections(4);
        let mut listed = vec![list(&connections, 1, Activity::Idle)];
        for activity in [Activity::Working, Activity::Idle, Activity::Idle] {
            tokio::time::advance(Duration::from_millis(1)).await;
            listed.push(list(&connections, 2, activity));
        }
        assert_eq!(closed(&connections, &listed), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_loses_the_oldest_of_those_that_are_alike() {
        for alike in [Activity::Waiting, Activity::Answering, Activity::Connecting] {
            let connections = connections(3);
            let transfer = Transfer::start(PACE, CancellationToken::new());
            let mut listed = Vec::new();
            for activity in [Activity::Receiving(transfer), alike.clone(), alike] {
                listed.push(list(&connections, 1, activity));
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            assert_eq!(closed(&connections, &listed), [1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_connection_is_the_first_to_go_of_whatever_network() {
        let connections = connections(4);
        let transfer = Transfer::start(PACE, CancellationToken::new());
        let listed = vec![
            list(&connections, 1, Activity::Receiving(transfer)),
            list(&connections, 2, Activity::Idle),
            list(&connections, 2, Activity::Idle),
            list(&connections, 2, Activity::Idle),
        ];
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(closed(&connections, &listed), [0]);
    }

    /// An attacker with many addresses keeps idle connections, and the victim's network has the
    /// most.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_of_a_small_network_is_closed_before_a_request_of_a_large_one() {
        let connections = connections(4);
        let receiving = || Activity::Receiving(Transfer::start(PACE, CancellationToken::new()));
        let listed = [
            list(&connections, 1, receiving()),
            list(&connections, 1, receiving()),
            list(&connections, 2, Activity::Idle),
            list(&connections, 1, Activity::Waiting),
        ];
        assert_eq!(closed(&connections, &listed), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_no_effect_once_its_connection_is_chosen_for_closing() {
        let connections = connections(2);
        let transfer = Transfer::start(PACE, CancellationToken::new());
        for activity in [Activity::Waiting, Activity::Receiving(Arc::clone(&transfer))] {
            let chosen = list(&connections, 1, activity);
            let working = list(&connections, 2, Activity::Working);
            let _newcomer = connections.list([192, 0, 2, 9].into());
            assert!(chosen.connection.closing().is_cancelled());
            assert_eq!(chosen.connection.begin_work(Activity::Working), Err(Closing));
            assert_eq!(working.connection.begin_work(Activity::Working), Ok(()));
        }
        assert!(!transfer.complete());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_has_begun_to_work_is_not_closed_though_it_was_chosen_while_it_waited() {
        let connections = connections(2);
        let complete = Transfer::start(PACE, CancellationToken::new());
        assert!(complete.complete());
        for activity in [Activity::Working, Activity::Receiving(complete)] {
            let chosen = list(&connections, 1, Activity::Waiting);
            chosen.connection.begin_work(activity).unwrap();
            assert!(!chosen.connection.close_unless_working());
            assert!(!chosen.connection.closing().is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_is_closed_whose_request_has_an_effect() {
        let connections = connections(2);
        let complete = Transfer::start(PACE, CancellationToken::new());
        complete.complete();
        let listed =
            [list(&connections, 1, Activity::Working), list(&connections, 1, Activity::Receiving(complete))];
        let newcomer = connections.list([192, 0, 2, 9].into());
        assert!(newcomer.connection.closing().is_cancelled());
        assert!(listed.iter().all(|listed| !listed.connection.closing().is_cancelled()));
    }
}
