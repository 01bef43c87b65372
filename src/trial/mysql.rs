//! The login of MySQL's and MariaDB's protocol: `mysql_native_password`, and `caching_sha2_password` as far
//! as that needs no TLS. Uses `net`, sha1 and sha2.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use super::Stop;
use super::net::{Stream, take};
use super::url::Url;
use crate::secret::SecretBytes;

const WHO: &str = "MySQL";
const NATIVE: &[u8] = b"mysql_native_password";
const CACHING: &[u8] = b"caching_sha2_password";

/// Long passwords, with a database, protocol 4.1, transactions, secure login, login plugins.
const CAPABILITIES: u32 = 1 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19;
const WITH_DATABASE: u32 = 1 << 3;

pub(super) async fn log_in(mut stream: Stream, url: &Url<'_>) -> Result<(), Stop> {
    let (user, password) = url.login();
    let (number, greeting) = read(&mut stream).await?;
    if greeting.first() == Some(&0xff) {
        return Err(refusal(&greeting));
    }
    let (plugin, challenge) = challenge_of(&greeting).ok_or_else(|| Stop::strange(WHO))?;
    let answer = scrambled(&plugin, &challenge, &password)?;
    let hello = hello(&user, url.path.expose(), &plugin, &answer);
    write(&mut stream, number.wrapping_add(1), &hello).await?;
    loop {
        let (number, body) = read(&mut stream).await?;
        match body.as_slice() {
            [0, ..] => return Ok(()),
            [0xff, ..] => return Err(refusal(&body)),
            // The server knows the password already, or wants it over a connection that hides it.
            [1, 3] => {}
            [1, 4] => {
                return Err(Stop::Unknown("it wants the password over TLS, which is not tried here".into()));
            }
            [0xfe, rest @ ..] => {
                let (plugin, challenge) =
                    rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()));
                let challenge = challenge.get(1..21).ok_or_else(|| Stop::strange(WHO))?;
                let answer = scrambled(plugin, challenge, &password)?;
                write(&mut stream, number.wrapping_add(1), &answer).await?;
            }
            _ => return Err(Stop::strange(WHO)),
        }
    }
}

/// The method that the server begins with, and its challenge of twenty bytes.
fn challenge_of(greeting: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (10, rest) = greeting.split_first().map(|(version, rest)| (*version, rest))? else { return None };
    let rest = &rest[rest.iter().position(|byte| *byte == 0)? + 1..];
    let first = rest.get(4..12)?;
    // Capabilities, character set, status, capabilities, a length, ten bytes without meaning.
    let rest = rest.get(13 + 2 + 1 + 2 + 2 + 1 + 10..)?;
    let second = rest.get(..12)?;
    let plugin = rest.get(13..).unwrap_or_default();
    let plugin = plugin.split(|byte| *byte == 0).next().unwrap_or_default();
    let plugin = if plugin.is_empty() { NATIVE } else { plugin };
    Some((plugin.to_vec(), [first, second].concat()))
}

fn hello(user: &SecretBytes, database: &[u8], plugin: &[u8], answer: &[u8]) -> Zeroizing<Vec<u8>> {
    let capabilities = if database.is_empty() { CAPABILITIES & !WITH_DATABASE } else { CAPABILITIES };
    let mut hello = Zeroizing::new(Vec::with_capacity(256 + user.len() + database.len()));
    hello.extend_from_slice(&capabilities.to_le_bytes());
    hello.extend_from_slice(&(1u32 << 16).to_le_bytes());
    // utf8mb4
    hello.push(45);
    hello.extend_from_slice(&[0; 23]);
    hello.extend_from_slice(user.expose());
    hello.push(0);
    hello.push(answer.len() as u8);
    hello.extend_from_slice(answer);
    if !database.is_empty() {
        hello.extend_from_slice(database);
        hello.push(0);
    }
    hello.extend_from_slice(plugin);
    hello.push(0);
    hello
}

fn scrambled(plugin: &[u8], challenge: &[u8], password: &SecretBytes) -> Result<Zeroizing<Vec<u8>>, Stop> {
    if password.expose().is_empty() {
        return Ok(Zeroizing::default());
    }
    match plugin {
        NATIVE => Ok(native(challenge, password)),
        CACHING => Ok(caching(challenge, password)),
        _ => Err(Stop::Unknown("it wants a login that is not tried here".into())),
    }
}

/// SHA1(password) XOR SHA1(challenge, SHA1(SHA1(password)))
fn native(challenge: &[u8], password: &SecretBytes) -> Zeroizing<Vec<u8>> {
    let once = Zeroizing::new(<[u8; 20]>::from(Sha1::digest(password.expose())));
    let twice = Sha1::digest(*once);
    let mask = Sha1::new().chain_update(challenge).chain_update(twice).finalize();
    Zeroizing::new(once.iter().zip(mask).map(|(left, right)| left ^ right).collect())
}

/// SHA256(password) XOR SHA256(SHA256(SHA256(password)), challenge)
fn caching(challenge: &[u8], password: &SecretBytes) -> Zeroizing<Vec<u8>> {
    let once = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(password.expose())));
    let twice = Sha256::digest(*once);
    let mask = Sha256::new().chain_update(twice).chain_update(challenge).finalize();
    Zeroizing::new(once.iter().zip(mask).map(|(left, right)| left ^ right).collect())
}

async fn write(stream: &mut Stream, number: u8, body: &[u8]) -> Result<(), Stop> {
    let length = (body.len() as u32).to_le_bytes();
    let packet = Zeroizing::new([&length[..3], &[number], body].concat());
    let sent = async {
        stream.write_all(&packet).await?;
        stream.flush().await
    };
    sent.await.map_err(|_| Stop::strange(WHO))
}

/// A packet with its number.
async fn read(stream: &mut Stream) -> Result<(u8, Vec<u8>), Stop> {
    let head = take(stream, 4, WHO).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    Ok((head[3], take(stream, length as usize, WHO).await?))
}

/// By its number: the text names users.
fn refusal(body: &[u8]) -> Stop {
    let number = body.get(1..3).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    Stop::Fails(match number {
        1045 | 1698 => "its server does not let in with this user and password".into(),
        1049 => "its server lets in, and has no such database".into(),
        3159 => return Stop::Unknown("it lets in over TLS alone, which is not tried here".into()),
        1044 => "its server lets in, but not to this database".into(),
        number => format!("its server refuses (error {number})"),
    })
}
