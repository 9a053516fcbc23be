//! How much is taken on at once, and how long anything may take.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::transfer::Pace;

/// Connections that are being closed for newer ones, beside those that are open.
pub(super) const CLOSING_CONNECTIONS: usize = 16;
/// Files that are open beside the callers' connections: the database, and the
/// connections of runs to their models.
const OTHER_FILES: usize = 64 + CLOSING_CONNECTIONS;
/// With fewer the server is of no use, whatever the system says.
const FEWEST_CONNECTIONS: usize = 16;

/// What callers may take up.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at once. For one more, another one is closed.
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
    /// While others wait, a body, an answer or a new connection is not ended before this.
    pub grace: Duration,
    /// While others wait, a large body or answer must move at least this fast.
    pub bytes_per_second: u32,
    /// Requests worked on at once. The database does one write at a time, so
    /// more would wait inside.
    pub in_work: usize,
    /// How many of these may be for one path in all its spellings, that is for one
    /// agent's webhook.
    pub in_work_per_path: usize,
    /// Requests of one path that wait for their turn; those beyond are refused at once.
    pub waiting_per_path: usize,
    /// Large bodies received, and large answers sent, at once.
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
            grace: Duration::from_secs(1),
            // The largest webhook body would not arrive within `body` at half of this.
            bytes_per_second: 32 * 1024,
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
    pub(super) const fn pace(&self) -> Pace {
        Pace { grace: self.grace, bytes_per_second: self.bytes_per_second }
    }

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
