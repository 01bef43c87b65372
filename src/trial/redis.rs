//! The login of Redis: AUTH, SELECT, PING. Uses `net`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::Stop;
use super::net::Stream;
use super::url::Url;

const WHO: &str = "Redis";

pub(super) async fn log_in(mut stream: Stream, url: &Url<'_>) -> Result<(), Stop> {
    let (user, password) = url.login();
    if !password.expose().is_empty() {
        let words: &[&[u8]] = match user.expose() {
            b"" => &[b"AUTH", password.expose()],
            user => &[b"AUTH", user, password.expose()],
        };
        ask(&mut stream, words).await?;
    }
    if !url.path.expose().is_empty() {
        ask(&mut stream, &[b"SELECT", url.path.expose()]).await?;
    }
    ask(&mut stream, &[b"PING"]).await
}

/// One command; a refusal is told by its first word alone.
async fn ask(stream: &mut Stream, words: &[&[u8]]) -> Result<(), Stop> {
    let mut command = Zeroizing::new(format!("*{}\r\n", words.len()).into_bytes());
    command.reserve_exact(words.iter().map(|word| word.len() + 32).sum());
    for word in words {
        command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    let sent = async {
        stream.write_all(&command).await?;
        stream.flush().await
    };
    sent.await.map_err(|_| Stop::strange(WHO))?;
    let line = line(stream).await?;
    match line.split(|byte| *byte == b' ').next() {
        _ if line.starts_with(b"+") => Ok(()),
        Some(b"-WRONGPASS") => {
            Err(Stop::Fails("its server does not let in with this user and password".into()))
        }
        Some(b"-NOAUTH") => Err(Stop::Fails("its server asks for a password, and the URL has none".into())),
        Some(b"-NOPERM") => Err(Stop::Fails("its server lets in, and allows this user nothing".into())),
        _ if line.starts_with(b"-ERR") && words[0] == b"AUTH" => {
            Err(Stop::Fails("its server does not let in with this password".into()))
        }
        _ if line.starts_with(b"-") => Err(Stop::Fails("its server refuses".into())),
        _ => Err(Stop::strange(WHO)),
    }
}

async fn line(stream: &mut Stream) -> Result<Vec<u8>, Stop> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let byte = stream.read_u8().await.map_err(|_| Stop::strange(WHO))?;
        line.push(byte);
        if line.len() > 4096 {
            return Err(Stop::strange(WHO));
        }
    }
    Ok(line)
}
