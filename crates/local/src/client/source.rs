//! `agent source …`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use sources::{DocumentFormat, MAX_FILE_BYTES};
use store::error_chain;

use super::files::{FoundFile, content_type_of_file, find_files};
use super::{Client, ClientError, agent_path, text_field};
use crate::cli::{Deployment, SourceCommand};
use crate::output::{eprint_line, print_line, printable};

/// Largest file from which the client extracts the text.
const MAX_LOCAL_BYTES: u64 = 512 * 1024 * 1024;
const BAR: &str = "{msg} [{bar:32}] {bytes}/{total_bytes}";
const TICK: Duration = Duration::from_millis(100);

struct DocumentUpload {
    content_type: &'static str,
    bytes: Vec<u8>,
    /// The document's title, if the client sends the extracted text instead of the file.
    title: Option<String>,
}

pub(super) async fn run(command: SourceCommand) -> Result<(), ClientError> {
    match command {
        SourceCommand::Add {
            agent,
            files,
            title,
            deployment,
        } => add_paths(&files, &agent, title.as_deref(), &deployment).await,
        SourceCommand::List { agent, deployment } => list_documents(&agent, &deployment).await,
        SourceCommand::Delete {
            agent,
            source,
            deployment,
        } => delete_document(&agent, &source, &deployment).await,
    }
}

/// Adds each file, also if others cannot be added.
async fn add_paths(
    paths: &[PathBuf],
    agent: &str,
    title: Option<&str>,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    if title.is_some() && (paths.len() > 1 || paths.iter().any(|path| path.is_dir())) {
        return Err(ClientError::Usage("--title works only with one file"));
    }
    let found = find_files(paths);
    let client = Client::new(deployment)?;
    let agent = client.find_agent(agent).await?;
    let total = found.len();
    let (mut failed, mut names) = (0_usize, HashSet::new());
    for file in found {
        let added = match file {
            Ok(file) if names.insert(file.name.clone()) => {
                add_file(&client, &agent, &file, title).await
            }
            Ok(file) => Err(ClientError::Document {
                file: file.path.display().to_string(),
                reason: format!(
                    "another file of this command has the name {:?}, and would be replaced; rename one of them",
                    file.name
                ),
            }),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            if total == 1 {
                return Err(error);
            }
            failed += 1;
            eprint_line(format!("error: {}", error_chain(&error)));
        }
    }
    if failed > 0 {
        return Err(ClientError::SomeNotAdded { failed, total });
    }
    Ok(())
}

async fn add_file(
    client: &Client,
    agent: &Value,
    file: &FoundFile,
    title: Option<&str>,
) -> Result<(), ClientError> {
    let FoundFile { path: file, name } = file;
    let upload = prepare_upload(file)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("source", name);
    if let Some(title) = title.or(upload.title.as_deref()) {
        query.append_pair("title", title);
    }
    let bar = progress_bar(client, name, upload.bytes.len());
    let sent = bar.clone();
    let path = format!("{}/sources", agent_path(agent));
    let progress = move |bytes| sent.inc(bytes);
    let added = client
        .upload(
            &path,
            &query.finish(),
            upload.content_type,
            upload.bytes,
            progress,
        )
        .await;
    bar.finish_and_clear();
    let what = file.display().to_string();
    let added = added.map_err(|source| ClientError::NotAdded {
        file: what,
        source: Box::new(source),
    })?;
    match client.json {
        true => print_line(added.to_string()),
        false => print_line(document_line(&added)),
    }
    Ok(())
}

/// Shown only on a terminal, and not with `--json`.
fn progress_bar(client: &Client, name: &str, bytes: usize) -> ProgressBar {
    // It draws nothing if stderr is not a terminal.
    let target = if client.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(bytes as u64), target)
        .with_message(printable(name).into_owned());
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Returns the file itself, or its text if the file is too large for the API.
fn prepare_upload(file: &Path) -> Result<DocumentUpload, ClientError> {
    let what = file.display().to_string();
    let refused = |reason: String| ClientError::Document {
        file: what.clone(),
        reason,
    };
    let read = |source| ClientError::Read {
        what: what.clone(),
        source,
    };
    let metadata = std::fs::metadata(file).map_err(read)?;
    let content_type = content_type_of_file(file).ok_or_else(|| {
        let extensions = DocumentFormat::supported_extensions();
        refused(format!("the file name must end in one of {extensions}"))
    })?;
    if metadata.len() > MAX_LOCAL_BYTES {
        return Err(refused(format!(
            "the file is larger than {MAX_LOCAL_BYTES} bytes; split it"
        )));
    }
    let bytes = std::fs::read(file).map_err(read)?;
    let Some((format, _)) =
        DocumentFormat::from_content_type(content_type).filter(|_| bytes.len() > MAX_FILE_BYTES)
    else {
        return Ok(DocumentUpload {
            content_type,
            bytes,
            title: None,
        });
    };
    let reading =
        sources::read_document(&bytes, format, None).map_err(|error| refused(error.to_string()))?;
    Ok(DocumentUpload {
        content_type: "text/markdown",
        bytes: reading.text.into_bytes(),
        title: reading.title,
    })
}

async fn list_documents(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find_agent(agent).await?;
    let all = client
        .manage(
            Method::GET,
            &format!("{}/sources", agent_path(&agent)),
            None,
        )
        .await?;
    if client.json {
        print_line(all.to_string());
        return Ok(());
    }
    let documents = all
        .get("sources")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if documents.is_empty() {
        print_line("no documents yet; add some with `agent-webhooks agent source add AGENT FILE…`");
    }
    for document in documents {
        print_line(document_line(document));
    }
    Ok(())
}

async fn delete_document(
    agent: &str,
    source: &str,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find_agent(agent).await?;
    client
        .manage(
            Method::DELETE,
            &format!("{}/sources/{source}", agent_path(&agent)),
            None,
        )
        .await?;
    match client.json {
        true => print_line(json!({ "deleted": source }).to_string()),
        false => print_line(format!("deleted {source}")),
    }
    Ok(())
}

fn document_line(document: &Value) -> String {
    let passages = document.get("passages").unwrap_or(&Value::Null);
    let (id, source, title) = (
        text_field(document, "id"),
        text_field(document, "source"),
        text_field(document, "title"),
    );
    let unit = if passages.as_u64() == Some(1) {
        "passage"
    } else {
        "passages"
    };
    format!("{id}  {source}  {passages} {unit}  {title}")
}
