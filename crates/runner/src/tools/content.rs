//! Decompresses and decodes the response of a tool's server.

use std::io::{self, Write};

use encoding_rs::{EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

/// The charset is searched in this many bytes of a page or an XML document.
const CHARSET_SEARCH_BYTES: usize = 1024;

/// The `Content-Encoding` of a response. It is sent without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Unsupported(String),
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let all = headers.get_all(CONTENT_ENCODING).iter();
        let names: Vec<String> = all
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !matches!(name.as_str(), "" | "identity"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => Self::Identity,
            ["gzip" | "x-gzip"] => Self::Gzip,
            ["deflate"] => Self::Deflate,
            names => Self::Unsupported(names.join(", ")),
        }
    }
}

/// Up to `most` bytes.
struct Beginning {
    bytes: Vec<u8>,
    most: usize,
    is_cut: bool,
}

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most.saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(room));
        if bytes.len() > room {
            self.is_cut = true;
            return Err(io::Error::other("enough"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Plain(Beginning),
    /// The first byte decides between zlib, which the standard means, and bare deflate, which
    /// some servers send.
    Undecided(Beginning),
    Gzip(MultiGzDecoder<Beginning>),
    Zlib(ZlibDecoder<Beginning>),
    Deflate(DeflateDecoder<Beginning>),
}

/// Collects the beginning of a body, decompressed.
pub(super) struct BodyReader {
    decoder: Option<Decoder>,
    /// Compressed bytes that are read at most. They could decompress to nothing.
    input_left: usize,
    is_started: bool,
}

/// The compressed body is damaged or incomplete.
#[derive(Debug)]
pub(super) struct DamagedBody;

impl BodyReader {
    pub(super) fn new(coding: &Coding, most: usize) -> Self {
        let beginning = Beginning {
            bytes: Vec::new(),
            most,
            is_cut: false,
        };
        let decoder = match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(beginning)),
            Coding::Deflate => Decoder::Undecided(beginning),
            Coding::Identity | Coding::Unsupported(_) => Decoder::Plain(beginning),
        };
        Self {
            decoder: Some(decoder),
            input_left: most.saturating_mul(2).saturating_add(64 * 1024),
            is_started: false,
        }
    }

    /// Returns whether more of the body is needed.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<bool, DamagedBody> {
        let Some(first) = chunk.first() else {
            return Ok(true);
        };
        self.is_started = true;
        let mut decoder = match self.decoder.take().ok_or(DamagedBody)? {
            // The method is 8 in a zlib header (RFC 1950 section 2.2).
            Decoder::Undecided(output) if first & 0x0f == 8 => {
                Decoder::Zlib(ZlibDecoder::new(output))
            }
            Decoder::Undecided(output) => Decoder::Deflate(DeflateDecoder::new(output)),
            decoder => decoder,
        };
        let written = match &mut decoder {
            Decoder::Plain(output) | Decoder::Undecided(output) => output.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk),
            Decoder::Zlib(decoder) => decoder.write_all(chunk),
            Decoder::Deflate(decoder) => decoder.write_all(chunk),
        };
        let is_plain = matches!(decoder, Decoder::Plain(_));
        let is_cut = decoder.output().is_cut;
        self.decoder = Some(decoder);
        if written.is_err() && !is_cut {
            return Err(DamagedBody);
        }
        if !is_plain {
            let left = self.input_left.checked_sub(chunk.len());
            self.input_left = left.ok_or(DamagedBody)?;
        }
        Ok(!is_cut)
    }

    /// The bytes, and whether there are more.
    pub(super) fn finish(self) -> Result<(Vec<u8>, bool), DamagedBody> {
        let mut decoder = self.decoder.ok_or(DamagedBody)?;
        let is_cut = decoder.output().is_cut;
        let is_complete = match &mut decoder {
            _ if is_cut || !self.is_started => true,
            Decoder::Plain(_) | Decoder::Undecided(_) => true,
            Decoder::Gzip(decoder) => decoder.try_finish().is_ok(),
            Decoder::Zlib(decoder) => decoder.try_finish().is_ok(),
            Decoder::Deflate(decoder) => decoder.try_finish().is_ok(),
        };
        let output = decoder.output_mut();
        match is_complete || output.is_cut {
            true => Ok((std::mem::take(&mut output.bytes), output.is_cut)),
            false => Err(DamagedBody),
        }
    }
}

impl Decoder {
    fn output(&self) -> &Beginning {
        match self {
            Self::Plain(output) | Self::Undecided(output) => output,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zlib(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
        }
    }

    fn output_mut(&mut self) -> &mut Beginning {
        match self {
            Self::Plain(output) | Self::Undecided(output) => output,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }
}

/// The `charset` of a `Content-Type`, if it is known.
pub(super) fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = value.split(';').skip(1);
    parameters.find_map(|parameter| {
        let (name, label) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        let label = label.trim().trim_matches(['"', '\'']);
        is_charset.then(|| encoding_for(label))?
    })
}

/// The encoding of a name, also of some that are not in the standard
/// (<https://encoding.spec.whatwg.org/#names-and-labels>).
fn encoding_for(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).or_else(|| {
        let plain = label.to_ascii_lowercase().replace(['-', '_'], "");
        match plain.as_str() {
            "latin1" | "iso88591" | "cp1252" | "windows1252" | "ansi" => Some(WINDOWS_1252),
            "utf16" | "utf16le" | "ucs2" => Some(UTF_16LE),
            "utf16be" => Some(UTF_16BE),
            "cp932" | "ms932" | "windows31j" => Some(SHIFT_JIS),
            "cp949" | "ms949" => Some(EUC_KR),
            "cp936" => Some(GBK),
            "utf8" | "utf8mb4" => Some(UTF_8),
            _ => None,
        }
    })
}

