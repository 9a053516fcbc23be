//! A semaphore whose permits are shared fairly by network and by route.
//!
//! One network may hold every permit while no other waits. A free permit goes to the waiter
//! whose network holds the fewest permits, then to the one whose route holds the fewest, then
//! to the one that waited longest. While no permit is free, a transfer that holds one may be
//! interrupted for a waiter ([`holder_to_interrupt`]).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::share::{Network, ShareKey};
use super::transfer::Transfer;

/// How often a waiter looks for a transfer to interrupt.
const REVIEW_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct FairSemaphore {
    shares: Shares,
    state: Mutex<SemaphoreState>,
}

/// The number of permits, and the limits of one route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    pub(super) total: usize,
    pub(super) per_route: usize,
    pub(super) waiting_per_route: usize,
}

#[derive(Debug, Default)]
struct SemaphoreState {
    next_id: u64,
    holders: HashMap<u64, Holder>,
    queue: WaitQueue,
}

/// In the order of arrival. A waiter that gave up stays in it, with its channel closed.
type WaitQueue = VecDeque<Waiter>;

/// A request that waits for a permit or holds one.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) key: ShareKey,
    /// Can be interrupted to get the permit back.
    pub(super) transfer: Option<Arc<Transfer>>,
}

#[derive(Debug)]
struct Waiter {
    holder: Holder,
    granted: oneshot::Sender<Permit>,
}

/// Returned to the semaphore when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    semaphore: Arc<FairSemaphore>,
    /// `None` once it is returned.
    id: Option<u64>,
}

/// Why a request gets no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PermitError {
    #[error("too many requests for one route are waiting")]
    QueueFull,
    #[error("the request waited too long for its turn")]
    TimedOut,
}

/// Number of permits held, by network and by route.
struct HeldPermits {
    by_network: HashMap<Network, usize>,
    by_route: HashMap<u64, usize>,
}

impl FairSemaphore {
    pub(super) fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Self {
            shares,
            state: Mutex::default(),
        })
    }

    /// Waits at most `wait` for a permit.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        holder: Holder,
        wait: Duration,
    ) -> Result<Permit, PermitError> {
        let key = holder.key;
        let (granted, permit) = oneshot::channel();
        let waiting_per_route = self.shares.waiting_per_route;
        self.update(|state| state.enqueue(Waiter { holder, granted }, waiting_per_route))?;
        let permit = timeout(wait, self.wait_for_permit(permit, key)).await;
        permit.ok().flatten().ok_or(PermitError::TimedOut)
    }

    async fn wait_for_permit(
        &self,
        mut permit: oneshot::Receiver<Permit>,
        key: ShareKey,
    ) -> Option<Permit> {
        let mut pause = Duration::ZERO;
        loop {
            match timeout(pause, &mut permit).await {
                Ok(permit) => return permit.ok(),
                Err(_) => self.interrupt_for(key),
            }
            pause = REVIEW_EVERY;
        }
    }

    /// Interrupts one transfer, unless enough transfers are interrupted already.
    fn interrupt_for(&self, key: ShareKey) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupted = state
            .holders
            .values()
            .filter(|holder| holder.is_interrupted())
            .count();
        if interrupted < state.queue.len()
            && let Some(transfer) =
                holder_to_interrupt(&state.holders, key, self.shares, Instant::now())
        {
            transfer.interrupt();
        }
    }

    fn release(self: &Arc<Self>, id: u64) {
        self.update(|state| state.holders.remove(&id));
    }

    /// Changes the state and then grants the free permits.
    fn update<T>(self: &Arc<Self>, change: impl FnOnce(&mut SemaphoreState) -> T) -> T {
        let (changed, mut granted) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut state), state.grant(self.shares))
        };
        while !granted.is_empty() {
            // Permits of waiters that gave up go to the next waiters. This is a loop and not a
            // recursion, because there may be very many of them.
            let unclaimed: Vec<u64> = granted
                .into_iter()
                .filter_map(|(waiter, id)| self.send_permit(waiter, id).err())
                .collect();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.holders.retain(|id, _| !unclaimed.contains(id));
            granted = state.grant(self.shares);
        }
        changed
    }

    /// Returns the permit's id as an error if the waiter gave up.
    fn send_permit(self: &Arc<Self>, waiter: oneshot::Sender<Permit>, id: u64) -> Result<(), u64> {
        let Err(mut unclaimed) = waiter.send(Permit {
            semaphore: Arc::clone(self),
            id: Some(id),
        }) else {
            return Ok(());
        };
        unclaimed.id = None;
        Err(id)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.semaphore.release(id);
        }
    }
}

