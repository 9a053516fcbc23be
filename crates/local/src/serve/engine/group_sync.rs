//! One sync of the disk for all the calls that were answered since the one before.
//!
//! SQLite leaves commits in its log unsynced (see `Engine::open`). The rule that
//! makes them durable all the same: no answer leaves before everything that was
//! committed before it is on disk. That goes for reads as well, which may have seen
//! a commit that is not there yet. When everything is there, nothing waits.
//!
//! [`Ledger`] decides, and is tested without a disk; [`GroupSync`] syncs. Whoever has
//! an answer to give and finds nobody syncing does so, for all, until nobody waits:
//! a lone caller's commit is synced by the thread that made it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is committed, what is on disk, and whose answers wait for it.
#[derive(Debug)]
struct Ledger<A> {
    /// Changes that have begun and not ended. Each may be committed already.
    under_way: usize,
    /// Changes that have ended.
    ended: u64,
    /// As many of these are on disk.
    synced: u64,
    /// While a sync is under way: what it covers, and who rides along.
    sync: Option<(u64, Vec<A>)>,
    /// For the sync after that one.
    waiting: Vec<A>,
    /// The disk has failed to sync once. What it has since is not known (Linux drops
    /// what it failed to write and tells of it once), so that nothing is ever
    /// answered again.
    failed: bool,
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Turn<A> {
    /// All that it may tell of is on disk.
    Now(A),
    /// It was kept until a sync has ended.
    Later,
    /// Nobody can say what is on disk.
    Never(A),
}

impl<A> Default for Ledger<A> {
    fn default() -> Self {
        Self { under_way: 0, ended: 0, synced: 0, sync: None, waiting: Vec::new(), failed: false }
    }
}

impl<A> Ledger<A> {
    fn change_begins(&mut self) {
        self.under_way += 1;
    }

    fn change_ends(&mut self, wrote: bool) {
        self.under_way -= 1;
        self.ended += u64::from(wrote);
    }

    /// An answer to a call that has ended.
    fn answer(&mut self, answer: A) -> Turn<A> {
        if self.failed {
            return Turn::Never(answer);
        }
        // Whoever is under way may have committed what this answer tells of.
        let seen = (self.under_way == 0).then_some(self.ended);
        if seen == Some(self.synced) {
            return Turn::Now(answer);
        }
        match &mut self.sync {
            Some((covered, riding)) if seen == Some(*covered) => riding.push(answer),
            _ => self.waiting.push(answer),
        }
        Turn::Later
    }

    /// Whether to sync now: somebody waits, and nobody does.
    fn sync_begins(&mut self) -> bool {
        let begins = self.sync.is_none() && !self.waiting.is_empty();
        if begins {
            self.sync = Some((self.ended, std::mem::take(&mut self.waiting)));
        }
        begins
    }

    /// Whose turn it is then; after a failure, who is told so.
    fn sync_ends(&mut self, well: bool) -> Vec<A> {
        let Some((covered, mut told)) = self.sync.take() else { return Vec::new() };
        if well {
            self.synced = covered;
        } else {
            self.failed = true;
            told.append(&mut self.waiting);
        }
        told
    }
}

/// Why an answer is not given.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the disk failed to sync; start the server again once it is sound")]
pub(super) struct Unsynced;

type Tell = Box<dyn FnOnce(Result<(), Unsynced>) + Send>;
type Disk = Box<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// Gives answers when they may be given.
pub(super) struct GroupSync {
    ledger: Mutex<Ledger<Tell>>,
    disk: Disk,
}

/// A change that is being made. It may have been committed at any time until this is
/// dropped.
pub(super) struct Change<'a> {
    sync: &'a GroupSync,
    /// Set to `false` when it is known to have changed nothing.
    pub(super) wrote: bool,
}

impl GroupSync {
    /// `disk` returns when all that was committed before is on it.
    pub(super) fn new(disk: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self { ledger: Mutex::default(), disk: Box::new(disk) }
    }

    /// Whether the disk has failed to sync, after which nothing may be done any more:
    /// nobody could be told of it.
    pub(super) fn has_failed(&self) -> bool {
        self.ledger().failed
    }

