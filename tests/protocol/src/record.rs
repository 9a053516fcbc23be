//! A task's record and the effect of each conditional write of `store::Tasks`, without a
//! database. `crates/local/tests/api/protocol.rs` makes the same calls to both and compares
//! all results.

use std::time::Duration;

use domain::{AgentId, ClaimRefusal, IDEMPOTENCY_WINDOW, Isolation, Moment, Status, Task, TaskId};

/// The item of one task key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Item(pub Option<Record>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The task's id, which holds its creation time.
    pub id: TaskId,
    pub status: Status,
    /// The number of claims so far, which is the fencing token.
    pub attempt: u32,
    /// The task cannot be claimed before this time.
    pub lease_until: Option<Moment>,
    /// An attempt is known to have lost its worker.
    pub worker_lost: bool,
    /// The stored decision to call tools.
    pub run: Option<u8>,
    pub ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    Success,
    Failure,
    /// No run finished.
    WorkerLost,
}

/// The result of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Created,
    /// The key already has this task.
    Repeated {
        id: TaskId,
        status: Status,
    },
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Granted {
        attempt: u32,
        /// The decision that an earlier attempt stored.
        run: Option<u8>,
    },
    Refused(ClaimRefusal),
}

/// The result of any other write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Recorded,
    /// The condition failed, and nothing was written.
    Fenced,
}

impl Ending {
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
                Admission::Repeated {
                    id: found.id,
                    status: found.status,
                }
            }
            _ => {
                self.0 = Some(Record::new(id));
                Admission::Created
            }
        }
    }

    pub fn claim(
        &mut self,
        id: TaskId,
        now: Moment,
        lease_until: Moment,
        max_attempts: u32,
        isolation: Isolation,
    ) -> Claim {
        let is_alone = isolation == Isolation::Alone;
        match self.record_of(id) {
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
                Claim::Granted {
                    attempt: record.attempt,
                    run: record.run,
                }
            }
            _ => {
                let found = self.0.as_ref().map(Record::as_task);
                Claim::Refused(Task::claim_refusal(found.as_ref(), id, now, max_attempts))
            }
        }
    }

    pub fn wait_to_run_alone(&mut self, id: TaskId, now: Moment) -> Option<ClaimRefusal> {
        match self.record_of(id).filter(|record| record.is_abandoned(now)) {
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
        apply(self.held(id, attempt), |record| record.end(ending))
    }

    /// `Tasks::checkpoint`, by the holder of `attempt`.
    pub fn checkpoint(&mut self, id: TaskId, attempt: u32, run: u8) -> Write {
        apply(self.held(id, attempt), |record| record.run = Some(run))
    }

    /// `Tasks::release`, by the holder of `attempt`.
    pub fn release(
        &mut self,
        id: TaskId,
        attempt: u32,
        not_before: Moment,
        run: Option<u8>,
    ) -> Write {
        apply(self.held(id, attempt), |record| {
            record.run = run.or(record.run);
            record.status = Status::Pending;
            record.lease_until = Some(not_before);
        })
    }

    pub fn end_abandoned(&mut self, id: TaskId, now: Moment) -> Option<ClaimRefusal> {
        match self.record_of(id).filter(|record| record.is_abandoned(now)) {
            Some(record) => {
                record.end(Ending::WorkerLost);
                None
            }
            None => Some(self.refusal(id, now)),
        }
    }

    pub fn give_back(&mut self, id: TaskId) -> Write {
        apply(self.started(id), |record| {
            record.status = Status::Pending;
            record.attempt -= 1;
            record.lease_until = None;
        })
    }

    pub fn break_lease(&mut self, id: TaskId) -> Write {
        apply(self.started(id), |record| {
            record.status = Status::Pending;
            record.lease_until = None;
            record.worker_lost = true;
        })
    }

    /// Returns the record if it is this task's.
    fn record_of(&mut self, id: TaskId) -> Option<&mut Record> {
        self.0
            .as_mut()
            .filter(|record| record.id.created_at() == id.created_at())
    }

    fn started(&mut self, id: TaskId) -> Option<&mut Record> {
        self.record_of(id)
            .filter(|record| record.status == Status::Started)
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
        Self {
            id,
            status,
            attempt: 0,
            lease_until: None,
            worker_lost: false,
            run: None,
            ending,
        }
    }

    /// The task has not ended and has no valid lease.
    fn is_abandoned(&self, now: Moment) -> bool {
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

    /// Converts the record for the rules of `domain`.
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

fn apply(found: Option<&mut Record>, change: impl FnOnce(&mut Record)) -> Write {
    match found {
        Some(record) => {
            change(record);
            Write::Recorded
        }
        None => Write::Fenced,
    }
}
