//! The model of the protocol (`tests/protocol`) matches the code. The same calls, in any
//! order and at any time, have the same results in the store on the embedded engine and
//! in the model, and leave the same record.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::{
    AgentId, Answer, Ended, ErrorType, Failure, IDEMPOTENCY_WINDOW, Isolation, Moment, Outcome,
    Passage, Payload, Run, Status, Task, TaskId, TaskKey,
};
use proptest::prelude::*;
use protocol::record::{self, Ending, Item};
use store::aws::Aws;
use store::{
    Admission, Claim, Claimed, EndAbandoned, Release, Tasks, UnfinishedTask, Wait, create_tables,
};
use tokio::runtime::{Builder, Handle};

use crate::support::functions::functions;
use crate::support::wire::Wire;
use crate::support::{FakeModel, Reply, Time, accepted};

const MAX_ATTEMPTS: u32 = 3;
const RETENTION: Duration = Duration::from_secs(3600);
/// Two days after the Unix epoch, so that the window before it starts after the epoch.
const EPOCH: Moment = Moment::from_millis(2 * 24 * 3600 * 1000);

/// One call. The numbers select an id or a claim by index.
#[derive(Clone, Debug)]
enum Call {
    Admit,
    Claim {
        id: usize,
        lease: u64,
        isolation: Isolation,
    },
    WaitToRunAlone {
        id: usize,
    },
    Finish {
        claim: usize,
        ending: Ending,
    },
    Checkpoint {
        claim: usize,
        run: u8,
    },
    Release {
        claim: usize,
        pause: u64,
        run: Option<u8>,
    },
    EndLost {
        id: usize,
    },
    GiveBack {
        id: usize,
    },
    BreakLease {
        id: usize,
    },
}

/// The store and the model, and the ids and claims that they have returned.
struct Pair {
    tasks: Tasks,
    item: Item,
    key: TaskKey,
    ids: Vec<TaskId>,
    claims: Vec<Claimed>,
    ends: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_store_returns_for_every_call_what_the_model_returns(
        calls in proptest::collection::vec((call(), forward()), 1..24),
    ) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            let mut now = EPOCH;
            for (call, forward) in calls {
                now = now.plus(forward);
                let (real, model) = pair.make(&call, now).await;
                prop_assert_eq!(real, model, "{:?}", call);
                let (real, model) = pair.records().await;
                prop_assert_eq!(real, model, "after {:?}", call);
            }
            Ok(())
        })?;
    }
}

/// Found by the model: the message may be the only one for the newer attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_of_a_run_whose_result_is_discarded_is_redelivered() {
    let overtaken: Arc<OnceLock<(Tasks, TaskId, Moment)>> = Arc::default();
    let seen = Arc::clone(&overtaken);
    let model = FakeModel::start(move |_, _| {
        let (tasks, id, now) = seen.get().unwrap();
        let until = now.plus(Duration::from_secs(60));
        let overtake = tasks.claim(*id, *now, until, MAX_ATTEMPTS, Isolation::Alone);
        let claim = tokio::task::block_in_place(|| Handle::current().block_on(overtake)).unwrap();
        assert!(matches!(claim, Claim::Granted(_)));
        Reply::Text("too late")
    })
    .await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    let after_the_lease = functions.runner.clock.now().plus(Duration::from_secs(120));
    overtaken
        .set((
            functions.runner.tasks.clone(),
            TaskId::parse(&task).unwrap(),
            after_the_lease,
        ))
        .unwrap();

    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    let status: serde_json::Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&"STARTED".into(), &2.into())
    );
}

fn call() -> impl Strategy<Value = Call> {
    let ending = prop_oneof![Just(Ending::Success), Just(Ending::Failure)];
    let isolation = prop_oneof![Just(Isolation::Shared), Just(Isolation::Alone)];
    prop_oneof![
        3 => Just(Call::Admit),
        6 => (any::<usize>(), 0_u64..4, isolation)
            .prop_map(|(id, lease, isolation)| Call::Claim { id, lease, isolation }),
        1 => any::<usize>().prop_map(|id| Call::WaitToRunAlone { id }),
        2 => (any::<usize>(), ending).prop_map(|(claim, ending)| Call::Finish { claim, ending }),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(claim, run)| Call::Checkpoint { claim, run }),
        2 => (any::<usize>(), 0_u64..4, any::<Option<u8>>())
            .prop_map(|(claim, pause, run)| Call::Release { claim, pause, run }),
        2 => any::<usize>().prop_map(|id| Call::EndLost { id }),
        1 => any::<usize>().prop_map(|id| Call::GiveBack { id }),
        1 => any::<usize>().prop_map(|id| Call::BreakLease { id }),
    ]
}

