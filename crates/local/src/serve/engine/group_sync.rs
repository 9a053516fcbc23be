//! One `fdatasync` for all calls that were answered since the previous one.
//!
//! SQLite leaves commits in its write-ahead log unsynced (see `Engine::open`). They are
//! durable all the same, by one rule: no response is sent before every commit that it
//! could have observed is on disk. Reads follow the rule too, because a read may have
//! observed an unsynced commit. When all commits are on disk, no response waits.
//!
//! [`SyncLedger`] decides, and is tested without a disk. [`GroupSync`] syncs. The first
//! caller with a response to send and no sync in progress becomes the syncer. It syncs
//! until no response waits, so the thread that made a lone commit also syncs it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is committed, what is on disk, and which responses wait for a sync.
#[derive(Debug)]
struct SyncLedger<R> {
    /// Changes that have begun and not ended. Each may be committed already.
    open_changes: usize,
    /// Number of changes that have ended.
    ended: u64,
    /// How many of the ended changes are on disk.
    synced: u64,
    /// The sync in progress: the number of ended changes that it covers, and the
    /// responses to send after it.
    sync: Option<(u64, Vec<R>)>,
    /// Responses for the sync after the one in progress.
    waiting: Vec<R>,
    /// A sync has failed once. What is on disk since then is not known, so no later call
    /// succeeds: Linux drops the pages that it failed to write and reports that once.
    failed: bool,
}

/// When a response can be sent.
#[derive(Debug, PartialEq, Eq)]
enum ResponseRelease<R> {
    /// All commits that it could have observed are on disk.
    Now(R),
    /// It is stored until a sync has ended.
    AfterSync,
    /// A sync has failed, so it is not known what is on disk.
    Never(R),
}

impl<R> Default for SyncLedger<R> {
    fn default() -> Self {
        Self {
            open_changes: 0,
            ended: 0,
            synced: 0,
            sync: None,
            waiting: Vec::new(),
            failed: false,
        }
    }
}

impl<R> SyncLedger<R> {
    fn begin_change(&mut self) {
        self.open_changes += 1;
    }

    fn end_change(&mut self, may_have_written: bool) {
        self.open_changes -= 1;
        self.ended += u64::from(may_have_written);
    }

    /// Adds the response to a call that has ended.
    fn add_response(&mut self, response: R) -> ResponseRelease<R> {
        if self.failed {
            return ResponseRelease::Never(response);
        }
        // A change that has not ended may be committed, and this response may show it.
        let observed = (self.open_changes == 0).then_some(self.ended);
        if observed == Some(self.synced) {
            return ResponseRelease::Now(response);
        }
        match &mut self.sync {
            Some((covered, responses)) if observed == Some(*covered) => responses.push(response),
            _ => self.waiting.push(response),
        }
        ResponseRelease::AfterSync
    }

    /// Returns whether the caller has to sync now: responses wait, and no sync is in progress.
    fn begin_sync(&mut self) -> bool {
        let begins = self.sync.is_none() && !self.waiting.is_empty();
        if begins {
            self.sync = Some((self.ended, std::mem::take(&mut self.waiting)));
        }
        begins
    }

    /// Returns the responses to send; after a failure, all of them, to be sent as errors.
    fn end_sync(&mut self, succeeded: bool) -> Vec<R> {
        let Some((covered, mut responses)) = self.sync.take() else {
            return Vec::new();
        };
        if succeeded {
            self.synced = covered;
        } else {
            self.failed = true;
            responses.append(&mut self.waiting);
        }
        responses
    }
}

/// Why a call fails after a failed sync.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the disk failed to sync; check the disk and restart the server")]
pub(super) struct SyncFailed;

/// Sends a response, or the error in its place.
type SendResponse = Box<dyn FnOnce(Result<(), SyncFailed>) + Send>;
type SyncDisk = Box<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// Sends responses once their commits are on disk.
pub(super) struct GroupSync {
    ledger: Mutex<SyncLedger<SendResponse>>,
    sync_disk: SyncDisk,
}

/// A change in progress. Until this is dropped, it may be committed at any time.
pub(super) struct Change<'a> {
    sync: &'a GroupSync,
    /// Set to `false` when it is known to have changed nothing.
    pub(super) may_have_written: bool,
}

