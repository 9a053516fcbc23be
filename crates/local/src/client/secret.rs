//! `secret …`

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Stdin, Write as _};

use domain::agent::check_kept_name;
use reqwest::Method;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::{Client, ClientError, text};
use crate::cli::{Deployment, SecretCommand};
use crate::say;

/// Runs one of the secret commands.
pub async fn run(command: SecretCommand) -> Result<(), ClientError> {
    match command {
        SecretCommand::Set { name, deployment } => set(&name, &deployment).await,
        SecretCommand::List { deployment } => list(&deployment).await,
        SecretCommand::Delete { name, deployment } => delete(&name, &deployment).await,
    }
}

async fn set(name: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let (path, client) = (path(name)?, Client::new(deployment)?);
    let value = typed_secret(name)?;
    client.manage(Method::PUT, &path, Some(&json!({ "value": value }))).await?;
    match client.json {
        true => say(json!({ "kept": name }).to_string()),
        false => say(format!("kept {name}; agents refer to it as {{\"secret\": \"{name}\"}}")),
    }
    Ok(())
}

async fn list(deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let all = client.manage(Method::GET, "/api/secrets", None).await?;
    if client.json {
        say(all.to_string());
        return Ok(());
    }
    let secrets = all.get("secrets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if secrets.is_empty() {
        say("no secrets yet; keep one with `secret set NAME`");
    }
    for secret in secrets {
        let users = secret.get("agents").and_then(Value::as_array).map_or(0, Vec::len);
        say(format!("{}  ({users} agents refer to it)", text(secret, "name")));
    }
    Ok(())
}

async fn delete(name: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    client.manage(Method::DELETE, &path(name)?, None).await?;
    match client.json {
        true => say(json!({ "deleted": name }).to_string()),
        false => say(format!("deleted {name}")),
    }
    Ok(())
}

/// Only names that a URL carries as they are.
fn path(name: &str) -> Result<String, ClientError> {
    match check_kept_name(name) {
        Ok(()) => Ok(format!("/api/secrets/{name}")),
        Err(_) => Err(ClientError::Usage(
            "the name of a secret has 1 to 256 letters, digits and - _ . / and does not begin with agents/",
        )),
    }
}

/// A secret from standard input, never from an argument: those show in `ps` and in
/// the shell's history. A terminal is asked for it, and does not show it.
pub(super) fn typed_secret(what: &str) -> Result<String, ClientError> {
    let stdin = io::stdin();
    let typed = if stdin.is_terminal() { asked(&stdin, what) } else { whole(&stdin) };
    let typed = typed.map_err(|source| ClientError::Read { what: "standard input".to_owned(), source })?;
    let secret = typed.strip_suffix('\n').unwrap_or(&typed);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret {
        "" => Err(ClientError::Usage("standard input is empty; type the secret, or pipe it in")),
        secret => Ok(secret.to_owned()),
    }
}

fn whole(stdin: &Stdin) -> io::Result<String> {
    let mut typed = String::new();
    stdin.lock().read_to_string(&mut typed)?;
    Ok(typed)
}

fn asked(stdin: &Stdin, what: &str) -> io::Result<String> {
    let hidden = Hidden::new(stdin)?;
    write!(io::stderr(), "{what}: ")?;
    let mut typed = String::new();
    stdin.lock().read_line(&mut typed)?;
    drop(hidden);
    writeln!(io::stderr())?;
    Ok(typed)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        tcsetattr(stdin, OptionalActions::Flush, &hidden)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that went away shows nothing anyway.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
