//! `secret …`

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Stdin, Write as _};

use domain::agent::check_secret_name;
use reqwest::Method;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::{Client, ClientError, text_field};
use crate::cli::{Deployment, SecretCommand};
use crate::print_line;

pub async fn run(command: SecretCommand) -> Result<(), ClientError> {
    match command {
        SecretCommand::Set { name, deployment } => set_secret(&name, &deployment).await,
        SecretCommand::List { deployment } => list_secrets(&deployment).await,
        SecretCommand::Delete { name, deployment } => delete_secret(&name, &deployment).await,
    }
}

async fn set_secret(name: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let (path, client) = (secret_path(name)?, Client::new(deployment)?);
    let value = read_secret_from_stdin(name)?;
    client
        .manage(Method::PUT, &path, Some(&json!({ "value": value })))
        .await?;
    match client.json {
        true => print_line(json!({ "kept": name }).to_string()),
        false => print_line(format!(
            "stored {name}; agents refer to it as {{\"secret\": \"{name}\"}}"
        )),
    }
    Ok(())
}

async fn list_secrets(deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let all = client.manage(Method::GET, "/api/secrets", None).await?;
    if client.json {
        print_line(all.to_string());
        return Ok(());
    }
    let secrets = all
        .get("secrets")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if secrets.is_empty() {
        print_line("no secrets yet; store one with `agent-webhooks secret set NAME`");
    }
    for secret in secrets {
        let users = secret
            .get("agents")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        print_line(format!(
            "{}  ({users} agents refer to it)",
            text_field(secret, "name")
        ));
    }
    Ok(())
}

async fn delete_secret(name: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    client
        .manage(Method::DELETE, &secret_path(name)?, None)
        .await?;
    match client.json {
        true => print_line(json!({ "deleted": name }).to_string()),
        false => print_line(format!("deleted {name}")),
    }
    Ok(())
}

/// Accepts only names that need no encoding in a URL.
fn secret_path(name: &str) -> Result<String, ClientError> {
    match check_secret_name(name) {
        Ok(()) => Ok(format!("/api/secrets/{name}")),
        Err(_) => Err(ClientError::Usage(
            "the name of a secret must have 1 to 256 letters, digits and - _ . /, and must not start with \
             agents/",
        )),
    }
}

/// Reads a secret from standard input, never from an argument: arguments are visible in
/// `ps` and in the shell's history. On a terminal this prompts for it, with echo off.
pub(super) fn read_secret_from_stdin(what: &str) -> Result<String, ClientError> {
    let stdin = io::stdin();
    let typed = if stdin.is_terminal() {
        prompt_hidden(&stdin, what)
    } else {
        read_all(&stdin)
    };
    let typed = typed.map_err(|source| ClientError::Read {
        what: "standard input".to_owned(),
        source,
    })?;
    let secret = typed.strip_suffix('\n').unwrap_or(&typed);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret {
        "" => Err(ClientError::Usage(
            "standard input is empty; type the secret, or pipe it to the command",
        )),
        secret => Ok(secret.to_owned()),
    }
}

fn read_all(stdin: &Stdin) -> io::Result<String> {
    let mut typed = String::new();
    stdin.lock().read_to_string(&mut typed)?;
    Ok(typed)
}

fn prompt_hidden(stdin: &Stdin, what: &str) -> io::Result<String> {
    let hidden = HiddenInput::new(stdin)?;
    write!(io::stderr(), "{what}: ")?;
    let mut typed = String::new();
    stdin.lock().read_line(&mut typed)?;
    drop(hidden);
    writeln!(io::stderr())?;
    Ok(typed)
}

/// Switches a terminal's echo off until this is dropped.
struct HiddenInput<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        tcsetattr(stdin, OptionalActions::Flush, &hidden)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // This fails only if the terminal is closed.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
