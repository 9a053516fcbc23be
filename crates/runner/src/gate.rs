//! Runs share the worker process, except for a task that lost its worker. That task starts
//! when no other run is in progress, and delays the others for a while.
//!
//! | what | bound |
//! | --- | --- |
//! | tasks that wait to run alone, or run alone | one at a time in a process |
//! | delay of others until runs in progress have ended | 1 minute; doubled, up to 15 minutes, each time that this was too short |
//! | delay of others while the task runs | 1 minute; then others run in parallel with it |
//! | time for others between two such delays | as long as the delay, if others are waiting or running |
//!
//! A task never starts to run alone while another task that lost its worker runs. So a task
//! that kills its worker can affect any other task at most once: after that the other task
//! runs alone, too.

use std::sync::Arc;
use std::time::Duration;

use domain::Isolation;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};

/// How long others are first delayed while runs in progress end.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest time limit of a run.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// How long a run that runs alone delays others. Most runs end within it. A longer run must
/// not block the others, so they start beside it.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// Decides which runs may start in this process.
#[derive(Debug)]
pub struct RunGate {
    runs: watch::Sender<RunCounts>,
    /// Locked by the one task that waits to run alone, or runs alone. Until this instant
    /// others take precedence.
    turn: Arc<Mutex<Instant>>,
}

#[derive(Debug, Default)]
struct RunCounts {
    in_progress: usize,
    /// Runs that are delayed.
    waiting: usize,
    is_paused: bool,
    is_closed: bool,
}

/// Held while a run is in progress.
#[derive(Debug)]
pub(crate) struct RunPermit(watch::Sender<RunCounts>);

/// Held by a run that started when no other run was in progress.
#[derive(Debug)]
pub(crate) struct ExclusiveRunPermit {
    /// Dropped first, so that the end of the pause admits others after this run has ended.
    _run: RunPermit,
    pause: AdmissionPause,
}

/// The turn of one task, in which it can delay others.
#[derive(Debug)]
struct AdmissionPause {
    runs: watch::Sender<RunCounts>,
    turn: OwnedMutexGuard<Instant>,
    /// Set while others are delayed.
    since: Option<Instant>,
}

/// Counts a run that is delayed.
#[derive(Debug)]
struct WaitingRun<'a>(&'a RunGate);

impl Default for RunGate {
    fn default() -> Self {
        Self {
            runs: watch::Sender::default(),
            turn: Arc::new(Mutex::new(Instant::now())),
        }
    }
}

impl RunGate {
    /// Refuses all further runs, also those that wait: the process is about to stop.
    pub fn close(&self) {
        self.runs.send_modify(|runs| runs.is_closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.runs.borrow().is_closed
    }

    /// Starts a run beside others. Waits while runs are delayed. Returns `None` when closed.
    pub(crate) async fn enter(&self) -> Option<RunPermit> {
        let may_begin = |runs: &RunCounts| !runs.is_paused;
        if self.try_enter(may_begin, Isolation::Shared) {
            return Some(RunPermit(self.runs.clone()));
        }
        let _waiting = WaitingRun::new(self);
        self.wait_to_enter(may_begin, Isolation::Shared)
            .await
            .then(|| RunPermit(self.runs.clone()))
    }

    /// Starts a run as soon as no other is in progress. Returns `None` if that takes longer
    /// than `patience`, when closed, or if another task waits to run alone or runs alone.
    pub(crate) async fn enter_alone(&self, patience: Duration) -> Option<ExclusiveRunPermit> {
        let turn = Arc::clone(&self.turn).try_lock_owned().ok()?;
        timeout(patience, self.wait_to_be_alone(turn))
            .await
            .ok()
            .flatten()
    }

    async fn wait_to_be_alone(&self, turn: OwnedMutexGuard<Instant>) -> Option<ExclusiveRunPermit> {
        let mut others_first = turn.saturating_duration_since(Instant::now());
        let mut longest_pause = FIRST_PAUSE;
        let mut pause = AdmissionPause {
            runs: self.runs.clone(),
            turn,
            since: None,
        };
        loop {
            let idle = self.wait_to_enter(
                |runs| runs.in_progress == 0 && runs.waiting == 0,
                Isolation::Alone,
            );
            if let Ok(has_permit) = timeout(others_first, idle).await {
                let run = has_permit.then(|| RunPermit(self.runs.clone()))?;
                pause.since = Some(Instant::now());
                return Some(ExclusiveRunPermit { _run: run, pause });
            }
            pause.begin();
            let all_ended = self.wait_to_enter(|runs| runs.in_progress == 0, Isolation::Alone);
            if let Ok(has_permit) = timeout(longest_pause, all_ended).await {
                let run = has_permit.then(|| RunPermit(self.runs.clone()))?;
                return Some(ExclusiveRunPermit { _run: run, pause });
            }
            pause.end();
            others_first = longest_pause;
            longest_pause = (2 * longest_pause).min(LONGEST_PAUSE);
        }
    }

    /// Waits until a run may begin, and counts it. Returns false when closed.
    async fn wait_to_enter(
        &self,
        may_begin: impl Fn(&RunCounts) -> bool,
        isolation: Isolation,
    ) -> bool {
        let mut changes = self.runs.subscribe();
        loop {
            if self.try_enter(&may_begin, isolation) {
                return true;
            }
            let changed = changes
                .wait_for(|runs| runs.is_closed || may_begin(runs))
                .await;
            if changed.is_ok_and(|runs| runs.is_closed) {
                return false;
            }
        }
    }

    fn try_enter(&self, may_begin: impl Fn(&RunCounts) -> bool, isolation: Isolation) -> bool {
        self.runs.send_if_modified(|runs| {
            let begins = !runs.is_closed && may_begin(runs);
            runs.in_progress += usize::from(begins);
            runs.is_paused |= begins && isolation == Isolation::Alone;
            begins
        })
    }
}

impl ExclusiveRunPermit {
    /// Performs the run. After a while others may run beside it.
    pub(crate) async fn perform<T>(mut self, mut run: impl Future<Output = T> + Unpin) -> T {
        if let Ok(done) = timeout(ALONE_FOR, &mut run).await {
            return done;
        }
        self.pause.end();
        run.await
    }
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        self.0.send_modify(|runs| runs.in_progress -= 1);
    }
}