/// The encoding of a text: that of its byte-order mark, else the declared one, else UTF-8, or
/// Latin-1 if it cannot be UTF-8.
pub(super) fn encoding_of(
    body: &[u8],
    kind: &str,
    declared: Option<&'static Encoding>,
) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(body) {
        return encoding;
    }
    let inside = || {
        let is_marked_up = ["html", "xml"].iter().any(|part| kind.contains(part));
        is_marked_up.then(|| charset_inside(body)).flatten()
    };
    let declared_other = declared.filter(|declared| !is_utf_16(declared));
    declared_other
        .or_else(|| utf_16_without_mark(body))
        .or(declared)
        .or_else(inside)
        .or_else(|| not_utf_8(body))
        .unwrap_or(UTF_8)
}

/// Only the end of the beginning of a text may be an incomplete character.
fn not_utf_8(body: &[u8]) -> Option<&'static Encoding> {
    let error = std::str::from_utf8(body).err()?;
    error.error_len().map(|_| WINDOWS_1252)
}

/// Two ASCII characters in UTF-16.
fn utf_16_without_mark(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [1..=127, 0, 1..=127, 0, ..] => Some(UTF_16LE),
        [0, 1..=127, 0, 1..=127, ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// The encoding that an XML declaration or a `meta` element names. The text before it is ASCII,
/// so it is not UTF-16.
fn charset_inside(body: &[u8]) -> Option<&'static Encoding> {
    let beginning = body.get(..CHARSET_SEARCH_BYTES.min(body.len()))?;
    let beginning = String::from_utf8_lossy(beginning).to_ascii_lowercase();
    let (_, label) = ["charset=", "encoding="]
        .iter()
        .find_map(|name| beginning.split_once(name))?;
    let label = label.trim_start_matches(['"', '\'', ' ']);
    let end = label.find(['"', '\'', ' ', ';', '>', '?'])?;
    let encoding = Encoding::for_label(label.get(..end)?.as_bytes())?;
    Some(encoding.output_encoding())
}

/// The text without a byte-order mark.
pub(super) fn decode(body: &[u8], encoding: &'static Encoding) -> String {
    encoding.decode_with_bom_removal(body).0.into_owned()
}

pub(super) fn is_utf_16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn read(coding: &Coding, body: &[u8], most: usize) -> Result<(String, bool), DamagedBody> {
        let mut reader = BodyReader::new(coding, most);
        for chunk in body.chunks(3) {
            if !reader.push(chunk)? {
                break;
            }
        }
        let (bytes, is_cut) = reader.finish()?;
        Ok((String::from_utf8(bytes).unwrap(), is_cut))
    }

    fn compressed(text: &[u8]) -> [(Coding, Vec<u8>); 3] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        bare.write_all(text).unwrap();
        [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, bare.finish().unwrap()),
        ]
    }

    #[test]
    fn compressed_bodies_are_read_to_the_limit() {
        for (coding, body) in compressed(b"an answer") {
            let whole = read(&coding, &body, 100).unwrap();
            assert_eq!(whole, ("an answer".into(), false));
            assert_eq!(read(&coding, &body, 2).unwrap(), ("an".into(), true));
            let damaged = read(&coding, &body[..body.len() / 2], 100);
            assert!(damaged.is_err(), "{coding:?}: {damaged:?}");
            assert_eq!(read(&coding, b"", 9).unwrap(), (String::new(), false));
        }
        for (coding, body) in compressed(&vec![b'0'; 10_000_000]) {
            assert_eq!(read(&coding, &body, 5).unwrap(), ("00000".into(), true));
        }
        assert!(read(&Coding::Gzip, b"no gzip at all", 100).is_err());
    }

    #[test]
    fn content_encodings_are_recognised() {
        for (value, coding) in [
            ("gzip", Coding::Gzip),
            ("X-GZip", Coding::Gzip),
            ("identity", Coding::Identity),
            ("deflate", Coding::Deflate),
            ("br", Coding::Unsupported("br".into())),
            ("gzip, br", Coding::Unsupported("gzip, br".into())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().unwrap());
            assert_eq!(Coding::of(&headers), coding);
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::Identity);
    }

    #[test]
    fn texts_are_decoded_by_their_charset() {
        for (content_type, body, text) in [
            ("text/plain; charset=ISO-8859-1", &b"caf\xe9"[..], "café"),
            ("text/plain;Charset=\"windows-1252\"", b"\x80 5", "€ 5"),
            ("application/json; charset=utf-16", b"{\0}\0", "{}"),
            ("application/json", b"\xff\xfe{\0}\0", "{}"),
            ("text/plain; charset=utf-16be", b"\0h\0\xe4", "hä"),
            ("application/json", b"{\0\"\0a\0\"\0", "{\"a\""),
            ("text/plain; charset=Shift_JIS", b"\x93\xfa\x96{", "日本"),
            ("text/csv; charset=GB18030", b"\xd6\xd0", "中"),
            ("text/plain; charset=nonsense", b"caf\xc3\xa9", "café"),
            ("text/plain", b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
            (
                "text/xml",
                b"<?xml encoding='latin1'?>\xe9",
                "<?xml encoding='latin1'?>é",
            ),
            (
                "text/html",
                b"<meta charset=latin1>\xe9",
                "<meta charset=latin1>é",
            ),
            ("", b"caf\xc3\xa9", "café"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            let kind = content_type.split(';').next().unwrap();
            let encoding = encoding_of(body, kind, charset(&headers));
            assert_eq!(decode(body, encoding), text, "{content_type}");
        }
    }
}
