//! The local server beside the limits of its machine, all in one run.

pub(crate) mod engine;
pub(crate) mod load;
pub(crate) mod model;
pub(crate) mod server;
pub(crate) mod wire;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use load::{Load, Until, load, status, succeeded, trigger};
use model::Model;
use server::{Agent, Server};
use wire::Connection;

use crate::Failure;
use crate::report::{Section, Table};
use crate::summary::Samples;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: [usize; 3] = [1, 32, 256];
/// What is drained.
const TASKS: u64 = 10_000;
/// Tasks whose whole way is timed, one after the other.
const WHOLE_WAYS: usize = 500;
/// Runs at a time, as by default.
const CONCURRENCY: usize = 32;

/// Measures everything in a folder beside the binaries, on the disk that is built on.
pub(crate) fn measure(binaries: &Path) -> Result<Section, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = tempfile::tempdir_in(binaries)?;
    let mut text = String::new();
    writeln!(text, "{}", limits(folder.path())?.into_text())?;
    runtime.block_on(async {
        writeln!(
            text,
            "{}",
            answers(binaries, folder.path()).await?.into_text()
        )?;
        writeln!(text, "{}", runs(binaries, folder.path()).await?.into_text())?;
        Ok(Section {
            name: "local",
            text,
        })
    })
}

fn limits(folder: &Path) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "limit, by one caller",
        "a second, median of three",
        "lowest",
    ]);
    let mut add =
        |name: &str, measured: &dyn Fn(&Path) -> Result<f64, Failure>| -> Result<(), Failure> {
            let rounds = (0..ROUNDS).map(|_| measured(tempfile::tempdir_in(folder)?.path()));
            let rounds = rounds.collect::<Result<Samples, _>>()?;
            table.row(&[name, &whole(rounds.median()), &whole(rounds.lowest())]);
            Ok(())
        };
    add("12 KiB written and synced (`fdatasync`)", &|at| {
        engine::syncs_per_second(at, ROUND)
    })?;
    add("the engine's conditional put, synced by itself", &|at| {
        engine::puts_per_second(at, true, ROUND)
    })?;
    add("the engine's conditional put, not synced", &|at| {
        engine::puts_per_second(at, false, ROUND)
    })?;
    Ok(table)
}

/// Triggers of tasks that are not run, and polls.
async fn answers(binaries: &Path, folder: &Path) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "answered",
        "connections",
        "a second, median of three",
        "lowest",
        "ms, median",
        "ms, p99",
        "server's CPU each, µs",
    ]);
    let model = Model::shut().await?;
    for connections in CONNECTIONS {
        for keyed in [false, true] {
            let data = tempfile::tempdir_in(folder)?;
            // The one run at a time waits for its model for ever.
            let server = Server::start(binaries, data.path(), 1)?;
            let agent = server.agent(&model.url).await?;
            let name = if keyed {
                "trigger, each with a new key"
            } else {
                "trigger"
            };
            let rounds = Rounds::of(&server, connections, |round| {
                let path = agent.path.clone();
                move |number| {
                    let key = keyed.then(|| format!("{round}-{number}"));
                    trigger(&path, key.as_deref(), number)
                }
            });
            rounds.await?.show(&mut table, name, connections);
        }
    }
    let data = tempfile::tempdir_in(folder)?;
    let server = Server::start(binaries, data.path(), 1)?;
    let agent = server.agent(&model.url).await?;
    let path = agent.path;
    let made = load(server.address, 32, Until::Sent(2000), move |number| {
        trigger(&path, None, number)
    })
    .await?;
    let tasks = made.tasks()?;
    for connections in CONNECTIONS {
        let rounds = Rounds::of(&server, connections, |_| {
            let tasks = tasks.clone();
            move |number| status(nth(&tasks, number))
        });
        rounds.await?.show(&mut table, "status", connections);
    }
    Ok(table)
}

fn nth(tasks: &[String], number: u64) -> &str {
    let at = usize::try_from(number).unwrap_or_default() % tasks.len().max(1);
    tasks.get(at).map_or("", String::as_str)
}

/// Rounds of one load.
#[derive(Default)]
struct Rounds {
    rates: Samples,
    times: Samples,
    cpu: Samples,
}

impl Rounds {
    /// After one that does not count.
    async fn of<R>(
        server: &Server,
        connections: usize,
        request: impl Fn(usize) -> R,
    ) -> Result<Self, Failure>
    where
        R: Fn(u64) -> Vec<u8> + 'static,
    {
        load(server.address, connections, Until::Over(ROUND), request(0)).await?;
        let mut rounds = Self::default();
        for round in 1..=ROUNDS {
            let before = server.cpu()?;
            let load = load(
                server.address,
                connections,
                Until::Over(ROUND),
                request(round),
            )
            .await?;
            let cpu = server.cpu()?.saturating_sub(before).as_secs_f64();
            rounds.cpu.push(cpu * 1e6 / load.times.len() as f64);
            rounds.rates.push(load.per_second());
            rounds.times.extend(&load.times);
        }
        Ok(rounds)
    }