impl SemaphoreState {
    fn enqueue(&mut self, waiter: Waiter, waiting_per_route: usize) -> Result<(), PermitError> {
        self.queue.retain(|waiter| !waiter.granted.is_closed());
        let route = waiter.holder.key.route;
        if self
            .queue
            .iter()
            .filter(|waiter| waiter.holder.key.route == route)
            .count()
            >= waiting_per_route
        {
            return Err(PermitError::QueueFull);
        }
        self.queue.push_back(waiter);
        Ok(())
    }

    /// Grants the free permits to waiters.
    fn grant(&mut self, shares: Shares) -> Vec<(oneshot::Sender<Permit>, u64)> {
        let mut granted = Vec::new();
        while self.holders.len() < shares.total {
            let next = next_waiter(&self.queue, &self.holders, shares.per_route);
            let Some(waiter) = next.and_then(|position| self.queue.remove(position)) else {
                break;
            };
            self.next_id += 1;
            self.holders.insert(self.next_id, waiter.holder);
            granted.push((waiter.granted, self.next_id));
        }
        granted
    }
}

impl Holder {
    fn is_interrupted(&self) -> bool {
        self.transfer
            .as_ref()
            .is_some_and(|transfer| transfer.is_interrupted())
    }
}

impl HeldPermits {
    fn from_holders<'a>(holders: impl Iterator<Item = &'a Holder>) -> Self {
        let mut held = Self {
            by_network: HashMap::new(),
            by_route: HashMap::new(),
        };
        for Holder { key, .. } in holders {
            *held.by_network.entry(key.network).or_default() += 1;
            *held.by_route.entry(key.route).or_default() += 1;
        }
        held
    }

    fn count_of_network(&self, key: ShareKey) -> usize {
        self.by_network
            .get(&key.network)
            .copied()
            .unwrap_or_default()
    }

    fn count_of_route(&self, key: ShareKey) -> usize {
        self.by_route.get(&key.route).copied().unwrap_or_default()
    }
}

/// The position in the queue of the waiter that gets the next permit.
fn next_waiter(
    queue: &WaitQueue,
    holders: &HashMap<u64, Holder>,
    per_route: usize,
) -> Option<usize> {
    if queue.is_empty() {
        return None;
    }
    let held = HeldPermits::from_holders(holders.values());
    let waiting = queue.iter().map(|waiter| waiter.holder.key).enumerate();
    let entitled = waiting.filter(|(_, key)| held.count_of_route(*key) < per_route);
    entitled
        .min_by_key(|(position, key)| {
            (
                held.count_of_network(*key),
                held.count_of_route(*key),
                *position,
            )
        })
        .map(first)
}

fn first<T, U>((first, _): (T, U)) -> T {
    first
}

