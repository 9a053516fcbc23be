//! What a data folder holds.

use std::sync::Arc;
use std::time::Duration;

use store::aws::Aws;
use store::{Agents, Documents, Secrets, Tasks, create_tables, index_tasks};

use super::{Engine, ServeError};
use crate::DataDir;

/// What was read of agents is forgotten at every change made in this process,
/// and no other process makes any.
const REMEMBER_AGENTS: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Stored {
    /// Has the tasks and the agents.
    pub(super) engine: Engine,
    pub(super) tasks: Tasks,
    pub(super) agents: Arc<Agents>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) documents: Documents,
    /// Nothing was here before this start.
    pub(super) is_new: bool,
}

impl Stored {
    /// Opens the databases, and makes those that are missing.
    pub(super) async fn open(data_dir: &DataDir) -> Result<Self, ServeError> {
        let (engine, is_new) = open_database(data_dir, "tables", &["tasks", "agents"]).await?;
        // In a file of their own, so that a large document holds up no task.
        let (documents, has_no_documents) = open_database(data_dir, "documents", &["documents"]).await?;
        if has_no_documents && !is_new {
            tracing::warn!(
                "documents.sqlite was missing and is empty now: upload the documents of agents again, or stop \
                 the server and put the file back (a folder of version 0.1.0 never had one)"
            );
        }
        let aws = Aws::embedded(engine.clone());
        index_tasks(&aws, "tasks").await?;
        Ok(Self {
            engine,
            tasks: Tasks::new(&aws, "tasks"),
            agents: Arc::new(Agents::new(&aws, "agents", REMEMBER_AGENTS)),
            secrets: Arc::new(Secrets::file(data_dir.secrets())),
            documents: Documents::new(&Aws::embedded(documents), "documents"),
            is_new,
        })
    }
}

/// A database, and whether it was made just now.
async fn open_database(
    data_dir: &DataDir,
    name: &str,
    tables: &[&str],
) -> Result<(Engine, bool), ServeError> {
    let is_new = !data_dir.has_database(name)?;
    if is_new {
        make_database(data_dir, name, tables).await?;
    }
    Ok((Engine::open(&data_dir.database(name))?, is_new))
}

/// Makes a database beside its place, since the engine makes a table in several
/// steps: a first start that is killed leaves nothing that a later one trips over.
async fn make_database(data_dir: &DataDir, name: &str, tables: &[&str]) -> Result<(), ServeError> {
    let draft = data_dir.draft_database(name)?;
    // The engine closes its file with the last of its clients, which is this one.
    create_tables(&Aws::embedded(Engine::open(&draft)?), tables).await?;
    Ok(data_dir.keep_draft_database(name, &draft)?)
}
