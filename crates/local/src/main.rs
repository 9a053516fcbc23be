//! Parses what was typed and turns the outcome into an exit code: 0 done, 1 the
//! task failed or the server refused, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser as _;
use local::cli::{Cli, Command, LogFormat, ServeArgs};
use local::client::{self, ClientError};
use local::fail;
use local::serve::{ServeError, Settings, serve};
use store::env::Env;
use store::error_chain;
use traces::Traces;

fn main() -> ExitCode {
    if let Some(code) = subprocess::run_requested_job() {
        return code;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            fail(format!("error: failed to start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run());
    // What cannot be broken off, such as deleting expired items, may be cut short: it
    // survives a kill as well.
    runtime.shutdown_background();
    code
}

async fn run() -> ExitCode {
    let outcome = match Cli::parse().command() {
        Command::Serve(args) => return served(traced(args).await),
        Command::Agent(command) => client::agent::run(command).await,
        Command::Secret(command) => client::secret::run(command).await,
        Command::Trigger(args) => client::trigger::run(args).await,
        Command::Status(args) => client::status::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Its result is printed already.
        Err(ClientError::TaskFailed) => ExitCode::FAILURE,
        Err(error) => {
            fail(format!("error: {}", error_chain(&error)));
            ExitCode::from(if matches!(error, ClientError::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Serves, and exports traces meanwhile if the environment says where to.
async fn traced(args: ServeArgs) -> Result<(), ServeError> {
    let env = Env::process();
    let traces = Traces::from_env(&env, None)?;
    match args.log_format {
        LogFormat::Json => logs::to_stderr(traces.layer()),
        LogFormat::Text => logs::to_terminal(traces.layer()),
    }
    let settings = Settings::from_env(&env)?;
    traces.export_during(serve(args, settings)).await
}

fn served(outcome: Result<(), ServeError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(format!("error: {}", error_chain(&error)));
            ExitCode::FAILURE
        }
    }
}
