//! A task's record and what each conditional write of `store::Tasks` does to it,
//! without a database. `crates/local/tests/api/protocol.rs` drives both with the
//! same calls and compares every answer.

use std::time::Duration;

use domain::{AgentId, ClaimRefusal, IDEMPOTENCY_WINDOW, Isolation, Moment, Status, Task, TaskId};

/// The item of one task key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Item(pub Option<Record>);

/// What the item says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The task's id, which holds its creation time.
    pub id: TaskId,
    /// Where it stands.
    pub status: Status,
    /// Claims so far; the fencing token.
    pub attempt: u32,
    /// Until when nobody may claim it.
    pub lease_until: Option<Moment>,
    /// An attempt is known to have lost its worker.
    pub worker_lost: bool,
    /// Which calls of tools were decided on, if they are written down.
    pub run: Option<u8>,
    /// How it ended.
    pub ending: Option<Ending>,
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The run answered.
    Success,
    /// The run failed.
    Failure,
    /// No run came to an end.
    WorkerLost,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A new task.
    Created,
    /// The key had this one already.
    Repeated {
        /// Its id.
        id: TaskId,
        /// Where it stands.
        status: Status,
    },
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller holds the task.
    Granted {
        /// The fencing token.
        attempt: u32,
        /// What an earlier attempt wrote down.
        run: Option<u8>,
    },
    /// It does not.
    Refused(ClaimRefusal),
}

/// What became of any other write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It took effect.
    Recorded,
    /// Its condition failed, and nothing changed.
    Fenced,
}

impl Ending {
    /// SUCCESS or FAILURE.
    pub const fn status(self) -> Status {
        match self {
            Self::Success => Status::Success,
            Self::Failure | Self::WorkerLost => Status::Failure,
        }
    }
}

impl Item {
    /// `Tasks::admit`: the put of a new task.
    pub fn admit(&mut self, id: TaskId) -> Admission {
        let window = id.created_at().minus(IDEMPOTENCY_WINDOW);
        match &self.0 {
            Some(found) if !(found.id.created_at() <= window && found.status.has_ended()) => {
                Admission::Repeated { id: found.id, status: found.status }
            }
            _ => {
                self.0 = Some(Record::new(id));
                Admission::Created
            }
        }
    }

    /// `Tasks::claim`.
    pub fn claim(
        &mut self,
        id: TaskId,
        now: Moment,
        lease_until: Moment,
        max_attempts: u32,
        isolation: Isolation,
    ) -> Claim {
        let is_alone = isolation == Isolation::Alone;
        match self.of(id) {
            Some(record)
                if record.attempt < max_attempts
                    && !record.status.has_ended()
                    && (is_alone || record.status == Status::Pending && !record.worker_lost)
                    && record.lease_until.is_none_or(|until| until <= now) =>
            {
                record.status = Status::Started;
                record.attempt += 1;
                record.lease_until = Some(lease_until);
                record.worker_lost |= is_alone;
                Claim::Granted { attempt: record.attempt, run: record.run }
            }
            _ => {
                let found = self.0.as_ref().map(Record::as_task);
                Claim::Refused(Task::claim_refusal(found.as_ref(), id, now, max_attempts))
            }
        }
    }

    /// `Tasks::wait_to_run_alone`.
    pub fn wait_to_run_alone(&mut self, id: TaskId, now: Moment) -> Option<ClaimRefusal> {
        match self.of(id).filter(|record| record.is_unheld(now)) {
            Some(record) => {
                record.status = Status::Pending;
                record.worker_lost = true;
                None
            }
            None => Some(self.refusal(id, now)),
        }
    }

    /// `Tasks::finish`, by the holder of `attempt`.
    pub fn finish(&mut self, id: TaskId, attempt: u32, ending: Ending) -> Write {
        written(self.held(id, attempt), |record| record.end(ending))
    }

    /// `Tasks::checkpoint`, by the holder of `attempt`.
    pub fn checkpoint(&mut self, id: TaskId, attempt: u32, run: u8) -> Write {
        written(self.held(id, attempt), |record| record.run = Some(run))
    }

    /// `Tasks::release`, by the holder of `attempt`.
    pub fn release(&mut self, id: TaskId, attempt: u32, not_before: Moment, run: Option<u8>) -> Write {
        written(self.held(id, attempt), |record| {
            record.run = run.or(record.run);
            record.status = Status::Pending;
            record.lease_until = Some(not_before);
        })
    }

    /// `Tasks::end_unheld`.
    pub fn end_unheld(&mut self, id: TaskId, now: Moment) -> Option<ClaimRefusal> {
        match self.of(id).filter(|record| record.is_unheld(now)) {
            Some(record) => {
                record.end(Ending::WorkerLost);
                None
            }
            None => Some(self.refusal(id, now)),
        }
    }

    /// `Tasks::give_back`.
    pub fn give_back(&mut self, id: TaskId) -> Write {
        written(self.started(id), |record| {
            record.status = Status::Pending;
            record.attempt -= 1;
            record.lease_until = None;
        })
    }

    /// `Tasks::break_lease`.
    pub fn break_lease(&mut self, id: TaskId) -> Write {
        written(self.started(id), |record| {
            record.status = Status::Pending;
            record.lease_until = None;
            record.worker_lost = true;
        })
    }

    /// The record, if it is this very task's.
    fn of(&mut self, id: TaskId) -> Option<&mut Record> {
        self.0.as_mut().filter(|record| record.id.created_at() == id.created_at())
    }

    fn started(&mut self, id: TaskId) -> Option<&mut Record> {
        self.of(id).filter(|record| record.status == Status::Started)
    }

    fn held(&mut self, id: TaskId, attempt: u32) -> Option<&mut Record> {
        self.started(id).filter(|record| record.attempt == attempt)
    }

    fn refusal(&self, id: TaskId, now: Moment) -> ClaimRefusal {
        let found = self.0.as_ref().map(Record::as_task);
        Task::refusal(found.as_ref(), id, now)
    }
}

impl Record {
    const fn new(id: TaskId) -> Self {
        let (status, ending) = (Status::Pending, None);
        Self { id, status, attempt: 0, lease_until: None, worker_lost: false, run: None, ending }
    }

    /// It has not ended, and no living runner holds it.
    fn is_unheld(&self, now: Moment) -> bool {
        match self.status {
            Status::Pending => true,
            Status::Started => self.lease_until.is_some_and(|until| until <= now),
            Status::Success | Status::Failure => false,
        }
    }

    fn end(&mut self, ending: Ending) {
        self.status = ending.status();
        self.lease_until = None;
        self.run = None;
        self.ending = Some(ending);
    }

    /// As the rules of `domain` want to see it.
    fn as_task(&self) -> Task {
        Task {
            id: self.id,
            agent_id: AgentId::random([0; 16]),
            status: self.status,
            attempt: self.attempt,
            started_at: None,
            finished_at: None,
            lease_until: self.lease_until,
            spent: Duration::ZERO,
            worker_lost: self.worker_lost,
            ended: None,
            expires_at: Task::initial_expiry(self.id.created_at()),
        }
    }
}

fn written(found: Option<&mut Record>, change: impl FnOnce(&mut Record)) -> Write {
    match found {
        Some(record) => {
            change(record);
            Write::Recorded
        }
        None => Write::Fenced,
    }
}
