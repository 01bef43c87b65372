//! What can be wrong with a server, and how it looks to whoever asks.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::common::http::Response;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Refuse,
    /// Nobody answers to a connection.
    BlackHole,
    /// Takes the connection or the request, and says nothing.
    Silent,
    /// Takes the request, and resets.
    Reset,
    /// Takes the request, and closes.
    Close,
    /// Closes in the middle of the body.
    HalfBody,
    /// A byte of the body each second.
    Drip,
    /// This status, and `Retry-After` if there is one.
    Status(u16, Option<&'static str>),
    /// Elsewhere, which is this.
    Redirect(String),
    /// 200 with something that is no JSON.
    Garbage,
    /// 200 with the beginning of JSON.
    Truncated,
    /// 200 with JSON of another kind.
    WrongType,
    /// 200 with a member that is there twice.
    Twice,
    /// 200 with a thousand lists in each other.
    Deep,
    /// 200 with a body of 1 GiB, as it says before.
    Huge,
    /// The same without a word before.
    Endless,
    /// 200 with a small body that says it is compressed.
    Compressed,
    /// A thousand headers.
    ManyHeaders,
    /// A header of 1 MiB.
    LongHeader,
    /// What is no HTTP.
    NoHttp,
}

impl Fault {
    /// An answer that is whole, and wrong.
    pub(super) fn canned(&self) -> Option<Response> {
        Some(match self {
            Self::Status(status, None) => Response::new(*status, "{\"errors\": []}"),
            Self::Status(status, Some(after)) => {
                Response::new(*status, "{\"errors\": []}").header(&format!("Retry-After: {after}"))
            }
            Self::Redirect(to) => Response::new(307, "").header(&format!("Location: {to}")),
            Self::Garbage => Response::new(200, "<html>31337</html>"),
            Self::Truncated => Response::new(200, "{\"data\": {\"value\": \"31337"),
            Self::WrongType => Response::new(200, "[31337]"),
            Self::Twice => Response::new(200, "{\"data\": {\"value\": \"31337\", \"value\": \"1\"}}"),
            Self::Deep => Response::new(200, format!("{}{}", "[".repeat(1000), "]".repeat(1000))),
            Self::Compressed => Response::new(200, "\u{1f}").header("Content-Encoding: gzip"),
            Self::ManyHeaders => (0..1000).fold(Response::new(200, "{}"), |response, number| {
                response.header(&format!("X-{number}: a"))
            }),
            Self::LongHeader => Response::new(200, "{}").header(&format!("X-Long: {}", "a".repeat(1 << 20))),
            _ => return None,
        })
    }

    /// Spoils an answer while it is sent. `Ok(false)`: it has no part in that.
    pub(super) fn spoil(
        &self,
        stream: &mut dyn Write,
        answer: &[u8],
        sent: &dyn Fn(usize),
    ) -> io::Result<bool> {
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        match self {
            Self::HalfBody => stream.write_all(&answer[..body + (answer.len() - body) / 2])?,
            Self::Drip => {
                stream.write_all(&answer[..body])?;
                for byte in &answer[body..] {
                    sleep(Duration::from_secs(1));
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                }
            }
            Self::NoHttp => stream.write_all(b"SSH-2.0-31337\r\n\r\n")?,
            Self::Huge => {
                stream.write_all(b"HTTP/1.1 200 -\r\nContent-Length: 1073741824\r\n\r\n")?;
                flood(stream, sent, |_| Vec::new(), b"")?;
            }
            Self::Endless => {
                stream.write_all(b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                flood(stream, sent, |length| format!("{length:x}\r\n").into_bytes(), b"\r\n")?;
            }
            _ => return Ok(false),
        }
        stream.flush()?;
        Ok(true)
    }
}

/// 1 GiB, in pieces.
fn flood(
    stream: &mut dyn Write,
    sent: &dyn Fn(usize),
    before: impl Fn(usize) -> Vec<u8>,
    after: &[u8],
) -> io::Result<()> {
    let piece = [b' '; 1 << 16];
    for _ in 0..(1 << 30) / piece.len() {
        stream.write_all(&[&before(piece.len()), &piece[..], after].concat())?;
        sent(piece.len());
    }
    Ok(())
}