/// Mostly about as long as a lease, sometimes a day or just less.
fn forward() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0_u64..4).prop_map(Duration::from_secs),
        1 => Just(IDEMPOTENCY_WINDOW),
        1 => Just(IDEMPOTENCY_WINDOW - Duration::from_millis(1)),
    ]
}

impl Pair {
    async fn new() -> Self {
        let aws = Aws::embedded(Wire::new(Time::long_ago()));
        create_tables(&aws, &["tasks"]).await.unwrap();
        let key = TaskKey::random([7; 10]);
        // An id that was never returned, and an item that does not exist.
        let ids = vec![TaskId::new(EPOCH.minus(Duration::from_secs(1)), key)];
        Self {
            tasks: Tasks::new(&aws, "tasks"),
            item: Item::default(),
            key,
            ids,
            claims: Vec::new(),
            ends: 0,
        }
    }

    /// Makes a call on both sides and returns the two results in the same format.
    async fn make(&mut self, call: &Call, now: Moment) -> (String, String) {
        match call {
            Call::Admit => self.admit(now).await,
            Call::Claim {
                id,
                lease,
                isolation,
            } => self.claim(self.id(*id), now, *lease, *isolation).await,
            Call::WaitToRunAlone { id } => {
                let id = self.id(*id);
                let real = match self.tasks.wait_to_run_alone(id, now, now).await.unwrap() {
                    Wait::Since(_) => None,
                    Wait::Refused(refusal) => Some(refusal),
                };
                format_both(real, self.item.wait_to_run_alone(id, now))
            }
            Call::Finish { claim, ending } => self.finish(*claim, *ending, now).await,
            Call::Checkpoint { claim, run } => self.checkpoint(*claim, *run).await,
            Call::Release { claim, pause, run } => {
                self.release(*claim, now, now.plus(Duration::from_secs(*pause)), *run)
                    .await
            }
            Call::EndLost { id } => {
                let id = self.id(*id);
                let now = self.moment_of_its_own(now);
                let lost = Ended::without_usage(Failure::worker_lost());
                let real = match self
                    .tasks
                    .end_abandoned(id, &lost, now, RETENTION)
                    .await
                    .unwrap()
                {
                    EndAbandoned::Ended(_) => None,
                    EndAbandoned::Refused(refusal) => Some(refusal),
                };
                format_both(real, self.item.end_abandoned(id, now))
            }
            Call::GiveBack { id } => {
                let id = self.id(*id);
                let (agent_id, status) = (AgentId::random([0; 16]), Status::Started);
                let task = UnfinishedTask {
                    id,
                    agent_id,
                    status,
                    worker_lost: false,
                    events: 0,
                };
                let real = self.tasks.give_back(&task, now).await.unwrap();
                format_both(real, self.item.give_back(id))
            }
            Call::BreakLease { id } => {
                let id = self.id(*id);
                let real = self.tasks.break_lease(id, now).await.unwrap();
                format_both(real, self.item.break_lease(id))
            }
        }
    }

    async fn admit(&mut self, now: Moment) -> (String, String) {
        let id = TaskId::new(now, self.key);
        self.ids.push(id);
        let payload = Payload::from_stored("{}".to_owned());
        let real = self
            .tasks
            .admit(id, AgentId::random([0; 16]), &payload)
            .await
            .unwrap();
        let real = match real {
            Admission::Created => record::Admission::Created,
            Admission::Repeated { id, status, .. } => record::Admission::Repeated { id, status },
        };
        format_both(real, self.item.admit(id))
    }

    async fn claim(
        &mut self,
        id: TaskId,
        now: Moment,
        lease: u64,
        isolation: Isolation,
    ) -> (String, String) {
        let until = now.plus(Duration::from_secs(lease));
        let real = match self
            .tasks
            .claim(id, now, until, MAX_ATTEMPTS, isolation)
            .await
            .unwrap()
        {
            Claim::Granted(claimed) => {
                let attempt = claimed.task.attempt;
                let run = self.tasks.load_checkpoint(&claimed).await.unwrap();
                let run = run.map(|run| run.context()[0].title.parse().unwrap());
                self.claims.push(*claimed);
                record::Claim::Granted { attempt, run }
            }
            Claim::Refused(refusal) => record::Claim::Refused(refusal),
        };
        format_both(
            real,
            self.item.claim(id, now, until, MAX_ATTEMPTS, isolation),
        )
    }

