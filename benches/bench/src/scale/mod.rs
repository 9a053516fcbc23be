//! What a trigger and a poll cost beside few stored tasks and very many.

mod fill;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use domain::TaskId;
use fill::{copied_id, fill};

use crate::Failure;
use crate::local::load::{Until, load, status, succeeded, trigger};
use crate::local::model::Model;
use crate::local::server::Server;
use crate::local::wire::Connection;
use crate::local::{fine, whole};
use crate::report::{Section, Table};
use crate::summary::Samples;

const STORED: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Requests over one connection, and then over many.
const ALONE: u64 = 1_000;
const TOGETHER: u64 = 4_000;
const ROUNDS: usize = 3;

pub(crate) fn measure(binaries: &Path) -> Result<Section, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new(&[
        "tasks stored",
        "listening after, ms",
        "running tasks after, ms",
        "poll, ms: median",
        "p99",
        "a second, 32 connections",
        "trigger, ms: median",
        "p99",
        "a second, 32 connections",
        "memory, MiB",
        "database, MiB",
    ]);
    runtime.block_on(async {
        for stored in STORED {
            table.row(&at(stored, binaries).await?);
        }
        let mut text = table.into_text();
        writeln!(
            text,
            "\nAfter {TOGETHER} requests that do not count, three times {ALONE} over one connection and \
             {TOGETHER} over 32. The triggers add their tasks to those stored; they are not run."
        )?;
        Ok(Section { name: "scale", text })
    })
}

/// Measures a server on this many tasks.
async fn at(stored: u64, binaries: &Path) -> Result<Vec<String>, Failure> {
    let data = tempfile::tempdir_in(binaries)?;
    let original = first_task(binaries, data.path()).await?;
    fill(data.path(), original, 0..stored)?;
    let server = Server::start(binaries, data.path(), 1)?;
    let ms = |time: Duration| whole(time.as_secs_f64() * 1000.0);
    let mut cells = vec![
        stored.to_string(),
        ms(server.listened_in),
        ms(server.resumed_in),
    ];
    // Scattered over all that are stored.
    let poll = move |number: u64| {
        status(&copied_id(original, number.wrapping_mul(0x9E37_79B9) % stored).to_string())
    };
    cells.extend(costs(&server, poll).await?);
    // The one run at a time waits for its model for ever.
    let model = Model::shut().await?;
    let path = server.agent(&model.url).await?.path;
    cells.extend(costs(&server, move |number| trigger(&path, None, number)).await?);
    cells.push(format!("{:.1}", server.memory()?.0));
    server.stop()?;
    cells.push(whole(
        fs::metadata(data.path().join("tables.sqlite"))?.len() as f64 / 1024.0 / 1024.0,
    ));
    Ok(cells)
}

/// Has an agent run a task, and stops the server again.
async fn first_task(binaries: &Path, data: &Path) -> Result<TaskId, Failure> {
    let server = Server::start(binaries, data, 1)?;
    let model = Model::shut().await?;
    model.open();
    let path = server.agent(&model.url).await?.path;
    let triggered = load(server.address, 1, Until::Sent(1), move |number| {
        trigger(&path, None, number)
    })
    .await?;
    let task = triggered.tasks()?.pop().ok_or("no task was triggered")?;
    succeeded(&mut Connection::open(server.address).await?, &task).await?;
    server.stop()?;
    TaskId::parse(&task).ok_or_else(|| "not a task's id".into())
}

/// The median and p99 alone, and the rate together with others, whose first round does
/// not count.
async fn costs(
    server: &Server,
    request: impl Fn(u64) -> Vec<u8> + Clone + 'static,
) -> Result<[String; 3], Failure> {
    let together = || load(server.address, 32, Until::Sent(TOGETHER), request.clone());
    together().await?;
    let (mut alone, mut rates) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        alone.extend(
            &load(server.address, 1, Until::Sent(ALONE), request.clone())
                .await?
                .times,
        );
        rates.push(together().await?.per_second());
    }
    Ok([
        fine(alone.median()),
        fine(alone.p99()),
        whole(rates.median()),
    ])
}