impl GroupSync {
    /// `sync_disk` returns once all earlier commits are on disk.
    pub(super) fn new(sync_disk: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            ledger: Mutex::default(),
            sync_disk: Box::new(sync_disk),
        }
    }

    /// Whether a sync has failed. No call may run after that, because none could be
    /// answered.
    pub(super) fn has_failed(&self) -> bool {
        self.ledger().failed
    }

    /// Call it before anything is changed.
    pub(super) fn begin_change(&self) -> Change<'_> {
        self.ledger().begin_change();
        Change {
            sync: self,
            may_have_written: true,
        }
    }

    /// Calls `send`, here or in the thread that syncs, once all present commits are on
    /// disk. Blocks while it syncs, for other callers as well.
    pub(super) fn respond(&self, send: SendResponse) {
        if self.enqueue_response(send) {
            self.sync_until_idle();
        }
    }

    /// Like [`Self::respond`], but does not sync. If this returns `true`, no thread syncs,
    /// and the caller must arrange a call of [`Self::sync_until_idle`].
    #[must_use]
    pub(super) fn enqueue_response(&self, send: SendResponse) -> bool {
        let mut ledger = self.ledger();
        let (release, is_syncing) = (ledger.add_response(send), ledger.sync.is_some());
        drop(ledger);
        match release {
            ResponseRelease::Now(send) => send(Ok(())),
            ResponseRelease::AfterSync => return !is_syncing,
            ResponseRelease::Never(send) => send(Err(SyncFailed)),
        }
        false
    }

    /// Syncs until no response waits, or another thread syncs.
    pub(super) fn sync_until_idle(&self) {
        while self.ledger().begin_sync() {
            let synced = (self.sync_disk)().inspect_err(|error| {
                tracing::error!(%error, "the disk failed to sync; no call succeeds before a restart");
            });
            let synced = synced.map_err(|_| SyncFailed);
            let responses = self.ledger().end_sync(synced.is_ok());
            for send in responses {
                send(synced);
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, SyncLedger<SendResponse>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.sync.ledger().end_change(self.may_have_written);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens, in any order. An event that is not possible is skipped.
    #[derive(Clone, Copy, Debug)]
    enum LedgerEvent {
        ChangeBegins,
        /// An open change is in the log, and other calls may observe it.
        Commits,
        /// The oldest change that has committed ends, and its call is answered.
        ChangeEnds,
        /// The oldest change that has not committed is refused, and its call is answered.
        IsRefused,
        /// A call that changes nothing is answered.
        Reads,
        SyncBegins,
        SyncEnds,
        SyncFails,
    }

    /// The log and the disk under it.
    #[derive(Default)]
    struct World {
        ledger: SyncLedger<u32>,
        begun: u32,
        /// Committed changes that have not ended.
        unended: u32,
        committed: u32,
        on_disk: u32,
        ended: u32,
        /// How many changes had ended when the last successful sync began.
        settled: u32,
        /// The commits and the ended changes when the sync in progress began.
        in_sync: Option<(u32, u32)>,
        unsent: usize,
        is_broken: bool,
    }

    impl World {
        /// The response shows all that is committed now.
        fn add_response(&mut self) -> Result<(), TestCaseError> {
            let is_quiet = self.begun == 0 && self.unended == 0 && self.settled == self.ended;
            match self.ledger.add_response(self.committed) {
                ResponseRelease::Now(observed) => {
                    prop_assert!(!self.is_broken && observed <= self.on_disk);
                }
                ResponseRelease::AfterSync => {
                    self.unsent += 1;
                    prop_assert!(!is_quiet, "a response waits, and nothing is unsynced");
                }
                ResponseRelease::Never(_) => prop_assert!(self.is_broken),
            }
            Ok(())
        }

        fn end_sync(&mut self, succeeded: bool) -> Result<(), TestCaseError> {
            let Some((committed, ended)) = self.in_sync.take() else {
                return Ok(());
            };
            self.is_broken |= !succeeded;
            if succeeded {
                (self.on_disk, self.settled) = (committed, ended);
            }
            let sent = self.ledger.end_sync(succeeded);
            self.unsent -= sent.len();
            prop_assert!(!succeeded || sent.iter().all(|observed| *observed <= self.on_disk));
            prop_assert!(succeeded || self.unsent == 0, "a response waits for ever");
            Ok(())
        }

        fn apply(&mut self, event: LedgerEvent) -> Result<(), TestCaseError> {
            match event {
                LedgerEvent::ChangeBegins => {
                    self.ledger.begin_change();
                    self.begun += 1;
                }
                LedgerEvent::Commits if self.begun > 0 => {
                    self.begun -= 1;
                    self.unended += 1;
                    self.committed += 1;
                }
                LedgerEvent::ChangeEnds if self.unended > 0 => {
                    self.unended -= 1;
                    self.ended += 1;
                    self.ledger.end_change(true);
                    self.add_response()?;
                }
                LedgerEvent::IsRefused if self.begun > 0 => {
                    self.begun -= 1;
                    self.ledger.end_change(false);
                    self.add_response()?;
                }
                LedgerEvent::Reads => self.add_response()?,
                LedgerEvent::SyncBegins => {
                    if self.ledger.begin_sync() {
                        prop_assert!(self.in_sync.is_none(), "two syncs at once");
                        self.in_sync = Some((self.committed, self.ended));
                    }
                }
                LedgerEvent::SyncEnds => self.end_sync(true)?,
                LedgerEvent::SyncFails => self.end_sync(false)?,
                LedgerEvent::Commits | LedgerEvent::ChangeEnds | LedgerEvent::IsRefused => {}
            }
            Ok(())
        }
    }

    fn events() -> impl Strategy<Value = Vec<LedgerEvent>> {
        use LedgerEvent::*;
        let event = prop_oneof![
            4 => Just(ChangeBegins), 4 => Just(Commits), 4 => Just(ChangeEnds), 1 => Just(IsRefused),
            4 => Just(Reads), 4 => Just(SyncBegins), 4 => Just(SyncEnds), 1 => Just(SyncFails),
        ];
        prop::collection::vec(event, 0..200)
    }

    proptest! {
        #[test]
        fn no_response_is_sent_before_the_commits_that_it_observed_are_on_disk(events in events()) {
            let mut world = World::default();
            for event in events {
                world.apply(event)?;
            }
            // Without new events, at most two more syncs send every response.
            for event in [LedgerEvent::SyncEnds, LedgerEvent::SyncBegins, LedgerEvent::SyncEnds] {
                world.apply(event)?;
            }
            prop_assert_eq!(world.unsent, 0);
        }
    }

    #[test]
    fn calls_that_end_while_the_disk_is_busy_share_the_next_sync() {
        let mut ledger = SyncLedger::default();
        let change = |ledger: &mut SyncLedger<u32>, number| {
            ledger.begin_change();
            ledger.end_change(true);
            ledger.add_response(number)
        };
        assert_eq!(change(&mut ledger, 1), ResponseRelease::AfterSync);
        assert!(ledger.begin_sync());
        assert_eq!(ledger.add_response(10), ResponseRelease::AfterSync);
        for number in 2..5 {
            assert_eq!(change(&mut ledger, number), ResponseRelease::AfterSync);
        }
        assert!(!ledger.begin_sync());
        // A read is sent after the sync of the change that it may have observed.
        assert_eq!(ledger.end_sync(true), [1, 10]);
        assert!(ledger.begin_sync());
        assert_eq!(ledger.end_sync(true), [2, 3, 4]);
        assert!(!ledger.begin_sync());
        assert_eq!(ledger.add_response(11), ResponseRelease::Now(11));
    }

    #[test]
    fn after_a_failed_sync_no_call_succeeds() {
        let disk_is_sound = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sound = std::sync::Arc::clone(&disk_is_sound);
        let sync = GroupSync::new(
            move || match sound.load(std::sync::atomic::Ordering::Relaxed) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::Other.into()),
            },
        );
        let succeeds = || {
            let (sender, receiver) = std::sync::mpsc::channel();
            drop(sync.begin_change());
            sync.respond(Box::new(move |outcome| {
                sender.send(outcome.is_ok()).unwrap()
            }));
            receiver.recv().unwrap()
        };
        assert!(!succeeds());
        disk_is_sound.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!succeeds());
    }
}
