//! A signed JWT that authenticates a client (RFC 7523, `private_key_jwt`).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use domain::Moment;
use domain::agent::tools::SigningAlgorithm;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

/// Seconds that an assertion is valid. The clocks of two servers may differ.
const LIFETIME_SECONDS: u64 = 300;
/// Bytes of an ECDSA signature over P-256: two numbers.
const NUMBER_BYTES: usize = 32;

/// Signs an assertion for this audience. `None` if the key is not a private key as PEM for this
/// algorithm.
pub(super) fn sign_assertion(
    client_id: &str,
    audience: &str,
    algorithm: SigningAlgorithm,
    private_key: &str,
    now: Moment,
) -> Option<String> {
    let seconds = now.millis() / 1000;
    let header = json!({ "alg": algorithm.as_str(), "typ": "JWT" });
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience,
        "iat": seconds, "exp": seconds + LIFETIME_SECONDS,
        "jti": format!("{:016x}{:016x}", getrandom::u64().ok()?, getrandom::u64().ok()?),
    });
    let encoded = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let (header, claims) = (header.to_string(), claims.to_string());
    let message = format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    );
    let signature = sign(algorithm, private_key, message.as_bytes())?;
    Some(format!("{message}.{}", encoded(&signature)))
}

fn sign(algorithm: SigningAlgorithm, private_key: &str, message: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).ok()?;
    let key = any_supported_type(&key).ok()?;
    let scheme = match algorithm {
        SigningAlgorithm::Es256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        SigningAlgorithm::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
    };
    let signature = key.choose_scheme(&[scheme])?.sign(message).ok()?;
    match algorithm {
        SigningAlgorithm::Es256 => fixed_size_signature(&signature),
        SigningAlgorithm::Rs256 => Some(signature),
    }
}

/// A JWT has the two numbers of a signature one after the other (RFC 7518 section 3.4). TLS has
/// them as DER: a sequence of two integers.
fn fixed_size_signature(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, length, numbers @ ..] = der else {
        return None;
    };
    if usize::from(*length) != numbers.len() {
        return None;
    }
    let (first, rest) = split_integer(numbers)?;
    let (second, rest) = split_integer(rest)?;
    rest.is_empty().then(|| [first, second].concat())
}

/// Splits an integer off the beginning, and writes it with a fixed number of bytes.
fn split_integer(der: &[u8]) -> Option<([u8; NUMBER_BYTES], &[u8])> {
    let [0x02, length, rest @ ..] = der else {
        return None;
    };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    // A leading zero keeps the number positive.
    let digits = match digits {
        [0, digits @ ..] => digits,
        digits => digits,
    };
    let mut number = [0; NUMBER_BYTES];
    let start = NUMBER_BYTES.checked_sub(digits.len())?;
    number.get_mut(start..)?.copy_from_slice(digits);
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_gets_the_form_of_a_jwt() {
        // One number is short, the other has a leading zero.
        let mut der = vec![0x30, 37, 0x02, 0x01, 0x07, 0x02, 32, 0x00];
        der.extend([0xff; 31]);
        let der_length = u8::try_from(der.len() - 2).unwrap();
        der[1] = der_length;
        let fixed = fixed_size_signature(&der).unwrap();
        assert_eq!(fixed.len(), 64);
        assert_eq!(
            (fixed[30], fixed[31], fixed[32], fixed[33]),
            (0, 7, 0, 0xff)
        );
        for length in 0..der.len() {
            assert_eq!(fixed_size_signature(&der[..length]), None, "{length}");
        }
        let mut long = vec![0x30, 36, 0x02, 33];
        long.extend([1; 33]);
        assert_eq!(fixed_size_signature(&long), None);
    }

    /// The key and the signature are of OpenSSL.
    #[test]
    fn an_rsa_key_signs_as_another_implementation_does() {
        let key = include_str!("rsa-key-of-tests.pem");
        let signature = sign(SigningAlgorithm::Rs256, key, b"header.claims").unwrap();
        let expected = "a3KvTohOVTTAJDs+ni3cY+yl8xFQ+XqvDFEIRIRilQ7oRAG2Fgbp3JbBqrJ71ButrVA12rKp7tnXC9YTpNXDW1pS2f62h+jZ/Ql7cF28e+RAd+lO3ZOZdA6HcchZip2FYVPfJHFoSysA3oThgOT1AOHY401FzAzvgItp71G4QOexttGPaiwocSoQwnsnxAxhSvRm6ct1W0g8555UcFZGpOkO+geRoLup4kPN7C/GIDIWOuPMEMCmdenvkw8CZaK8wmkciQysIA7aTuCZh3I3uPxrF31FmX3CHVwve4tEfrCJgOazYqI8KgtvOnoHISCtHNE3vrEZ9Y8yktj9pnULrQ==";
        assert_eq!(base64::prelude::BASE64_STANDARD.encode(signature), expected);
        assert_eq!(sign(SigningAlgorithm::Es256, key, b"header.claims"), None);
    }

    #[test]
    fn a_key_that_is_not_a_private_key_signs_nothing() {
        for key in [
            "",
            "s3cret",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
                let now = Moment::from_millis(0);
                assert_eq!(sign_assertion("a", "b", algorithm, key, now), None);
            }
        }
    }
}
