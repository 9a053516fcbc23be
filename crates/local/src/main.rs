//! Parses the command line, runs the command and returns its exit code: 0 success, 1 the
//! task failed or another error, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser as _;
use local::cli::{Cli, Command, LogFormat, ServeArgs};
use local::client::{self, ClientError};
use local::eprint_line;
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
            eprint_line(format!("error: failed to start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run());
    // Does not wait for blocking work, such as the deletion of expired items. Such work can
    // also be interrupted by a kill.
    runtime.shutdown_background();
    code
}

async fn run() -> ExitCode {
    let outcome = match Cli::parse().command() {
        Command::Serve(args) => return serve_exit_code(serve_with_traces(args).await),
        Command::Agent(command) => client::agent::run(command).await,
        Command::Secret(command) => client::secret::run(command).await,
        Command::Trigger(args) => client::trigger::run(args).await,
        Command::Status(args) => client::status::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The result is printed already.
        Err(ClientError::TaskFailed | ClientError::TestFailed) => ExitCode::FAILURE,
        Err(error) => {
            eprint_line(format!("error: {}", error_chain(&error)));
            ExitCode::from(if matches!(error, ClientError::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

/// Runs the server, and exports traces if the environment names a collector.
async fn serve_with_traces(args: ServeArgs) -> Result<(), ServeError> {
    let env = Env::process();
    let traces = Traces::from_env(&env, None)?;
    match args.log_format {
        LogFormat::Json => logs::to_stderr(traces.layer()),
        LogFormat::Text => logs::to_terminal(traces.layer()),
    }
    let settings = Settings::from_env(&env)?;
    traces.export_during(serve(args, settings)).await
}

fn serve_exit_code(outcome: Result<(), ServeError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(format!("error: {}", error_chain(&error)));
            ExitCode::FAILURE
        }
    }
}
