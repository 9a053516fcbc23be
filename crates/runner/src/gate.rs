//! Runs share the worker process, except for a task that lost its worker: it starts when
//! no other run is in progress, and holds up the others for a while.
//!
//! | what | bound |
//! | --- | --- |
//! | tasks that wait to run alone, or do | one at a time in a process |
//! | a start of others held up until runs in progress have ended | 1 minute; doubled, up to 15 minutes, each time that this was too short |
//! | a start of others held up while the task runs | 1 minute; then others run beside it |
//! | time that others have between two such waits | as long as they were held up, if any of them are there |
//!
//! A task never starts to run alone beside another one that lost its worker. So a task
//! takes any other task with it once at most: after that the other one runs alone, too.

use std::sync::Arc;
use std::time::Duration;

use domain::Isolation;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};

/// How long others may be held up until runs in progress have ended, at first.
const FIRST_HOLD: Duration = Duration::from_secs(60);
/// As long as any run may take.
const LONGEST_HOLD: Duration = Duration::from_secs(900);
/// How long others are held up by a run. Most runs end within it; a longer one must not
/// stop the rest, which is why it does not stay alone to its end.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// Who may start a run in this process.
#[derive(Debug)]
pub struct RunGate {
    runs: watch::Sender<Runs>,
    /// Held by the one task that waits to run alone, or does. Until this instant
    /// others go first.
    turn: Arc<Mutex<Instant>>,
}

#[derive(Debug, Default)]
struct Runs {
    in_progress: usize,
    /// Runs that are held up.
    waiting: usize,
    is_held: bool,
    is_closed: bool,
}

/// A run in progress.
#[derive(Debug)]
pub(crate) struct Entered(watch::Sender<Runs>);

/// A run that started when no other was in progress.
#[derive(Debug)]
pub(crate) struct EnteredAlone {
    /// Dropped first: runs that the end of the hold lets in find this one ended.
    _run: Entered,
    hold: Hold,
}

/// The turn of one task, in which it can hold up others.
#[derive(Debug)]
struct Hold {
    runs: watch::Sender<Runs>,
    turn: OwnedMutexGuard<Instant>,
    /// Set while others are held up.
    since: Option<Instant>,
}

/// Counts a run that is held up.
#[derive(Debug)]
struct Waiting<'a>(&'a RunGate);

