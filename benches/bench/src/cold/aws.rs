//! DynamoDB and SQS as far as cold starts go: TLS with a certificate of this run,
//! HTTP/1.1 as both services support it, and for every call the one answer it gets
//! when all is well.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::records::Records;
use crate::Failure;
use crate::http::Served;

/// The CA certificates of Debian, about as many as those of Amazon Linux.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Both services, each at a port of its own, as they are hosts of their own on AWS.
pub(super) struct Aws {
    pub(super) dynamodb: String,
    pub(super) sqs: String,
    /// The system's CA certificates, and that of this run.
    pub(super) certificates: PathBuf,
}

impl Aws {
    pub(super) fn start(records: Records, folder: &Path) -> Result<Self, Failure> {
        let (config, root) = certified()?;
        let certificates = folder.join("bench-ca-certificates.pem");
        fs::copy(SYSTEM_CERTIFICATES, &certificates)
            .map_err(|error| format!("cannot copy {SYSTEM_CERTIFICATES}: {error}"))?;
        fs::OpenOptions::new()
            .append(true)
            .open(&certificates)?
            .write_all(root.as_bytes())?;
        let (config, records) = (Arc::new(config), Arc::new(records));
        Ok(Self {
            dynamodb: serve(&config, &records)?,
            sqs: serve(&config, &records)?,
            certificates,
        })
    }
}

/// A root, an intermediate and the server's certificate, as AWS has them.
fn certified() -> Result<(ServerConfig, String), Failure> {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(authority(), KeyPair::generate()?)?;
    let intermediate = CertifiedIssuer::signed_by(authority(), KeyPair::generate()?, &root)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &intermediate)?;
    let chain = [leaf.der(), intermediate.der()].map(|der| CertificateDer::from(der.to_vec()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain.to_vec(), key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, root.pem()))
}

fn serve(config: &Arc<ServerConfig>, records: &Arc<Records>) -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let (config, records) = (Arc::clone(config), Arc::clone(records));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, records) = (Arc::clone(&config), Arc::clone(&records));
            // Killed functions leave their connections in the middle of anything.
            thread::spawn(move || converse(stream, config, &records).ok());
        }
    });
    // A name, so that it is resolved as on AWS.
    Ok(format!("https://localhost:{port}"))
}

fn converse(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    records: &Records,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut connection = Served::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    while let Some(request) = connection.request()? {
        let operation = request.header("x-amz-target").unwrap_or_default();
        let operation = operation
            .rsplit_once('.')
            .map(|(_, name)| name)
            .unwrap_or_default();
        let (status, body) = match (operation, request.body.as_slice()) {
            // What a connection is opened with ahead of its first call.
            ("", _) => ("200 OK", "healthy".to_owned()),
            (operation, body) => answer(operation, &serde_json::from_slice(body)?, records),
        };
        let headers = "x-amzn-requestid: 9B8I3BEXAMPLE\r\ncontent-type: application/x-amz-json-1.0\r\n\
                       x-amz-crc32: 2745614147\r\n";
        connection.answer(status, headers, body.as_bytes())?;
    }
    Ok(())
}

fn answer(operation: &str, call: &Value, records: &Records) -> (&'static str, String) {
    let id = call
        .pointer("/Key/id/S")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let answer = match operation {
        "GetItem" => json!({ "Item": records.at(id) }),
        "PutItem" => json!({}),
        // Only a claim wants to see what it has made.
        "UpdateItem" if call["ReturnValues"] == "ALL_NEW" => {
            json!({ "Attributes": records.claimed })
        }
        "UpdateItem" => json!({}),
        "SendMessage" => json!({
            "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
            "MD5OfMessageBody": "fafb00f5732ab283681e124bf8747ed1",
        }),
        "GetSecretValue" => {
            json!({ "Name": "bench", "SecretString": "0123456789012345678901234567890123456789012" })
        }
        _ => {
            return (
                "400 Bad Request",
                json!({ "__type": "UnknownOperationException" }).to_string(),
            );
        }
    };
    ("200 OK", answer.to_string())
}
