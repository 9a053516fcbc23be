//! The certificates that the system trusts. [`rustls_native_certs`] finds them on any
//! system, and takes longer than all else that a function begins with: it decodes in
//! constant time what is no secret, keeps all of it at once, and looks through the
//! folder of certificates beside their bundle.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use aws_smithy_types::base64;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// Amazon Linux's, which Lambda has, and Debian's.
const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// All of them, or those that OpenSSL's variables name.
pub fn trusted() -> RootCertStore {
    match bundle().and_then(|file| read(BufReader::new(File::open(file).ok()?)).ok()) {
        Some(roots) if !roots.is_empty() => roots,
        _ => anywhere(),
    }
}

fn anywhere() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The one file that holds them all, if it is one.
fn bundle() -> Option<PathBuf> {
    if env::var_os("SSL_CERT_DIR").is_some() {
        return None;
    }
    env::var_os("SSL_CERT_FILE").map(PathBuf::from).or_else(known_bundle)
}

fn known_bundle() -> Option<PathBuf> {
    BUNDLES.iter().map(PathBuf::from).find(|file| file.exists())
}

/// PEM (RFC 7468), with names of any encoding between the certificates.
fn read(mut bundle: impl BufRead) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut digits = String::new();
    let mut line = Vec::new();
    while bundle.read_until(b'\n', &mut line)? > 0 {
        match line.trim_ascii_end() {
            b"-----BEGIN CERTIFICATE-----" => digits.clear(),
            b"-----END CERTIFICATE-----" => {
                if let Ok(certificate) = base64::decode(&digits) {
                    // A root that does not read vouches for nobody.
                    let _ = roots.add(CertificateDer::from(certificate));
                }
            }
            // Whatever is not text is no part of one.
            more => digits.push_str(str::from_utf8(more).unwrap_or_default()),
        }
        line.clear();
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(roots: &RootCertStore) -> Vec<Vec<u8>> {
        let mut subjects: Vec<_> = roots.subjects().iter().map(|name| name.as_ref().to_vec()).collect();
        subjects.sort();
        subjects
    }

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["root".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn the_system_s_bundle_reads_as_the_library_reads_it() {
        let Some(file) = known_bundle() else {
            return assert!(!anywhere().is_empty());
        };
        let ours = read(BufReader::new(File::open(&file).unwrap())).unwrap();
        assert!(ours.len() > 50, "{}", ours.len());
        let mut found = RootCertStore::empty();
        let certificates = rustls_native_certs::load_certs_from_paths(Some(&file), None).certs;
        found.add_parsable_certificates(certificates);
        assert_eq!(subjects(&ours), subjects(&found));
    }

    #[test]
    fn what_stands_between_them_and_what_does_not_read_is_passed_over() {
        let (first, second) = (certificate(), certificate());
        let broken = second.replacen("MII", "!!!", 1);
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let mut bundle = b"# Entit\xe9 AAAA\n".to_vec();
        let windows = first.replace('\n', "\r\n");
        for part in [&windows, &broken, no_certificate, key, "AAAA\n", second.trim_end()] {
            bundle.extend_from_slice(part.as_bytes());
        }
        assert_eq!(read(bundle.as_slice()).unwrap().len(), 2);
        assert_eq!(read(&b""[..]).unwrap().len(), 0);
    }
}
