//! Outgoing HTTP calls, to models and tools: the client, its threads, and which addresses it
//! may reach ([`PrivateHosts`]).
//!
//! Lambda freezes a process between two invocations. A frozen process does not see that a
//! server has closed a connection, and the next request over it fails. The client's idle
//! timeout does not help where the monotonic clock stops during a freeze. So after a freeze
//! the client is replaced, with all its connections.
//!
//! Connections are read on separate threads. hyper reads interim responses (1xx) for as long
//! as more of them arrive: up to 128 times 400 KB before another task of the thread runs. A
//! server that sends nothing else blocks such a thread until the time limit of the call, but
//! never a thread that serves callers. The calls of an agent share the threads of one group,
//! so with two such servers an agent delays a quarter of the agents and no others. A
//! connection that another agent reuses stays with the group that opened it.

mod addresses;
mod private_hosts;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use domain::AgentId;
use reqwest::{Client, redirect};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

pub use private_hosts::PrivateHosts;
pub(crate) use private_hosts::{RefusedAddress, refused_in};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that disappeared without closing the connection is detected after a few of these.
/// A slow server may use the whole time limit of the run.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A connection that was idle for this long is not reused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Groups of threads for connections. The first call of a group starts its threads.
const CONNECTION_GROUPS: usize = 4;
/// With one thread, a single server could block a group.
const THREADS_OF_A_GROUP: usize = 2;
/// About a tenth of the processor time of a thread that serves callers, when both are busy.
#[cfg(target_os = "linux")]
const CONNECTION_NICENESS: i32 = 10;
/// The clocks of one process may drift apart by less than this without a freeze.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Reaches public hosts and the allowed private hosts. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Egress {
    current: Arc<Mutex<Current>>,
    private_hosts: PrivateHosts,
}

#[derive(Debug)]
struct Current {
    client: Client,
    /// Short freezes add up until the client is replaced.
    built_at: Clocks,
}

/// One moment on the clock that continues during a freeze and on the one that may stop.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Egress {
    pub(crate) fn new(private_hosts: PrivateHosts) -> Result<Self, reqwest::Error> {
        let current = Current {
            client: build(&private_hosts)?,
            built_at: Clocks::now(),
        };
        Ok(Self {
            current: Arc::new(Mutex::new(current)),
            private_hosts,
        })
    }

    /// Returns a client for a call of this URL, without connections from before a freeze.
    /// Refuses a URL that calls may not reach. The client itself checks only names, when it
    /// resolves them.
    pub(crate) fn client_for(&self, url: &Url) -> Result<Client, RefusedAddress> {
        self.private_hosts.check(url)?;
        Ok(self.client_at(Clocks::now()))
    }

    fn client_at(&self, now: Clocks) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.built_at.was_frozen_until(now) {
            match build(&self.private_hosts) {
                Ok(client) => {
                    *current = Current {
                        client,
                        built_at: now,
                    }
                }
                Err(error) => tracing::error!(%error, "HTTP client not replaced after a freeze"),
            }
        }
        current.client.clone()
    }
}

impl Clocks {
    fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    fn was_frozen_until(self, now: Self) -> bool {
        let monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        match now.wall.duration_since(self.wall) {
            Ok(wall) => wall.saturating_sub(monotonic) > CLOCK_TOLERANCE,
            // The wall clock was set back.
            Err(_) => false,
        }
    }
}

