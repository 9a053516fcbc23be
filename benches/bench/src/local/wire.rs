//! HTTP/1.1 with as little work as possible, because callers and model share the
//! cores with the server that is measured.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A persistent connection with one request in progress at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as long as the connection is not asked again.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(address).await.and_then(Self::over)
    }

    pub(crate) fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> std::io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let (head, body) = self.message().await?.ok_or(ErrorKind::UnexpectedEof)?;
        let status = std::str::from_utf8(head)
            .ok()
            .and_then(|head| head.get(9..12)?.parse().ok());
        Ok(Answer {
            status: status.ok_or_else(|| malformed("no status"))?,
            body,
        })
    }

    /// The server's side: waits for a request, reads it and lets it go. `false`
    /// when the caller has hung up.
    pub(crate) async fn hear(&mut self) -> std::io::Result<bool> {
        Ok(self.message().await?.is_some())
    }

    pub(crate) async fn say(&mut self, answer: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(answer).await
    }

    /// The headers and the body of the next message.
    async fn message(&mut self) -> std::io::Result<Option<(&[u8], &[u8])>> {
        self.buffer.clear();
        let (mut head, mut whole) = (None, usize::MAX);
        while self.buffer.len() < whole {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
            if head.is_none()
                && let Some(end) = self
                    .buffer
                    .windows(4)
                    .position(|window| window == b"\r\n\r\n")
            {
                head = Some(end + 4);
                whole = end + 4 + content_length(self.buffer.get(..end).unwrap_or_default())?;
            }
        }
        Ok(self.buffer.split_at_checked(head.unwrap_or_default()))
    }
}

fn content_length(head: &[u8]) -> std::io::Result<usize> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("headers that are not text"))?;
    let length = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    length.ok_or_else(|| malformed("no length"))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// A request or, with a status line in `first`, an answer, with a JSON body.
pub(crate) fn message(first: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{first}\r\nhost: bench\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}
