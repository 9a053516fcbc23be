//! Parses what was typed and turns the outcome into an exit code: 0 done, 1 the
//! task failed or the server refused, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser as _;
use local::cli::{Cli, Command, LogFormat};
use local::{client, fail, serve};
use store::error_chain;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command() {
        Command::Serve(args) => {
            log_to_stderr(args.log_format);
            serve::serve(args).await.map_err(|error| error_chain(&error))
        }
        Command::Agent(command) => client::agent::run(command).await.map_err(|error| error_chain(&error)),
        Command::Trigger(args) => client::trigger::run(args).await.map_err(|error| error_chain(&error)),
        Command::Status(args) => client::status::run(args).await.map_err(|error| error_chain(&error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            if !message.is_empty() {
                fail(format!("error: {message}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let log = tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}