    /// To be called before anything is changed.
    pub(super) fn change(&self) -> Change<'_> {
        self.ledger().change_begins();
        Change { sync: self, wrote: true }
    }

    /// Has `tell` called, here or by whoever syncs, as soon as all that is committed
    /// now is on disk. Blocks while it syncs, for others as well.
    pub(super) fn answer(&self, tell: Tell) {
        if self.keep(tell) {
            self.sync();
        }
    }

    /// The same without syncing. If this says `true`, nobody does, and the caller has to
    /// have somebody [`Self::sync`].
    #[must_use]
    pub(super) fn keep(&self, tell: Tell) -> bool {
        let mut ledger = self.ledger();
        let (turn, is_synced) = (ledger.answer(tell), ledger.sync.is_some());
        drop(ledger);
        match turn {
            Turn::Now(tell) => tell(Ok(())),
            Turn::Later => return !is_synced,
            Turn::Never(tell) => tell(Err(Unsynced)),
        }
        false
    }

    /// Syncs until nobody waits, or somebody else does so.
    pub(super) fn sync(&self) {
        while self.ledger().sync_begins() {
            let synced = (self.disk)().inspect_err(|error| {
                tracing::error!(%error, "the disk failed to sync; nothing is stored until the server is started again");
            });
            let synced = synced.map_err(|_| Unsynced);
            let told = self.ledger().sync_ends(synced.is_ok());
            for tell in told {
                tell(synced);
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<Tell>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.sync.ledger().change_ends(self.wrote);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens, in any order; what is not possible is passed over.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        ChangeBegins,
        /// Somebody's change is in the log, and may be seen by others.
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
        ledger: Ledger<u32>,
        begun: u32,
        uncounted: u32,
        committed: u32,
        on_disk: u32,
        ended: u32,
        /// So many changes had ended when the last sync that went well began.
        settled: u32,
        /// What was committed and had ended when the sync under way began.
        in_sync: Option<(u32, u32)>,
        owed: usize,
        is_broken: bool,
    }

    impl World {
        /// An answer tells of all that is committed now.
        fn answer(&mut self) -> Result<(), TestCaseError> {
            let is_quiet = self.begun == 0 && self.uncounted == 0 && self.settled == self.ended;
            match self.ledger.answer(self.committed) {
                Turn::Now(tells) => {
                    prop_assert!(!self.is_broken && tells <= self.on_disk);
                }
                Turn::Later => {
                    self.owed += 1;
                    prop_assert!(!is_quiet, "nothing is unsynced, and it waits");
                }
                Turn::Never(_) => prop_assert!(self.is_broken),
            }
            Ok(())
        }

        fn end_sync(&mut self, well: bool) -> Result<(), TestCaseError> {
            let Some((committed, ended)) = self.in_sync.take() else { return Ok(()) };
            self.is_broken |= !well;
            if well {
                (self.on_disk, self.settled) = (committed, ended);
            }
            let told = self.ledger.sync_ends(well);
            self.owed -= told.len();
            prop_assert!(!well || told.iter().all(|tells| *tells <= self.on_disk));
            prop_assert!(well || self.owed == 0, "somebody waits for ever");
            Ok(())
        }

        fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
            match event {
                Event::ChangeBegins => {
                    self.ledger.change_begins();
                    self.begun += 1;
                }
                Event::Commits if self.begun > 0 => {
                    self.begun -= 1;
                    self.uncounted += 1;
                    self.committed += 1;
                }
                Event::ChangeEnds if self.uncounted > 0 => {
                    self.uncounted -= 1;
                    self.ended += 1;
                    self.ledger.change_ends(true);
                    self.answer()?;
                }
                Event::IsRefused if self.begun > 0 => {
                    self.begun -= 1;
                    self.ledger.change_ends(false);
                    self.answer()?;
                }
                Event::Reads => self.answer()?,
                Event::SyncBegins => {
                    if self.ledger.sync_begins() {
                        prop_assert!(self.in_sync.is_none(), "two syncs at once");
                        self.in_sync = Some((self.committed, self.ended));
                    }
                }
                Event::SyncEnds => self.end_sync(true)?,
                Event::SyncFails => self.end_sync(false)?,
                Event::Commits | Event::ChangeEnds | Event::IsRefused => {}
            }
            Ok(())
        }
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        use Event::*;
        let event = prop_oneof![
            4 => Just(ChangeBegins), 4 => Just(Commits), 4 => Just(ChangeEnds), 1 => Just(IsRefused),
            4 => Just(Reads), 4 => Just(SyncBegins), 4 => Just(SyncEnds), 1 => Just(SyncFails),
        ];
        prop::collection::vec(event, 0..200)
    }

    proptest! {
        #[test]
        fn no_answer_leaves_before_what_it_tells_of_is_on_disk(events in events()) {
            let mut world = World::default();
            for event in events {
                world.happens(event)?;
            }
            // Left to themselves, at most two more syncs give everybody their answer.
            for event in [Event::SyncEnds, Event::SyncBegins, Event::SyncEnds] {
                world.happens(event)?;
            }
            prop_assert_eq!(world.owed, 0);
        }
    }

    #[test]
    fn calls_that_end_while_the_disk_is_busy_share_the_next_sync() {
        let mut ledger = Ledger::default();
        let change = |ledger: &mut Ledger<u32>, number| {
            ledger.change_begins();
            ledger.change_ends(true);
            ledger.answer(number)
        };
        assert_eq!(change(&mut ledger, 1), Turn::Later);
        assert!(ledger.sync_begins());
        assert_eq!(ledger.answer(10), Turn::Later);
        for number in 2..5 {
            assert_eq!(change(&mut ledger, number), Turn::Later);
        }
        assert!(!ledger.sync_begins());
        // What only read rides along with the change that it may have seen.
        assert_eq!(ledger.sync_ends(true), [1, 10]);
        assert!(ledger.sync_begins());
        assert_eq!(ledger.sync_ends(true), [2, 3, 4]);
        assert!(!ledger.sync_begins());
        assert_eq!(ledger.answer(11), Turn::Now(11));
    }

    #[test]
    fn after_a_failed_sync_nobody_is_told_that_all_is_well() {
        let disk_is_sound = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sound = std::sync::Arc::clone(&disk_is_sound);
        let sync = GroupSync::new(move || match sound.load(std::sync::atomic::Ordering::Relaxed) {
            true => Ok(()),
            false => Err(std::io::ErrorKind::Other.into()),
        });
        let told = || {
            let (told, hear) = std::sync::mpsc::channel();
            drop(sync.change());
            sync.answer(Box::new(move |outcome| told.send(outcome.is_ok()).unwrap()));
            hear.recv().unwrap()
        };
        assert!(!told());
        disk_is_sound.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!told());
    }
}
