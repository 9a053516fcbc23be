//! What is checked: the scenario, its bounds, and the one rule left out.

use std::fmt;

/// One model to check.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Where the product runs.
    pub scenario: Scenario,
    /// How much may happen.
    pub bounds: Bounds,
    /// A rule of the protocol that does not hold here.
    pub without: Option<Rule>,
}

/// Where the product runs, which is what can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// AWS: an invocation is dead at its deadline.
    Cloud,
    /// The same, but runners may be late: frozen at any point, and going on
    /// when their lease is long over.
    LateRunners,
    /// One process with the queue in memory, which dies with everything in it.
    OneMachine,
}

/// How much may happen. Time is in ticks, see [`crate::state`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests with the one idempotency key, retries of the caller included.
    pub triggers: u8,
    /// Messages that a runner can take at once.
    pub runners: u8,
    /// Claims a task may have.
    pub attempts: u32,
    /// Receives before a message is a dead letter.
    pub receives: u8,
    /// Messages that the queue duplicates.
    pub duplicates: u8,
    /// Times that 24 hours pass.
    pub days: u8,
    /// Times that the one process dies or is stopped.
    pub restarts: u8,
    /// Times that a model wants tools called.
    pub turns: u8,
}

/// The rules that make the protocol work. Each can be left out, and is then missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `finish` and `release` demand the attempt that was claimed.
    Fencing,
    /// A repeat that finds its task PENDING sends again.
    Resend,
    /// A claim demands that no lease is on the task.
    LeaseCheck,
    /// A lease lasts as long as its runner may live, and a little longer.
    LongLease,
    /// The dead-letter queue is consumed, and ends its tasks.
    DeadLetters,
    /// The put comes before the send.
    PutFirst,
    /// The answer comes after the send.
    AnswerLast,
    /// The message is deleted after the end is recorded.
    DeleteLast,
    /// The message of a run whose result is void comes back.
    VoidComesBack,
    /// The put demands that the key is free.
    ConditionalPut,
    /// Every write demands the very task, not only its key.
    WholeId,
    /// `worker_lost` demands that no lease is on the task.
    LeaseBeforeLost,
    /// The calls of a turn are written down before they are made.
    WriteFirst,
    /// At its start the one process sends the ids of all tasks that have not ended.
    Recovery,
    /// A task that lost its worker is claimed to run alone.
    LostRunsAlone,
    /// A lease that is broken, or forgotten while the task waits, leaves its mark.
    LossIsRecorded,
}

impl Rule {
    /// All of them, with the scenario in which each is missed.
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

    /// Enough for it to be missed.
    pub const fn bounds(self, scenario: Scenario) -> Bounds {
        match self {
            Self::WriteFirst => Bounds { turns: 2, ..Bounds::SMALL },
            _ => scenario.bounds(),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fencing => "no fencing by attempt",
            Self::Resend => "no resend by a repeat",
            Self::LeaseCheck => "no lease check at a claim",
            Self::LongLease => "lease without slack for clocks",
            Self::DeadLetters => "no dead-letter consumer",
            Self::PutFirst => "sent before it is stored",
            Self::AnswerLast => "answered before it is sent",
            Self::DeleteLast => "message deleted at receive",
            Self::VoidComesBack => "message of a void result deleted",
            Self::ConditionalPut => "unconditional put",
            Self::WholeId => "writes compare the key alone",
            Self::LeaseBeforeLost => "worker_lost in spite of a lease",
            Self::WriteFirst => "tools called before it is written",
            Self::Recovery => "no recovery at the start",
            Self::LostRunsAlone => "lost task runs beside others",
            Self::LossIsRecorded => "lost worker not recorded",
        }
    }
}

impl Scenario {
    /// What is checked by default: everything at once would be too many states.
    pub const CHECKED: [(Self, Bounds); 8] = [
        (Self::Cloud, Bounds { duplicates: 1, ..Bounds::SMALL }),
        (Self::Cloud, Bounds { days: 1, ..Bounds::SMALL }),
        (Self::LateRunners, Bounds::SMALL),
        (Self::LateRunners, Bounds { days: 1, receives: 2, ..Bounds::SMALL }),
        (Self::OneMachine, Bounds { restarts: 2, ..Bounds::SMALL }),
        (Self::Cloud, Bounds { turns: 2, ..Bounds::SMALL }),
        (Self::LateRunners, Bounds { turns: 2, ..Bounds::SMALL }),
        (Self::OneMachine, Bounds { turns: 2, restarts: 1, ..Bounds::SMALL }),
    ];

    /// Enough for each rule to be missed.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Cloud | Self::LateRunners => Bounds { days: 1, ..Bounds::SMALL },
            Self::OneMachine => Bounds { restarts: 1, ..Bounds::SMALL },
        }
    }
}

impl Bounds {
    /// A retry by the caller, two runners, a second attempt, a dead letter.
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
        let Self { triggers, runners, attempts, receives, duplicates, days, restarts, turns } = self;
        write!(f, "{triggers} triggers, {runners} runners, {attempts} attempts, {receives} receives")?;
        let rest = [(duplicates, "duplicate"), (days, "day"), (restarts, "restart"), (turns, "turn")];
        for (count, name) in rest.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, ", {count} {name}{}", if *count > 1 { "s" } else { "" })?;
        }
        Ok(())
    }
}

impl Config {
    /// The protocol as it is.
    pub const fn correct(scenario: Scenario, bounds: Bounds) -> Self {
        Self { scenario, bounds, without: None }
    }

    /// The protocol without one rule.
    pub const fn without(rule: Rule, scenario: Scenario, bounds: Bounds) -> Self {
        Self { scenario, bounds, without: Some(rule) }
    }

    /// Whether a rule holds here.
    pub fn holds(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.without, self.scenario) {
            (Some(rule), _) => rule.as_str(),
            (None, Scenario::Cloud) => "as built, on AWS",
            (None, Scenario::LateRunners) => "as built, runners may be late",
            (None, Scenario::OneMachine) => "as built, one machine",
        };
        f.pad(name)
    }
}