fn build(private_hosts: &PrivateHosts) -> Result<Client, reqwest::Error> {
    Client::builder()
        .tls_backend_preconfigured(tls())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(private_hosts.clone()))
        .user_agent(concat!("agent-webhooks/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends a request on the connection threads of this agent, which also read the response.
/// The request is cancelled when the future is dropped.
pub(crate) async fn on_connection_threads<T: Send + 'static>(
    agent: Option<AgentId>,
    request: impl Future<Output = T> + Send + 'static,
) -> T {
    static GROUPS: [OnceLock<Option<Runtime>>; CONNECTION_GROUPS] =
        [const { OnceLock::new() }; CONNECTION_GROUPS];
    let mut hasher = DefaultHasher::new();
    agent.hash(&mut hasher);
    let [byte, ..] = hasher.finish().to_ne_bytes();
    let group = GROUPS.iter().cycle().nth(usize::from(byte));
    let threads = group.and_then(|group| group.get_or_init(start_threads).as_ref());
    let Some(threads) = threads else {
        return request.await;
    };
    match AbortOnDropHandle::new(threads.spawn(request)).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The process is ending.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Uses the CA certificates of the system. They are read once per process, because reading
/// them takes longest here, and a client is replaced after every freeze.
fn tls() -> ClientConfig {
    static TLS: OnceLock<ClientConfig> = OnceLock::new();
    let read = || {
        // Fails if it is already installed, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = sdk_http::trusted_certificates();
        let mut config = ClientConfig::builder()
            .with_root_certificates(certificates)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    };
    TLS.get_or_init(read).clone()
}

fn start_threads() -> Option<Runtime> {
    let mut threads = Builder::new_multi_thread();
    threads
        .worker_threads(THREADS_OF_A_GROUP)
        .thread_name("connections")
        .enable_io()
        .enable_time();
    // On other systems this would set the priority of the whole process.
    #[cfg(target_os = "linux")]
    threads.on_thread_start(|| {
        // If this fails, the threads have the same priority as all others.
        let _ = rustix::process::setpriority_process(None, CONNECTION_NICENESS);
    });
    let started = threads.build();
    started
        .inspect_err(|error| tracing::error!(%error, "connection threads not started"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use futures::future::join_all;

    use super::*;

    impl Clocks {
        fn after(self, wall: u64, monotonic: u64) -> Self {
            Self {
                wall: self.wall + Duration::from_secs(wall),
                monotonic: self.monotonic + Duration::from_secs(monotonic),
            }
        }
    }

    #[test]
    fn a_process_was_frozen_if_only_the_wall_clock_advanced() {
        let before = Clocks::now();
        assert!(before.was_frozen_until(before.after(600, 0)));
        assert!(before.was_frozen_until(before.after(600, 590)));
        assert!(!before.was_frozen_until(before.after(600, 600)));
        assert!(!before.was_frozen_until(before.after(1, 0)), "clocks drift");
        assert!(
            !before.after(600, 0).was_frozen_until(before.after(0, 1)),
            "the clock was set back"
        );
    }

    /// A server that counts its connections and answers every request on them.
    fn server() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() {
                            (&stream)
                                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                                .unwrap();
                        }
                    }
                });
            }
        });
        (url, connections)
    }

    #[tokio::test]
    async fn connections_are_reused_unless_the_process_was_frozen() {
        let (url, connections) = server();
        let egress = Egress::new(PrivateHosts::any()).unwrap();
        let now = Clocks::now();
        let moments = [
            (0, 0, 1),
            (1, 1, 1),
            (600, 2, 2),
            (601, 3, 2),
            (603, 3, 2),
            (605, 3, 3),
        ];
        for (wall, monotonic, opened) in moments {
            let at = now.after(wall, monotonic);
            egress.client_at(at).get(&url).send().await.unwrap();
            assert_eq!(connections.load(Ordering::SeqCst), opened);
        }
    }

    #[tokio::test]
    async fn the_calls_of_an_agent_share_a_quarter_of_the_threads_for_connections() {
        let threads = async |agent| {
            let calls = (0..100)
                .map(|_| on_connection_threads(Some(agent), async { thread::current().id() }));
            join_all(calls).await.into_iter().collect::<HashSet<_>>()
        };
        let mut all = HashSet::new();
        for agent in 0..100 {
            let of_agent = threads(AgentId::random([agent; 16])).await;
            assert!(of_agent.len() <= THREADS_OF_A_GROUP);
            all.extend(of_agent);
        }
        assert!(
            (CONNECTION_GROUPS..=CONNECTION_GROUPS * THREADS_OF_A_GROUP).contains(&all.len()),
            "{all:?}"
        );
    }
}
