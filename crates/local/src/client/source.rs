//! `agent source …`

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use sources::{Format, MAX_FILE_BYTES};

use super::agent::path;
use super::{Client, ClientError, text};
use crate::cli::{Deployment, SourceCommand};
use crate::say::{printable, say};

/// Largest file that is read here for its text.
const MOST_READ_HERE: u64 = 512 * 1024 * 1024;
const BAR: &str = "{msg} [{bar:32}] {bytes}/{total_bytes}";
const TICK: Duration = Duration::from_millis(100);

/// A file, as it is sent.
struct Outgoing {
    content_type: &'static str,
    bytes: Vec<u8>,
    /// The title, if the file is not sent as it is.
    title: Option<String>,
}

pub(super) async fn run(command: SourceCommand) -> Result<(), ClientError> {
    match command {
        SourceCommand::Add { agent, files, title, deployment } => {
            if title.is_some() && files.len() > 1 {
                return Err(ClientError::Usage("--title is for one file"));
            }
            let client = Client::new(&deployment)?;
            let agent = client.find(&agent).await?;
            for file in &files {
                add(&client, &agent, file, title.as_deref()).await?;
            }
            Ok(())
        }
        SourceCommand::List { agent, deployment } => list(&agent, &deployment).await,
        SourceCommand::Delete { agent, source, deployment } => delete(&agent, &source, &deployment).await,
    }
}

async fn add(client: &Client, agent: &Value, file: &Path, title: Option<&str>) -> Result<(), ClientError> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let outgoing = outgoing(file)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("source", &name);
    if let Some(title) = title.or(outgoing.title.as_deref()) {
        query.append_pair("title", title);
    }
    let bar = bar(client, &name, outgoing.bytes.len());
    let sent = bar.clone();
    let path = format!("{}/sources", path(agent));
    let progress = move |bytes| sent.inc(bytes);
    let added = client.upload(&path, &query.finish(), outgoing.content_type, outgoing.bytes, progress).await;
    bar.finish_and_clear();
    let what = file.display().to_string();
    let added = added.map_err(|source| ClientError::NotAdded { file: what, source: Box::new(source) })?;
    match client.json {
        true => say(added.to_string()),
        false => say(line(&added)),
    }
    Ok(())
}

/// On the terminal alone; nothing for programs.
fn bar(client: &Client, name: &str, bytes: usize) -> ProgressBar {
    // It draws nothing where stderr is no terminal.
    let target = if client.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar =
        ProgressBar::with_draw_target(Some(bytes as u64), target).with_message(printable(name).into_owned());
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// The file as it is, or, if the API does not take so much, its text.
fn outgoing(file: &Path) -> Result<Outgoing, ClientError> {
    let what = file.display().to_string();
    let refused = |reason: String| ClientError::Document { file: what.clone(), reason };
    let read = |source| ClientError::Read { what: what.clone(), source };
    let metadata = std::fs::metadata(file).map_err(read)?;
    if metadata.is_dir() {
        return Err(refused("it is a folder; name the files in it".to_owned()));
    }
    let content_type = content_type(file).ok_or_else(|| {
        refused("its name must end in .txt, .md, .markdown, .html, .htm or .pdf".to_owned())
    })?;
    if metadata.len() > MOST_READ_HERE {
        return Err(refused(format!("it is larger than {MOST_READ_HERE} bytes; split it")));
    }
    let bytes = std::fs::read(file).map_err(read)?;
    let Some((format, _)) = Format::of(content_type).filter(|_| bytes.len() > MAX_FILE_BYTES) else {
        return Ok(Outgoing { content_type, bytes, title: None });
    };
    let reading = sources::read(&bytes, format, None).map_err(|error| refused(error.to_string()))?;
    Ok(Outgoing { content_type: "text/markdown", bytes: reading.text.into_bytes(), title: reading.title })
}

fn content_type(file: &Path) -> Option<&'static str> {
    match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "txt" | "text" => Some("text/plain"),
        "md" | "markdown" => Some("text/markdown"),
        "html" | "htm" | "xhtml" => Some("text/html"),
        "pdf" => Some("application/pdf"),
        _ => None,
    }
}

async fn list(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find(agent).await?;
    let all = client.manage(Method::GET, &format!("{}/sources", path(&agent)), None).await?;
    if client.json {
        say(all.to_string());
        return Ok(());
    }
    let documents = all.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if documents.is_empty() {
        say("no documents yet; add some with `agent source add`");
    }
    for document in documents {
        say(line(document));
    }
    Ok(())
}

async fn delete(agent: &str, source: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find(agent).await?;
    client.manage(Method::DELETE, &format!("{}/sources/{source}", path(&agent)), None).await?;
    match client.json {
        true => say(json!({ "deleted": source }).to_string()),
        false => say(format!("deleted {source}")),
    }
    Ok(())
}

fn line(document: &Value) -> String {
    let passages = document.get("passages").unwrap_or(&Value::Null);
    let (id, source, title) = (text(document, "id"), text(document, "source"), text(document, "title"));
    format!("{id}  {source}  {passages} passages  {title}")
}