impl Default for RunGate {
    fn default() -> Self {
        Self { runs: watch::Sender::default(), turn: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl RunGate {
    /// Starts no run any more, and lets none wait: the process is about to stop.
    pub fn close(&self) {
        self.runs.send_modify(|runs| runs.is_closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.runs.borrow().is_closed
    }

    /// Begins a run beside others; waits while they are held up. None when closed.
    pub(crate) async fn enter(&self) -> Option<Entered> {
        let may_begin = |runs: &Runs| !runs.is_held;
        if self.try_enter(may_begin, Isolation::Shared) {
            return Some(Entered(self.runs.clone()));
        }
        let _waiting = Waiting::new(self);
        self.entered(may_begin, Isolation::Shared).await.then(|| Entered(self.runs.clone()))
    }

    /// Begins a run as soon as no other is in progress, within `patience`. None if that
    /// is too short, when closed, or if another task waits to run alone or does.
    pub(crate) async fn enter_alone(&self, patience: Duration) -> Option<EnteredAlone> {
        let turn = Arc::clone(&self.turn).try_lock_owned().ok()?;
        timeout(patience, self.wait_to_be_alone(turn)).await.ok().flatten()
    }

    async fn wait_to_be_alone(&self, turn: OwnedMutexGuard<Instant>) -> Option<EnteredAlone> {
        let mut others_first = turn.saturating_duration_since(Instant::now());
        let mut longest_hold = FIRST_HOLD;
        let mut hold = Hold { runs: self.runs.clone(), turn, since: None };
        loop {
            let idle = self.entered(|runs| runs.in_progress == 0 && runs.waiting == 0, Isolation::Alone);
            if let Ok(has_entered) = timeout(others_first, idle).await {
                let run = has_entered.then(|| Entered(self.runs.clone()))?;
                hold.since = Some(Instant::now());
                return Some(EnteredAlone { _run: run, hold });
            }
            hold.begin();
            let all_ended = self.entered(|runs| runs.in_progress == 0, Isolation::Alone);
            if let Ok(has_entered) = timeout(longest_hold, all_ended).await {
                let run = has_entered.then(|| Entered(self.runs.clone()))?;
                return Some(EnteredAlone { _run: run, hold });
            }
            hold.end();
            others_first = longest_hold;
            longest_hold = (2 * longest_hold).min(LONGEST_HOLD);
        }
    }

    /// Waits until a run may begin, and counts it. False when closed.
    async fn entered(&self, may_begin: impl Fn(&Runs) -> bool, isolation: Isolation) -> bool {
        let mut changes = self.runs.subscribe();
        loop {
            if self.try_enter(&may_begin, isolation) {
                return true;
            }
            let changed = changes.wait_for(|runs| runs.is_closed || may_begin(runs)).await;
            if changed.is_ok_and(|runs| runs.is_closed) {
                return false;
            }
        }
    }

    fn try_enter(&self, may_begin: impl Fn(&Runs) -> bool, isolation: Isolation) -> bool {
        self.runs.send_if_modified(|runs| {
            let begins = !runs.is_closed && may_begin(runs);
            runs.in_progress += usize::from(begins);
            runs.is_held |= begins && isolation == Isolation::Alone;
            begins
        })
    }
}

impl EnteredAlone {
    /// Performs the run. After a while others may run beside it.
    pub(crate) async fn perform<T>(mut self, mut run: impl Future<Output = T> + Unpin) -> T {
        if let Ok(done) = timeout(ALONE_FOR, &mut run).await {
            return done;
        }
        self.hold.end();
        run.await
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.send_modify(|runs| runs.in_progress -= 1);
    }
}

impl<'a> Waiting<'a> {
    fn new(gate: &'a RunGate) -> Self {
        gate.runs.send_modify(|runs| runs.waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| runs.waiting -= 1);
    }
}

impl Hold {
    fn begin(&mut self) {
        self.since = Some(Instant::now());
        self.runs.send_modify(|runs| runs.is_held = true);
    }

    /// Lets others in, who then go first for as long as they were held up.
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            *self.turn = Instant::now() + since.elapsed();
            self.runs.send_modify(|runs| runs.is_held = false);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(24 * 3600);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn runs_share_the_process_and_one_that_runs_alone_waits_for_their_end() {
        let gate = RunGate::default();
        let (first, second) = (gate.enter().await.unwrap(), gate.enter().await.unwrap());
        let mut alone = pin!(gate.enter_alone(FOREVER));
        assert!(alone.as_mut().now_or_never().is_none());
        assert!(gate.enter().now_or_never().is_none(), "held up until the first two have ended");
        drop((first, second));
        let alone = alone.await.unwrap();
        assert!(gate.enter().now_or_never().is_none());
        drop(alone);
        assert!(gate.enter().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_alone_holds_up_others_for_a_minute_and_another_one_alone_until_its_end() {
        let gate = RunGate::default();
        let started = Instant::now();
        let long =
            gate.enter_alone(FOREVER).await.unwrap().perform(Box::pin(tokio::time::sleep(seconds(800))));
        let others = async {
            let beside = gate.enter().await.unwrap();
            assert_eq!(started.elapsed(), ALONE_FOR);
            assert!(gate.enter_alone(FOREVER).await.is_none(), "it would run beside the long one");
            drop(beside);
        };
        tokio::join!(long, others);
        assert_eq!(started.elapsed(), seconds(800));
        assert!(gate.enter_alone(FOREVER).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn others_go_first_for_as_long_as_they_were_held_up() {
        let gate = Arc::new(RunGate::default());
        let alone = gate.enter_alone(FOREVER).await.unwrap();
        alone
            .perform(Box::pin(tokio::time::sleep(seconds(1)).then(async |()| {
                // From now on at least one of them is in progress, or waits.
                for offset in [0, 1] {
                    let gate = Arc::clone(&gate);
                    tokio::spawn(async move {
                        tokio::time::sleep(seconds(offset)).await;
                        loop {
                            let run = gate.enter().await;
                            tokio::time::sleep(seconds(3)).await;
                            drop(run);
                        }
                    });
                }
                tokio::time::sleep(seconds(19)).await;
            })))
            .await;
        let ended = Instant::now();
        let alone = gate.enter_alone(FOREVER).await.unwrap();
        assert!((20..25).contains(&ended.elapsed().as_secs()), "after {:?}", ended.elapsed());
        drop(alone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_was_too_short_is_doubled_after_a_rest() {
        let gate = RunGate::default();
        let started = Instant::now();
        let long = async {
            let _run = gate.enter().await.unwrap();
            tokio::time::sleep(seconds(200)).await;
        };
        let other = async {
            tokio::time::sleep(seconds(1)).await;
            let _run = gate.enter().await.unwrap();
            assert_eq!(started.elapsed(), FIRST_HOLD);
        };
        let alone = async {
            let _alone = gate.enter_alone(FOREVER).await.unwrap();
            // Held up for 60 s, let in for 60 s, then held up to the end of the long one.
            assert_eq!(started.elapsed(), seconds(200));
        };
        tokio::join!(long, alone, other);
    }

    #[tokio::test(start_paused = true)]
    async fn an_impatient_one_gives_up_and_lets_others_in() {
        let gate = RunGate::default();
        let _run = gate.enter().await.unwrap();
        assert!(gate.enter_alone(seconds(5)).await.is_none());
        assert!(gate.enter().now_or_never().is_some());
        assert!(gate.enter_alone(Duration::ZERO).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nobody_in_and_keeps_nobody_waiting() {
        let gate = RunGate::default();
        let run = gate.enter().await.unwrap();
        let close = async { gate.close() };
        let (waiting, ()) = tokio::join!(gate.enter_alone(FOREVER), close);
        assert!(waiting.is_none());
        drop(run);
        assert!(gate.enter().await.is_none());
        assert!(gate.enter_alone(FOREVER).await.is_none());
    }
}