    async fn finish(&mut self, claim: usize, ending: Ending, now: Moment) -> (String, String) {
        let now = self.moment_of_its_own(now);
        let Some(claimed) = pick(&self.claims, claim) else {
            return nothing();
        };
        let real = self
            .tasks
            .finish(claimed, &ended(ending), now, RETENTION)
            .await
            .unwrap();
        format_both(
            real,
            self.item
                .finish(claimed.task.id, claimed.task.attempt, ending),
        )
    }

    async fn checkpoint(&mut self, claim: usize, run: u8) -> (String, String) {
        let Some(claimed) = pick(&self.claims, claim) else {
            return nothing();
        };
        let real = self
            .tasks
            .checkpoint(claimed, &numbered(run))
            .await
            .unwrap();
        format_both(
            real,
            self.item
                .checkpoint(claimed.task.id, claimed.task.attempt, run),
        )
    }

    async fn release(
        &mut self,
        claim: usize,
        at: Moment,
        not_before: Moment,
        run: Option<u8>,
    ) -> (String, String) {
        let Some(claimed) = pick(&self.claims, claim) else {
            return nothing();
        };
        let come_to = run.map(numbered);
        let why = &Failure::transient(ErrorType::ModelError, "f");
        let release = Release {
            at,
            why,
            spent: Duration::ZERO,
            not_before,
            run: come_to.as_ref(),
        };
        let real = self.tasks.release(claimed, release).await.unwrap();
        format_both(
            real,
            self.item
                .release(claimed.task.id, claimed.task.attempt, not_before, run),
        )
    }

    /// The store takes two ends at one moment for one end whose response was lost.
    fn moment_of_its_own(&mut self, now: Moment) -> Moment {
        self.ends += 1;
        now.plus(Duration::from_millis(self.ends))
    }

    /// The two records in the same format.
    async fn records(&self) -> (String, String) {
        let real = self.tasks.get(self.ids[0]).await.unwrap();
        let real = real.as_ref().map(|task| {
            let Task {
                id,
                status,
                attempt,
                lease_until,
                worker_lost,
                ended,
                ..
            } = task;
            (
                *id,
                *status,
                *attempt,
                *lease_until,
                *worker_lost,
                ended.as_ref().map(ending_of),
            )
        });
        let model = self.item.0.as_ref().map(|record| {
            let record::Record {
                id,
                status,
                attempt,
                lease_until,
                worker_lost,
                ending,
                ..
            } = record;
            (*id, *status, *attempt, *lease_until, *worker_lost, *ending)
        });
        format_both(real, model)
    }

    fn id(&self, number: usize) -> TaskId {
        self.ids[number % self.ids.len()]
    }
}

/// A run with this number in it.
fn numbered(run: u8) -> Run {
    let passage = Passage {
        title: run.to_string(),
        text: String::new(),
        source: String::new(),
    };
    Run::new(vec![passage])
}

fn pick(claims: &[Claimed], number: usize) -> Option<&Claimed> {
    claims.get(number % claims.len().max(1))
}

fn nothing() -> (String, String) {
    (String::new(), String::new())
}

fn format_both(real: impl std::fmt::Debug, model: impl std::fmt::Debug) -> (String, String) {
    (format!("{real:?}"), format!("{model:?}"))
}

fn ended(ending: Ending) -> Ended {
    let outcome = match ending {
        Ending::Success => Outcome::Success(Answer {
            answer: "a".to_owned(),
            ..Answer::default()
        }),
        Ending::Failure => Outcome::Failure(Failure::permanent(ErrorType::ModelError, "f")),
        Ending::WorkerLost => Outcome::Failure(Failure::worker_lost()),
    };
    Ended {
        outcome,
        usage: None,
    }
}

fn ending_of(ended: &Ended) -> Ending {
    match &ended.outcome {
        Outcome::Success(_) => Ending::Success,
        Outcome::Failure(failure) if failure.kind == ErrorType::WorkerLost => Ending::WorkerLost,
        Outcome::Failure(_) => Ending::Failure,
    }
}
