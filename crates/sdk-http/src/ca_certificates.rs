//! The CA certificates that the system trusts. [`rustls_native_certs`] finds them on any
//! system, but takes longer than the rest of a function's cold start. It decodes the
//! certificates in constant time although they are public, holds all of them in memory
//! at once, and also searches the folder beside the bundle.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use aws_smithy_types::base64;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// The bundles of Amazon Linux, which Lambda uses, and of Debian.
const BUNDLES: [&str; 2] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
];

/// Reads the system's CA certificates, or those that OpenSSL's environment variables name.
pub fn trusted_certificates() -> RootCertStore {
    match bundle_path().and_then(|file| parse_pem(BufReader::new(File::open(file).ok()?)).ok()) {
        Some(certificates) if !certificates.is_empty() => certificates,
        _ => native_certificates(),
    }
}

fn native_certificates() -> RootCertStore {
    let mut certificates = RootCertStore::empty();
    certificates.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    certificates
}

/// Returns `None` if the certificates are not in a single file.
fn bundle_path() -> Option<PathBuf> {
    if env::var_os("SSL_CERT_DIR").is_some() {
        return None;
    }
    env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .or_else(system_bundle)
}

fn system_bundle() -> Option<PathBuf> {
    BUNDLES.iter().map(PathBuf::from).find(|file| file.exists())
}

/// Parses PEM (RFC 7468). Between the certificates there may be names in any encoding.
fn parse_pem(mut bundle: impl BufRead) -> io::Result<RootCertStore> {
    let mut certificates = RootCertStore::empty();
    let mut digits = String::new();
    let mut line = Vec::new();
    while bundle.read_until(b'\n', &mut line)? > 0 {
        match line.trim_ascii_end() {
            b"-----BEGIN CERTIFICATE-----" => digits.clear(),
            b"-----END CERTIFICATE-----" => {
                if let Ok(certificate) = base64::decode(&digits) {
                    // A certificate that cannot be parsed is skipped.
                    let _ = certificates.add(CertificateDer::from(certificate));
                }
            }
            // A line that is not UTF-8 is not part of a certificate.
            more => digits.push_str(str::from_utf8(more).unwrap_or_default()),
        }
        line.clear();
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(certificates: &RootCertStore) -> Vec<Vec<u8>> {
        let mut subjects: Vec<_> = certificates
            .subjects()
            .iter()
            .map(|name| name.as_ref().to_vec())
            .collect();
        subjects.sort();
        subjects
    }

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["root".to_owned()])
            .unwrap()
            .cert
            .pem()
    }

    #[test]
    fn the_system_bundle_has_the_same_certificates_as_the_library_finds() {
        let Some(file) = system_bundle() else {
            return assert!(!native_certificates().is_empty());
        };
        let ours = parse_pem(BufReader::new(File::open(&file).unwrap())).unwrap();
        assert!(ours.len() > 50, "{}", ours.len());
        let mut expected = RootCertStore::empty();
        let certificates = rustls_native_certs::load_certs_from_paths(Some(&file), None).certs;
        expected.add_parsable_certificates(certificates);
        assert_eq!(subjects(&ours), subjects(&expected));
    }

    #[test]
    fn text_between_certificates_and_certificates_that_cannot_be_parsed_are_skipped() {
        let (first, second) = (certificate(), certificate());
        let broken = second.replacen("MII", "!!!", 1);
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let mut bundle = b"# Entit\xe9 AAAA\n".to_vec();
        let windows = first.replace('\n', "\r\n");
        for part in [
            &windows,
            &broken,
            not_a_certificate,
            key,
            "AAAA\n",
            second.trim_end(),
        ] {
            bundle.extend_from_slice(part.as_bytes());
        }
        assert_eq!(parse_pem(bundle.as_slice()).unwrap().len(), 2);
        assert_eq!(parse_pem(&b""[..]).unwrap().len(), 0);
    }
}
