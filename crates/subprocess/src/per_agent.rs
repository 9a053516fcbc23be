//! Limits a resource per agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::AgentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits per agent, so that an agent never has more than this number of entries in a shared
/// queue.
#[derive(Clone, Debug)]
pub struct PerAgent {
    permits: usize,
    agents: Arc<Mutex<HashMap<AgentId, Weak<Semaphore>>>>,
}

impl PerAgent {
    pub fn new(permits: usize) -> Self {
        Self {
            permits,
            agents: Arc::default(),
        }
    }

    /// Waits for a permit of this agent. Never returns `None`, because the semaphores are never
    /// closed.
    pub async fn acquire(&self, agent: AgentId) -> Option<OwnedSemaphorePermit> {
        self.semaphore(agent).acquire_owned().await.ok()
    }

    fn semaphore(&self, agent: AgentId) -> Arc<Semaphore> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = agents.get(&agent).and_then(Weak::upgrade) {
            return semaphore;
        }
        agents.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.permits));
        agents.insert(agent, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn agents_wait_only_for_their_own_permits_and_unused_semaphores_are_removed() {
        let (one, two) = (AgentId::random([1; 16]), AgentId::random([2; 16]));
        let per_agent = PerAgent::new(1);
        let first = per_agent.acquire(one).await;
        let is_free = async |agent| {
            tokio::time::timeout(std::time::Duration::ZERO, per_agent.acquire(agent))
                .await
                .is_ok()
        };
        assert!(!is_free(one).await);
        assert!(is_free(two).await);
        drop(first);
        assert!(is_free(one).await);
        assert!(per_agent.agents.lock().unwrap().len() <= 2);
    }
}
