//! Limits of the HTTP server: numbers, sizes and timeouts.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::transfer::Pace;

/// Connections that are being closed for newer ones, in addition to the open ones.
pub(super) const CLOSING_CONNECTIONS: usize = 16;
/// Open files other than the callers' connections: the database, and the connections of
/// runs to their models.
const OTHER_FILES: usize = 64 + CLOSING_CONNECTIONS;
/// Lower bound, whatever the limit of open files is. With fewer the server is not usable.
const MIN_CONNECTIONS: usize = 16;

/// Limits for callers of the HTTP server.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Open connections. For each further one, another connection is closed.
    pub max_connections: usize,
    /// Time for the request line and the headers, from the opening of the connection or
    /// from the previous response.
    pub header_timeout: Duration,
    /// Maximum size of the request line and the headers, 8 KiB or more.
    pub max_header_bytes: usize,
    pub max_headers: usize,
    /// Longest time without a byte of a request body, or without the caller reading a byte
    /// of a response.
    pub idle_timeout: Duration,
    /// Time for a whole request body.
    pub body_timeout: Duration,
    /// A body, a response or a new connection is not interrupted for waiting requests
    /// before this time.
    pub grace: Duration,
    /// Minimum pace of a large body or response while other requests wait.
    pub min_bytes_per_second: u32,
    /// Concurrent requests. The database executes one write at a time, so more requests
    /// would wait for it.
    pub max_requests: usize,
    /// Concurrent requests of one route, for example of one agent's webhook.
    pub max_requests_per_route: usize,
    /// Waiting requests of one route. Further ones are refused at once.
    pub max_waiting_per_route: usize,
    /// Concurrent large request bodies; and separately, concurrent large responses.
    pub max_large_transfers: usize,
    /// Concurrent large request bodies of one route.
    pub max_large_bodies_per_route: usize,
    /// A body or response of more bytes is large.
    pub large_bytes: usize,
    /// A request that has waited this long for a permit is refused.
    pub permit_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            idle_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(1),
            // At half of this, the largest webhook body would exceed `body_timeout`.
            min_bytes_per_second: 32 * 1024,
            max_requests: 32,
            max_requests_per_route: 8,
            max_waiting_per_route: 256,
            max_large_transfers: 8,
            max_large_bodies_per_route: 4,
            large_bytes: 64 * 1024,
            permit_timeout: Duration::from_secs(3),
        }
    }
}

impl HttpLimits {
    pub(super) const fn pace(&self) -> Pace {
        Pace {
            grace: self.grace,
            bytes_per_second: self.min_bytes_per_second,
        }
    }

    /// Lowers the number of connections to what the limit of open files allows beside
    /// `runs` concurrent runs. Raises the process's limit to the maximum first.
    pub(crate) fn fit_to_open_files(self, runs: usize) -> Self {
        let files = raise_file_limit();
        let fitting = files
            .saturating_sub(OTHER_FILES + 2 * runs)
            .max(MIN_CONNECTIONS);
        if fitting < self.max_connections {
            tracing::warn!(
                files,
                connections = fitting,
                "the limit of open files allows fewer connections"
            );
        }
        Self {
            max_connections: self.max_connections.min(fitting),
            ..self
        }
    }
}

fn raise_file_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .is_ok();
    let allowed = if raised { maximum } else { current };
    allowed
        .and_then(|files| files.try_into().ok())
        .unwrap_or(usize::MAX)
}
