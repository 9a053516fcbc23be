//! How much is taken on at once, and how long anything may take.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open beside the callers' connections: the database, and the
/// connections of runs to their models.
const OTHER_FILES: usize = 64;
/// With fewer the server is of no use, whatever the system says.
const FEWEST_CONNECTIONS: usize = 16;

/// What callers may take up.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at once.
    pub connections: usize,
    /// A request's line and headers must have arrived after this, counted from
    /// the connection's opening or from the answer before.
    pub head: Duration,
    /// Most bytes of a request's line and headers, 8 KiB or more.
    pub head_bytes: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// Longest time without a byte of a body, or without a byte taken of an answer.
    pub pause: Duration,
    /// A body must have arrived after this.
    pub body: Duration,
    /// Requests worked on at once. The database does one write at a time, so
    /// more would wait inside.
    pub in_work: usize,
    /// How many of these may be for one path, that is for one agent's webhook.
    pub in_work_per_path: usize,
    /// Requests of one path that wait for their turn; those beyond are refused at once.
    pub waiting_per_path: usize,
    /// Large bodies taken in, and large answers given out, at once.
    pub large: usize,
    /// How many of these bodies may be for one path.
    pub large_per_path: usize,
    /// From this many bytes a body or an answer is large.
    pub large_from: usize,
    /// A request that did not get its turn by then is refused.
    pub turn: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            headers: 100,
            pause: Duration::from_secs(10),
            body: Duration::from_secs(30),
            in_work: 32,
            in_work_per_path: 8,
            waiting_per_path: 256,
            large: 8,
            large_per_path: 4,
            large_from: 64 * 1024,
            turn: Duration::from_secs(3),
        }
    }
}

impl HttpLimits {
    /// As many connections as this process may have files open, beside those of
    /// `runs` at a time. Raises the limit to what the system lets anybody have.
    pub(crate) fn fitted(self, runs: usize) -> Self {
        let files = allowed_files();
        let fitting = files.saturating_sub(OTHER_FILES + 2 * runs).max(FEWEST_CONNECTIONS);
        if fitting < self.connections {
            tracing::warn!(files, connections = fitting, "the limit of open files allows fewer connections");
        }
        Self { connections: self.connections.min(fitting), ..self }
    }
}

fn allowed_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if raised { maximum } else { current };
    allowed.and_then(|files| files.try_into().ok()).unwrap_or(usize::MAX)
}
