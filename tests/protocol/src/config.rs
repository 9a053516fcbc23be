//! The configuration of a model: the scenario, its bounds, and the rule that is left out.

use std::fmt;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub scenario: Scenario,
    pub bounds: Bounds,
    /// The rule of the protocol that is left out.
    pub without: Option<Rule>,
}

/// The deployment, which determines the possible failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// AWS: an invocation ends at its deadline.
    Cloud,
    /// AWS, but runners may be late: they may be frozen at any point and continue after their
    /// lease has ended.
    LateRunners,
    /// The local server. Its queue is in memory and is lost when the process dies.
    OneMachine,
}

/// The maximum number of each event. Time is in ticks, see [`crate::state`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Triggers with the idempotency key, including the caller's retries.
    pub triggers: u8,
    /// Runners, each with one message at a time.
    pub runners: u8,
    /// Claims of a task.
    pub attempts: u32,
    /// Receives before a message becomes a dead letter.
    pub receives: u8,
    /// Messages that the queue duplicates.
    pub duplicates: u8,
    /// Times that 24 hours pass.
    pub days: u8,
    /// Times that the local server dies or is stopped.
    pub restarts: u8,
    /// Times that the model calls tools.
    pub turns: u8,
}

/// The rules of the protocol. Without any one of them, a property does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `finish` and `release` require the attempt that was claimed.
    Fencing,
    /// A retried trigger that finds its task PENDING sends its id again.
    Resend,
    /// A claim requires that the task has no lease.
    LeaseCheck,
    /// A lease ends a little later than the runner's deadline.
    LongLease,
    /// A consumer of the dead-letter queue ends its tasks.
    DeadLetters,
    /// The task is stored before its id is sent to the queue.
    PutFirst,
    /// The response is sent after the id was sent to the queue.
    AnswerLast,
    /// The message is deleted after the end was recorded.
    DeleteLast,
    /// If the result of a run is void, its message becomes visible again.
    VoidComesBack,
    /// The put requires that the key is free.
    ConditionalPut,
    /// Every write compares the whole task id, not only its key.
    WholeId,
    /// Ending a task as `worker_lost` requires that it has no lease.
    LeaseBeforeLost,
    /// The tool calls of a turn are stored before they are made.
    WriteFirst,
    /// At startup, the local server queues all tasks that have not ended.
    Recovery,
    /// A task that lost its worker can only be claimed to run alone.
    LostRunsAlone,
    /// The record shows that the task lost its worker after the lease is gone.
    LossIsRecorded,
}

impl Rule {
    /// All rules, each with a scenario in which a property does not hold without it.
    pub const ALL: [(Self, Scenario); 16] = [
        (Self::Fencing, Scenario::LateRunners),
        (Self::Resend, Scenario::Cloud),
        (Self::LeaseCheck, Scenario::Cloud),
        (Self::LongLease, Scenario::Cloud),
        (Self::DeadLetters, Scenario::Cloud),
        (Self::PutFirst, Scenario::Cloud),
        (Self::AnswerLast, Scenario::Cloud),
        (Self::DeleteLast, Scenario::Cloud),
        (Self::VoidComesBack, Scenario::LateRunners),
        (Self::ConditionalPut, Scenario::Cloud),
        (Self::WholeId, Scenario::LateRunners),
        (Self::LeaseBeforeLost, Scenario::Cloud),
        (Self::WriteFirst, Scenario::Cloud),
        (Self::Recovery, Scenario::OneMachine),
        (Self::LostRunsAlone, Scenario::Cloud),
        (Self::LossIsRecorded, Scenario::OneMachine),
    ];

    /// The bounds in which a property does not hold without the rule.
    pub const fn bounds(self, scenario: Scenario) -> Bounds {
        match self {
            Self::WriteFirst => Bounds {
                turns: 2,
                ..Bounds::SMALL
            },
            _ => scenario.bounds(),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fencing => "no fencing by attempt",
            Self::Resend => "no resend on a retried trigger",
            Self::LeaseCheck => "no lease check on a claim",
            Self::LongLease => "lease without margin for clocks",
            Self::DeadLetters => "no dead-letter consumer",
            Self::PutFirst => "id queued before it is stored",
            Self::AnswerLast => "response before the id is queued",
            Self::DeleteLast => "message deleted on receive",
            Self::VoidComesBack => "message of a void result deleted",
            Self::ConditionalPut => "unconditional put",
            Self::WholeId => "writes compare only the key",
            Self::LeaseBeforeLost => "worker_lost despite a lease",
            Self::WriteFirst => "tools called before it is stored",
            Self::Recovery => "no recovery at startup",
            Self::LostRunsAlone => "lost task does not run alone",
            Self::LossIsRecorded => "lost worker not recorded",
        }
    }
}

impl Scenario {
    /// The models checked by default. All bounds at once would result in too many states.
    pub const CHECKED: [(Self, Bounds); 8] = [
        (
            Self::Cloud,
            Bounds {
                duplicates: 1,
                ..Bounds::SMALL
            },
        ),
        (
            Self::Cloud,
            Bounds {
                days: 1,
                ..Bounds::SMALL
            },
        ),
        (Self::LateRunners, Bounds::SMALL),
        (
            Self::LateRunners,
            Bounds {
                days: 1,
                receives: 2,
                ..Bounds::SMALL
            },
        ),
        (
            Self::OneMachine,
            Bounds {
                restarts: 2,
                ..Bounds::SMALL
            },
        ),
        (
            Self::Cloud,
            Bounds {
                turns: 2,
                ..Bounds::SMALL
            },
        ),
        (
            Self::LateRunners,
            Bounds {
                turns: 2,
                ..Bounds::SMALL
            },
        ),
        (
            Self::OneMachine,
            Bounds {
                turns: 2,
                restarts: 1,
                ..Bounds::SMALL
            },
        ),
    ];

    /// The bounds in which a property does not hold without the rule, for most rules.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Cloud | Self::LateRunners => Bounds {
                days: 1,
                ..Bounds::SMALL
            },
            Self::OneMachine => Bounds {
                restarts: 1,
                ..Bounds::SMALL
            },
        }
    }
}

impl Bounds {
    /// One retry by the caller, two runners, two attempts, and dead letters.
    pub const SMALL: Self = Self {
        triggers: 2,
        runners: 2,
        attempts: 2,
        receives: 3,
        duplicates: 0,
        days: 0,
        restarts: 0,
        turns: 0,
    };
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            triggers,
            runners,
            attempts,
            receives,
            duplicates,
            days,
            restarts,
            turns,
        } = self;
        write!(
            f,
            "{triggers} triggers, {runners} runners, {attempts} attempts, {receives} receives"
        )?;
        let rest = [
            (duplicates, "duplicate"),
            (days, "day"),
            (restarts, "restart"),
            (turns, "turn"),
        ];
        for (count, name) in rest.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, ", {count} {name}{}", if *count > 1 { "s" } else { "" })?;
        }
        Ok(())
    }
}

impl Config {
    pub const fn correct(scenario: Scenario, bounds: Bounds) -> Self {
        Self {
            scenario,
            bounds,
            without: None,
        }
    }

    pub const fn without(rule: Rule, scenario: Scenario, bounds: Bounds) -> Self {
        Self {
            scenario,
            bounds,
            without: Some(rule),
        }
    }

    pub fn holds(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.without, self.scenario) {
            (Some(rule), _) => rule.as_str(),
            (None, Scenario::Cloud) => "as built, AWS",
            (None, Scenario::LateRunners) => "as built, AWS with late runners",
            (None, Scenario::OneMachine) => "as built, local server",
        };
        f.pad(name)
    }
}
