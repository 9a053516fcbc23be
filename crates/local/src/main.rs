//! Parses what was typed and turns the outcome into an exit code: 0 done, 1 the
//! task failed or the server refused, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser as _;
use local::cli::{Cli, Command, LogFormat};
use local::client::{self, ClientError};
use local::fail;
use local::serve::{ServeError, Settings, serve};
use store::env::Env;
use store::error_chain;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command() {
        Command::Serve(args) => {
            log_to_stderr(args.log_format);
            return match Settings::from_env(&Env::process()) {
                Ok(settings) => served(serve(args, settings).await),
                Err(error) => served(Err(error.into())),
            };
        }
        Command::ReadPdf => return api::agents::read_pdf_for_parent(),
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

fn served(outcome: Result<(), ServeError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(format!("error: {}", error_chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    match format {
        LogFormat::Json => logs::to_stderr(),
        LogFormat::Text => tracing_subscriber::fmt()
            .with_target(false)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
    }
}
