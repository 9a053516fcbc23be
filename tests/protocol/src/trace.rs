//! Formats a history as text.

use std::fmt::Write as _;

use crate::model::Action;
use crate::state::{Hand, Message, Plan, Request, Stage, State, Why, number};

/// Formats each step as a numbered line, with the action and the state after it.
pub(crate) fn format_trace(steps: &[(State, Option<Action>)]) -> String {
    let mut text = String::new();
    for (at, pair) in steps.windows(2).enumerate() {
        if let [(before, Some(action)), (after, _)] = pair {
            let (action, state) = (describe_action(before, *action), describe_state(after));
            let _ = writeln!(text, "{:>4}. {action:<58} {state}", at + 1);
        }
    }
    if let Some(breach) = steps.last().and_then(|(state, _)| state.past.breach) {
        let _ = writeln!(text, "      {breach:?}");
    }
    text
}

fn describe_action(before: &State, action: Action) -> String {
    let message = |at: usize| {
        before
            .messages
            .get(at)
            .map(describe_message)
            .unwrap_or_default()
    };
    match action {
        Action::Trigger => "a request with the key arrives".to_owned(),
        Action::Proceed { answered: true, .. } => {
            "the request sends the id and returns 200".to_owned()
        }
        Action::Proceed {
            answered: false, ..
        } => "the request sends the id, its response is lost".to_owned(),
        Action::GiveUp { .. } => "the request's second call fails".to_owned(),
        Action::Duplicate { message: at } => format!("the queue duplicates {}", message(at)),
        Action::DeadLetter { message: at } => format!("{} becomes a dead letter", message(at)),
        Action::Receive {
            message: at,
            runner,
        } => format!("runner {runner} receives {}", message(at)),
        Action::Claim { runner, ahead } => format!("runner {runner} claims{}", clock(ahead)),
        Action::ClaimAlone { runner, ahead } => {
            format!("runner {runner} claims to run alone{}", clock(ahead))
        }
        Action::Postpone { runner, ahead } => {
            format!("runner {runner} postpones the task{}", clock(ahead))
        }
        Action::Finish {
            runner,
            success: true,
        } => format!("runner {runner} records its success"),
        Action::Finish {
            runner,
            success: false,
        } => format!("runner {runner} records its failure"),
        Action::Decide { runner } => format!("the model of runner {runner} decides to call tools"),
        Action::StoreDecision { runner } => format!("runner {runner} stores the decision"),
        Action::CallTools { runner } => format!("runner {runner} calls the tools"),
        Action::Release { runner } => format!("runner {runner} releases after a transient error"),
        Action::ReleaseUnread { runner } => format!("runner {runner} cannot read, and releases"),
        Action::EndAbandoned { runner, ahead } => {
            format!("runner {runner} ends the task as lost{}", clock(ahead))
        }
        Action::Leave { runner } => format!("runner {runner} deletes or hides its message"),
        Action::Crash { runner } => format!("runner {runner} dies"),
        Action::Tick => "a tick passes".to_owned(),
        Action::Day => "24 hours pass".to_owned(),
        Action::Restart { clean: true } => "the process is stopped and starts again".to_owned(),
        Action::Restart { clean: false } => "the process dies and starts again".to_owned(),
    }
}

fn clock(ahead: bool) -> &'static str {
    if ahead {
        ", its clock a tick ahead"
    } else {
        ""
    }
}

fn describe_state(state: &State) -> String {
    let record = match &state.item.0 {
        None => "no record".to_owned(),
        Some(record) => {
            let (id, attempt) = (number(record.id), record.attempt);
            let lease = state.lease();
            let lease = if lease > 0 {
                format!(", lease {lease}")
            } else {
                String::new()
            };
            let lost = if record.ending == Some(crate::record::Ending::WorkerLost) {
                " (worker_lost)"
            } else {
                ""
            };
            format!(
                "task {id} {}{lost}, attempt {attempt}{lease}",
                record.status.as_str()
            )
        }
    };
    let requests = state.requests.iter().map(describe_request);
    let messages = state.messages.iter().map(describe_message);
    let runners = state
        .runners
        .iter()
        .enumerate()
        .filter_map(|(at, hand)| Some(describe_hand(at, hand.as_ref()?)));
    let rest: Vec<String> = requests.chain(messages).chain(runners).collect();
    format!("{record} | {}", rest.join("; "))
}

fn describe_request(request: &Request) -> String {
    match request {
        Request::Send { id, .. } => format!("request that will send {}", number(*id)),
        Request::Put { id } => format!("request that will store {}", number(*id)),
    }
}

fn describe_message(message: &Message) -> String {
    let Message {
        id,
        receives,
        hidden,
        dead,
        ..
    } = message;
    let kind = if *dead { "dead letter" } else { "message" };
    let hidden = if *hidden > 0 {
        format!(", hidden {hidden}")
    } else {
        String::new()
    };
    format!("{kind} of {} (received {receives}{hidden})", number(*id))
}

fn describe_hand(runner: usize, hand: &Hand) -> String {
    let stage = match hand.stage {
        Stage::Claiming => "will claim".to_owned(),
        Stage::WaitingToBeAlone => "waits to run alone".to_owned(),
        Stage::Working { attempt, plan } => {
            format!(
                "runs attempt {attempt} of {}{}",
                number(hand.id),
                describe_plan(plan)
            )
        }
        Stage::EndingAbandoned => "will end it as lost".to_owned(),
        Stage::Done(Why::Recorded) => "has recorded the end".to_owned(),
        Stage::Void => "found its result void".to_owned(),
        Stage::Done(Why::Ended) => "found it ended".to_owned(),
        Stage::Done(Why::Gone) => "found it gone".to_owned(),
        Stage::Done(Why::EndedAbandoned) => "has ended it as lost".to_owned(),
        Stage::Back(pause) => format!("hides its message for {pause}"),
    };
    let late = if hand.life == 0 { " (late)" } else { "" };
    format!("runner {runner}{late} {stage}")
}

fn describe_plan(plan: Plan) -> String {
    match plan {
        Plan::Open => String::new(),
        Plan::Decided(run) => format!(", calls {run} decided"),
        Plan::Stored(run) => format!(", calls {run} stored"),
        Plan::Called => ", calls made".to_owned(),
    }
}