impl<'a> WaitingRun<'a> {
    fn new(gate: &'a RunGate) -> Self {
        gate.runs.send_modify(|runs| runs.waiting += 1);
        Self(gate)
    }
}

impl Drop for WaitingRun<'_> {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| runs.waiting -= 1);
    }
}

impl AdmissionPause {
    fn begin(&mut self) {
        self.since = Some(Instant::now());
        self.runs.send_modify(|runs| runs.is_paused = true);
    }

    /// Admits others, which then take precedence for as long as they were delayed.
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            *self.turn = Instant::now() + since.elapsed();
            self.runs.send_modify(|runs| runs.is_paused = false);
        }
    }
}

impl Drop for AdmissionPause {
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
        assert!(
            gate.enter().now_or_never().is_none(),
            "delayed until the first two have ended"
        );
        drop((first, second));
        let alone = alone.await.unwrap();
        assert!(gate.enter().now_or_never().is_none());
        drop(alone);
        assert!(gate.enter().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_alone_delays_others_for_a_minute_and_another_one_alone_until_its_end() {
        let gate = RunGate::default();
        let started = Instant::now();
        let long = gate
            .enter_alone(FOREVER)
            .await
            .unwrap()
            .perform(Box::pin(tokio::time::sleep(seconds(800))));
        let others = async {
            let beside = gate.enter().await.unwrap();
            assert_eq!(started.elapsed(), ALONE_FOR);
            assert!(
                gate.enter_alone(FOREVER).await.is_none(),
                "it would run beside the long one"
            );
            drop(beside);
        };
        tokio::join!(long, others);
        assert_eq!(started.elapsed(), seconds(800));
        assert!(gate.enter_alone(FOREVER).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn others_take_precedence_for_as_long_as_they_were_delayed() {
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
        assert!(
            (20..25).contains(&ended.elapsed().as_secs()),
            "after {:?}",
            ended.elapsed()
        );
        drop(alone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_was_too_short_is_doubled_after_an_equal_time_for_others() {
        let gate = RunGate::default();
        let started = Instant::now();
        let long = async {
            let _run = gate.enter().await.unwrap();
            tokio::time::sleep(seconds(200)).await;
        };
        let other = async {
            tokio::time::sleep(seconds(1)).await;
            let _run = gate.enter().await.unwrap();
            assert_eq!(started.elapsed(), FIRST_PAUSE);
        };
        let alone = async {
            let _alone = gate.enter_alone(FOREVER).await.unwrap();
            // Others are delayed for 60 s, admitted for 60 s, then delayed until the long run ends.
            assert_eq!(started.elapsed(), seconds(200));
        };
        tokio::join!(long, alone, other);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_whose_patience_ends_gives_up_and_admits_others() {
        let gate = RunGate::default();
        let _run = gate.enter().await.unwrap();
        assert!(gate.enter_alone(seconds(5)).await.is_none());
        assert!(gate.enter().now_or_never().is_some());
        assert!(gate.enter_alone(Duration::ZERO).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_admits_no_run_and_ends_all_waits() {
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