    fn show(&self, table: &mut Table, name: &str, connections: usize) {
        table.row(&[
            name.to_owned(),
            connections.to_string(),
            whole(self.rates.median()),
            whole(self.rates.lowest()),
            fine(self.times.median()),
            fine(self.times.p99()),
            whole(self.cpu.median()),
        ]);
    }
}

/// What runs cost, with a model that answers at once.
async fn runs(binaries: &Path, folder: &Path) -> Result<Table, Failure> {
    let mut table = Table::new(&["with an instant model", "", ""]);
    let data = tempfile::tempdir_in(folder)?;
    let model = Model::shut().await?;
    let server = Server::start(binaries, data.path(), CONCURRENCY)?;
    let idle = server.memory()?;
    table.row(&["memory, idle", &format!("{:.1} MiB", idle.0), "resident"]);
    let agent = server.agent(&model.url).await?;
    let (triggered, seconds) = drained(&server, &agent, &model).await?;
    table.row(&[
        format!("{TASKS} waiting tasks drained"),
        format!("{} a second", whole(TASKS as f64 / seconds)),
        format!("{seconds:.2} s"),
    ]);
    let load = triggered_and_run(&server, &agent, &model).await?;
    table.row(&[
        format!("{TASKS} tasks triggered over 32 connections and run meanwhile"),
        format!("{} a second", whole(TASKS as f64 / load.seconds)),
        format!(
            "triggers: median {} ms, p99 {} ms",
            fine(load.times.median()),
            fine(load.times.p99())
        ),
    ]);
    let ways = whole_ways(&server, &agent).await?;
    table.row(&[
        "from the trigger to SUCCESS, one task at a time".to_owned(),
        format!("median {} ms", fine(ways.median())),
        format!("p90 {} ms, p99 {} ms", fine(ways.p90()), fine(ways.p99())),
    ]);
    let (now, peak) = server.memory()?;
    table.row(&[
        "memory, after that",
        &format!("{now:.1} MiB"),
        &format!("at most {peak:.1} MiB"),
    ]);
    server.stop()?;
    let bytes = fs::metadata(data.path().join("tables.sqlite"))?.len();
    let tasks = triggered.times.len() as u64 + TASKS + WHOLE_WAYS as u64;
    table.row(&[
        "the database grows by",
        &format!("{} bytes", bytes / tasks),
        "a task, with its result",
    ]);
    Ok(table)
}

/// Lets tasks pile up while the model holds its tongue, and times them from when it answers.
async fn drained(server: &Server, agent: &Agent, model: &Model) -> Result<(Load, f64), Failure> {
    let path = agent.path.clone();
    let triggered = load(server.address, 32, Until::Sent(TASKS), move |number| {
        trigger(&path, None, number)
    })
    .await?;
    let tasks = triggered.tasks()?;
    let began = Instant::now();
    model.open();
    model.has_answered(tasks.len()).await;
    let mut connection = Connection::open(server.address).await?;
    // The last ones first: the clock stops with them.
    for task in tasks.iter().rev().take(4 * CONCURRENCY) {
        succeeded(&mut connection, task).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    for task in &tasks {
        succeeded(&mut connection, task).await?;
    }
    Ok((triggered, seconds))
}

/// The triggers' load, its time until the last task has ended.
async fn triggered_and_run(server: &Server, agent: &Agent, model: &Model) -> Result<Load, Failure> {
    let (path, answered) = (agent.path.clone(), model.answered());
    let began = Instant::now();
    let mut load = load(server.address, 32, Until::Sent(TASKS), move |number| {
        trigger(&path, None, number)
    })
    .await?;
    let tasks = load.tasks()?;
    model.has_answered(answered + tasks.len()).await;
    let mut connection = Connection::open(server.address).await?;
    for task in tasks.iter().rev().take(4 * CONCURRENCY) {
        succeeded(&mut connection, task).await?;
    }
    load.seconds = began.elapsed().as_secs_f64();
    for task in &tasks {
        succeeded(&mut connection, task).await?;
    }
    Ok(load)
}

async fn whole_ways(server: &Server, agent: &Agent) -> Result<Samples, Failure> {
    let mut connection = Connection::open(server.address).await?;
    let mut ways = Samples::default();
    for number in 0..WHOLE_WAYS as u64 {
        let began = Instant::now();
        let answer = connection.ask(&trigger(&agent.path, None, number)).await?;
        let answer: serde_json::Value = serde_json::from_slice(answer.body)?;
        let task = answer
            .get("task_id")
            .and_then(|id| id.as_str())
            .ok_or("an answer without a task")?;
        succeeded(&mut connection, task).await?;
        ways.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(ways)
}

pub(crate) fn whole(figure: f64) -> String {
    format!("{figure:.0}")
}

pub(crate) fn fine(figure: f64) -> String {
    format!("{figure:.2}")
}