/// The transfer to interrupt for a waiter: the slowest of those that are below the pace. If
/// there is none, the slowest of the network, or of the route, that holds the most permits, if
/// it still holds no fewer than the waiter's afterwards. Only transfers that have had their
/// grace are interrupted.
fn holder_to_interrupt(
    holders: &HashMap<u64, Holder>,
    waiter: ShareKey,
    shares: Shares,
    now: Instant,
) -> Option<&Transfer> {
    let held = HeldPermits::from_holders(holders.values());
    let is_route_full = held.count_of_route(waiter) >= shares.per_route;
    let interruptible: Vec<(ShareKey, &Transfer)> = holders
        .values()
        .filter(|holder| !is_route_full || holder.key.route == waiter.route)
        .filter_map(|holder| Some((holder.key, holder.transfer.as_deref()?)))
        .filter(|(_, transfer)| transfer.is_interruptible(now))
        .collect();
    let slowest = |is_eligible: &dyn Fn(ShareKey, &Transfer) -> bool| {
        let eligible = interruptible
            .iter()
            .filter(|(key, transfer)| is_eligible(*key, transfer));
        eligible
            .map(|(_, transfer)| *transfer)
            .min_by_key(|transfer| transfer.due())
    };
    let most = |held: &dyn Fn(ShareKey) -> usize| {
        let most = interruptible
            .iter()
            .map(|(key, _)| held(*key))
            .max()
            .unwrap_or_default();
        (most > held(waiter) + 1)
            .then(|| slowest(&|key, _| held(key) == most))
            .flatten()
    };
    slowest(&|_, transfer| transfer.is_slow(now))
        .or_else(|| most(&|key| held.count_of_network(key)))
        .or_else(|| most(&|key| held.count_of_route(key)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::super::transfer::Pace;
    use super::*;

    const SOON: Duration = Duration::from_secs(3);
    const PACE: Pace = Pace {
        grace: Duration::from_secs(1),
        bytes_per_second: 1000,
    };

    fn semaphore(total: usize, per_route: usize, waiting_per_route: usize) -> Arc<FairSemaphore> {
        FairSemaphore::new(Shares {
            total,
            per_route,
            waiting_per_route,
        })
    }

    /// A request of the network 192.0.2.`network`.
    fn request(network: u8, route: u64) -> Holder {
        let network = Network::from_address([192, 0, 2, network].into());
        Holder {
            key: ShareKey { route, network },
            transfer: None,
        }
    }

    fn transferring(network: u8, route: u64) -> (Holder, Arc<Transfer>) {
        let transfer = Transfer::start(PACE, CancellationToken::new());
        (
            Holder {
                transfer: Some(Arc::clone(&transfer)),
                ..request(network, route)
            },
            transfer,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn one_route_cannot_take_every_permit() {
        let semaphore = semaphore(4, 2, 1);
        let _one = semaphore.acquire(request(1, 1), SOON).await.unwrap();
        let _two = semaphore.acquire(request(1, 1), SOON).await.unwrap();
        assert_eq!(
            semaphore.acquire(request(1, 1), SOON).await.unwrap_err(),
            PermitError::TimedOut
        );
        semaphore
            .acquire(request(1, 2), Duration::ZERO)
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_refused_at_once_when_the_queue_of_its_route_is_full() {
        let semaphore = semaphore(1, 1, 1);
        let held = semaphore.acquire(request(1, 1), SOON).await.unwrap();
        let waiting = tokio::spawn({
            let semaphore = Arc::clone(&semaphore);
            async move { semaphore.acquire(request(1, 1), SOON).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(
            semaphore.acquire(request(1, 1), SOON).await.unwrap_err(),
            PermitError::QueueFull
        );
        drop(held);
        assert!(waiting.await.unwrap(), "the waiter got the permit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_holds_no_permit() {
        let semaphore = semaphore(1, 1, 8);
        let held = semaphore.acquire(request(1, 1), SOON).await.unwrap();
        assert_eq!(
            semaphore.acquire(request(1, 2), SOON).await.unwrap_err(),
            PermitError::TimedOut
        );
        assert_eq!(
            semaphore.acquire(request(1, 1), SOON).await.unwrap_err(),
            PermitError::TimedOut
        );
        drop(held);
        semaphore
            .acquire(request(1, 2), Duration::ZERO)
            .await
            .unwrap();
        semaphore
            .acquire(request(1, 1), Duration::ZERO)
            .await
            .unwrap();
    }

    #[test]
    fn very_many_waiters_that_give_up_at_once_do_not_overflow_the_stack() {
        let test = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let _context = runtime.enter();
            let semaphore = semaphore(1, 1, usize::MAX);
            let held = semaphore
                .acquire(request(1, 1), SOON)
                .now_or_never()
                .unwrap()
                .unwrap();
            let acquire = |_| Box::pin(semaphore.acquire(request(1, 1), SOON));
            let mut waiting: Vec<_> = (0..2000).map(acquire).collect();
            assert!(
                waiting
                    .iter_mut()
                    .all(|waiter| waiter.now_or_never().is_none())
            );
            drop(waiting);
            drop(held);
            semaphore
                .acquire(request(1, 1), SOON)
                .now_or_never()
                .unwrap()
                .unwrap();
        };
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(test)
            .unwrap()
            .join()
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_may_hold_every_permit_and_the_next_one_goes_to_another_network() {
        let semaphore = semaphore(2, 2, 8);
        let mut held = vec![
            semaphore.acquire(request(1, 1), SOON).await.unwrap(),
            semaphore.acquire(request(1, 2), SOON).await.unwrap(),
        ];
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for network in [1, 1, 2] {
            let (semaphore, order) = (Arc::clone(&semaphore), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let permit = semaphore.acquire(request(network, 3), SOON).await.unwrap();
                order.lock().unwrap().push(network);
                drop(permit);
            }));
            tokio::task::yield_now().await;
        }
        held.pop();
        futures::future::join_all(waiting).await;
        assert_eq!(*order.lock().unwrap(), [2, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_transfer_is_interrupted_for_a_waiter_after_its_grace() {
        let semaphore = semaphore(1, 1, 8);
        let (holder, slow) = transferring(1, 1);
        let permit = semaphore.acquire(holder, SOON).await.unwrap();
        tokio::spawn({
            let slow = Arc::clone(&slow);
            async move {
                slow.interrupted().await;
                drop(permit);
            }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!slow.is_interrupted(), "no request waits");
        semaphore.acquire(request(1, 2), SOON).await.unwrap();
        assert!(slow.is_interrupted());
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_that_holds_the_most_loses_its_slowest_transfer() {
        let semaphore = semaphore(3, 3, 8);
        let (mut transfers, mut permits) = (Vec::new(), Vec::new());
        for (network, route) in [(1, 1), (1, 2), (2, 3)] {
            let (holder, transfer) = transferring(network, route);
            permits.push(semaphore.acquire(holder, SOON).await.unwrap());
            transfers.push(transfer);
        }
        // None is slow; the second has the least time left.
        let moving = tokio::spawn({
            let transfers = transfers.clone();
            async move {
                loop {
                    for (transfer, bytes) in transfers.iter().zip([9000, 150, 9000]) {
                        transfer.add(bytes);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        let interrupted = || {
            transfers
                .iter()
                .map(|transfer| transfer.is_interrupted())
                .collect::<Vec<_>>()
        };
        assert!(
            semaphore
                .acquire(request(3, 4), Duration::from_millis(900))
                .await
                .is_err()
        );
        assert_eq!(interrupted(), [false; 3], "none has had its grace");
        assert!(semaphore.acquire(request(2, 4), SOON).await.is_err());
        assert_eq!(
            interrupted(),
            [false; 3],
            "it would hold as many afterwards"
        );
        assert!(semaphore.acquire(request(3, 4), SOON).await.is_err());
        let one_of_the_first_network = interrupted();
        assert!(one_of_the_first_network[0] != one_of_the_first_network[1]);
        assert!(!one_of_the_first_network[2]);
        moving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_of_a_full_route_interrupt_only_that_route() {
        let semaphore = semaphore(4, 1, 8);
        let (elsewhere, other) = transferring(1, 1);
        let (here, same) = transferring(1, 2);
        let _held = (
            semaphore.acquire(elsewhere, SOON).await.unwrap(),
            semaphore.acquire(here, SOON).await.unwrap(),
        );
        assert!(semaphore.acquire(request(2, 2), SOON).await.is_err());
        assert!(same.is_interrupted() && !other.is_interrupted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_waits_for_the_server_is_not_interrupted() {
        let semaphore = semaphore(1, 1, 8);
        let (holder, transfer) = transferring(1, 1);
        transfer.pause();
        let _held = semaphore.acquire(holder, SOON).await.unwrap();
        assert!(semaphore.acquire(request(2, 2), SOON).await.is_err());
        assert!(!transfer.is_interrupted());
        transfer.resume();
        assert!(
            semaphore
                .acquire(request(2, 2), Duration::from_millis(900))
                .await
                .is_err()
        );
        assert!(!transfer.is_interrupted(), "its grace starts again");
        assert!(semaphore.acquire(request(2, 2), SOON).await.is_err());
        assert!(transfer.is_interrupted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_complete_transfer_is_not_interrupted() {
        let semaphore = semaphore(1, 1, 8);
        let (holder, transfer) = transferring(1, 1);
        let _held = semaphore.acquire(holder, SOON).await.unwrap();
        transfer.complete();
        assert!(semaphore.acquire(request(2, 2), SOON).await.is_err());
        assert!(!transfer.is_interrupted());
    }
}
