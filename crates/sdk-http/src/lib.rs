//! The HTTP client of the AWS clients: HTTP/1.1, which is all that the services support,
//! over rustls with `ring` and the system's CA certificates. The SDK's own client parses
//! all CA certificates again for each service, includes HTTP/2 and proxies, and cannot
//! connect before the first request.

mod ca_certificates;
mod client;
mod connect;
mod error;
mod pool;

pub use ca_certificates::trusted_certificates;
pub use client::AwsHttpClient;
