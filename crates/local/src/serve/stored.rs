//! Opens the databases of a data folder, and builds what works on them.

use std::sync::Arc;
use std::time::Duration;

use api::Management;
use api::task_status::Statuses;
use api::webhook::Triggers;
use axum::Router;
use runner::{AccessTokens, Models, RunGate, RunSettings, Runner, Sources};
use store::aws::Aws;
use store::{
    Agents, Clock, Documents, MemoryQueue, Queue, Secrets, Tasks, create_tables, index_tasks,
};
use subprocess::Subprocesses;

use super::{Engine, ServeError};
use crate::DataDir;

/// Agents are cached. Every change in this process invalidates the cache, and no other
/// process changes agents.
const AGENT_CACHE_TTL: Duration = Duration::from_secs(10);

pub(super) struct Stored {
    /// Stores tasks and agents.
    pub(super) engine: Engine,
    pub(super) tasks: Tasks,
    pub(super) agents: Arc<Agents>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) documents: Documents,
    /// Whether this start created the database.
    pub(super) is_new: bool,
}

impl Stored {
    /// Opens the databases, and creates those that are missing.
    pub(super) async fn open(data_dir: &DataDir) -> Result<Self, ServeError> {
        let (engine, is_new) = open_database(data_dir, "tables", &["tasks", "agents"]).await?;
        // A separate file, so that writing a large document delays no task.
        let (documents, has_no_documents) =
            open_database(data_dir, "documents", &["documents"]).await?;
        if has_no_documents && !is_new {
            tracing::warn!(
                "documents.sqlite was missing and is now empty: upload the documents of agents again, or stop \
                 the server and restore the file (a folder of version 0.1.0 never had one)"
            );
        }
        let aws = Aws::embedded(engine.clone());
        index_tasks(&aws, "tasks").await?;
        Ok(Self {
            engine,
            tasks: Tasks::new(&aws, "tasks"),
            agents: Arc::new(Agents::new(&aws, "agents", AGENT_CACHE_TTL)),
            secrets: Arc::new(Secrets::file(data_dir.secrets_path())),
            documents: Documents::new(&Aws::embedded(documents), "documents"),
            is_new,
        })
    }

    /// All routes of the server.
    pub(super) fn routes(
        &self,
        management: &Management,
        queue: &Arc<MemoryQueue>,
        max_body_bytes: usize,
    ) -> Router {
        let triggers = Triggers {
            agents: Arc::clone(&self.agents),
            tasks: self.tasks.clone(),
            queue: Arc::new(Queue::Memory(Arc::clone(queue))),
            clock: management.clock.clone(),
            max_body_bytes,
        };
        let statuses = Statuses {
            tasks: self.tasks.clone(),
            clock: management.clock.clone(),
        };
        api::webhook::router(triggers)
            .merge(api::task_status::router(statuses))
            .merge(api::management_routes(management.clone()))
            .merge(pages::router())
    }

    pub(super) fn runner(
        &self,
        subprocesses: Subprocesses,
        models: Models,
        settings: RunSettings,
        clock: Clock,
    ) -> Runner {
        Runner {
            subprocesses,
            access_tokens: AccessTokens::default(),
            gate: RunGate::default(),
            tasks: self.tasks.clone(),
            sources: Arc::new(Sources::new(
                Arc::clone(&self.agents),
                self.documents.clone(),
            )),
            agents: Arc::clone(&self.agents),
            secrets: Arc::clone(&self.secrets),
            models,
            settings,
            clock,
        }
    }
}

/// Returns a database, and whether this call created it.
async fn open_database(
    data_dir: &DataDir,
    name: &str,
    tables: &[&str],
) -> Result<(Engine, bool), ServeError> {
    let is_new = !data_dir.has_database(name)?;
    if is_new {
        create_database(data_dir, name, tables).await?;
    }
    Ok((Engine::open(&data_dir.database_path(name))?, is_new))
}

/// Creates a database under a temporary name, because the engine creates a table in several
/// steps. A first start that is killed leaves no incomplete database.
async fn create_database(
    data_dir: &DataDir,
    name: &str,
    tables: &[&str],
) -> Result<(), ServeError> {
    let draft = data_dir.create_draft_database(name)?;
    // The engine closes its file when its last client is dropped, which is this one.
    create_tables(&Aws::embedded(Engine::open(&draft)?), tables).await?;
    Ok(data_dir.publish_draft_database(name, &draft)?)
}
