//! The login of PostgreSQL's protocol 3.0: SCRAM-SHA-256, MD5, or a password as it is. Uses `net`, hmac and
//! sha2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::Stop;
use super::net::{self, Stream, Trust, take};
use super::url::Url;
use crate::secret::SecretBytes;

const WHO: &str = "PostgreSQL";
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Whoever asks for more wants to keep us busy.
const MOST_ROUNDS: u32 = 1_000_000;

/// TLS as `sslmode` wants it; by default where the server has it, as libpq does.
pub(super) async fn secured(
    mut stream: TcpStream,
    host: &str,
    mode: Option<&str>,
) -> Result<(Stream, Option<Trust>), Stop> {
    if matches!(mode, Some("disable" | "allow")) {
        return Ok((Box::new(stream), None));
    }
    let mut answer = [0];
    let asked = async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_exact(&mut answer).await
    };
    asked.await.map_err(|_| Stop::strange(WHO))?;
    let trust = match mode {
        Some("verify-full") => Trust::Authorities,
        _ => Trust::Anybody,
    };
    match (answer[0], mode) {
        (b'S', _) => Ok((net::tls(stream, host, trust).await?, Some(trust))),
        (b'N', None | Some("prefer")) => Ok((Box::new(stream), None)),
        (b'N', _) => Err(Stop::Fails("its server has no TLS, which the URL asks for".into())),
        _ => Err(Stop::strange(WHO)),
    }
}

/// `trust`: how the connection is secured, if it is.
pub(super) async fn log_in(mut stream: Stream, url: &Url<'_>, trust: Option<Trust>) -> Result<(), Stop> {
    let (user, password) = url.login();
    let database = if url.path.expose().is_empty() { user.expose() } else { url.path.expose() };
    let mut start = Zeroizing::new(vec![0, 3, 0, 0]);
    for part in [b"user", user.expose(), b"database", database] {
        start.extend_from_slice(part);
        start.push(0);
    }
    start.push(0);
    write(&mut stream, None, &start).await?;
    let mut scram = None;
    loop {
        let (kind, body) = read(&mut stream).await?;
        let (method, rest) = match (kind, body.split_first_chunk()) {
            (b'R', Some((method, rest))) => (u32::from_be_bytes(*method), rest),
            (b'E', _) => return Err(refusal(&body)),
            (b'v', _) => continue,
            _ => return Err(Stop::strange(WHO)),
        };
        let answer = match method {
            0 => break,
            3 if trust == Some(Trust::Anybody) => {
                let why = "it wants the password in the clear, and nothing says that it is the right server";
                return Err(Stop::Unknown(why.into()));
            }
            3 => Zeroizing::new([password.expose(), b"\0"].concat()),
            5 => md5_answer(&user, &password, rest),
            10 => {
                let begun = Scram::begin(rest)?;
                let first = begun.first();
                scram = Some(begun);
                first
            }
            11 => scram.as_mut().ok_or_else(|| Stop::strange(WHO))?.answer(rest, &password)?,
            12 => {
                scram.as_ref().ok_or_else(|| Stop::strange(WHO))?.check(rest)?;
                continue;
            }
            _ => return Err(Stop::Unknown("it wants a login that is not tried here".into())),
        };
        write(&mut stream, Some(b'p'), &answer).await?;
    }
    // It tells of a database that is not there only now.
    loop {
        match read(&mut stream).await? {
            (b'Z', _) => return Ok(()),
            (b'E', body) => return Err(refusal(&body)),
            _ => {}
        }
    }
}

async fn write(stream: &mut Stream, kind: Option<u8>, body: &[u8]) -> Result<(), Stop> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    let message = Zeroizing::new([kind.as_slice(), &length, body].concat());
    let sent = async {
        stream.write_all(&message).await?;
        stream.flush().await
    };
    sent.await.map_err(|_| Stop::strange(WHO))
}

async fn read(stream: &mut Stream) -> Result<(u8, Vec<u8>), Stop> {
    let head = take(stream, 5, WHO).await?;
    let length = u32::from_be_bytes(head[1..].try_into().expect("four of five"));
    let length = length.checked_sub(4).ok_or_else(|| Stop::strange(WHO))?;
    Ok((head[0], take(stream, length as usize, WHO).await?))
}

/// By its code: the text names users.
fn refusal(body: &[u8]) -> Stop {
    let fields = body.split(|byte| *byte == 0);
    let code = fields.filter_map(|field| field.strip_prefix(b"C")).next().unwrap_or_default();
    Stop::Fails(match code {
        b"28P01" | b"28000" => "its server does not let in with this user and password".into(),
        b"3D000" => "its server lets in, and has no such database".into(),
        b"42501" => "its server lets in, but not to this database".into(),
        code if code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric) => {
            format!("its server refuses (SQLSTATE {})", String::from_utf8_lossy(code))
        }
        _ => "its server refuses".into(),
    })
}

fn md5_answer(user: &SecretBytes, password: &SecretBytes, salt: &[u8]) -> Zeroizing<Vec<u8>> {
    let inner = hex(&Md5::digest(Zeroizing::new([password.expose(), user.expose()].concat())));
    let outer = hex(&Md5::digest(Zeroizing::new([inner.as_bytes(), salt].concat())));
    Zeroizing::new(format!("md5{}\0", *outer).into_bytes())
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// SCRAM-SHA-256 (RFC 5802, 7677) without channel binding.
struct Scram {
    nonce: String,
    /// What the server has to sign.
    signature: Option<[u8; 32]>,
}

impl Scram {
    fn begin(methods: &[u8]) -> Result<Self, Stop> {
        if !methods.split(|byte| *byte == 0).any(|method| method == b"SCRAM-SHA-256") {
            return Err(Stop::Unknown("it wants a login that is not tried here".into()));
        }
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).map_err(|error| Stop::Unknown(error.to_string()))?;
        Ok(Self { nonce: STANDARD.encode(nonce), signature: None })
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    fn first(&self) -> Zeroizing<Vec<u8>> {
        let first = format!("n,,{}", self.bare());
        let length = (first.len() as u32).to_be_bytes();
        Zeroizing::new([b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat())
    }

    fn answer(&mut self, challenge: &[u8], password: &SecretBytes) -> Result<Zeroizing<Vec<u8>>, Stop> {
        let (nonce, salt, rounds) = self.challenge(challenge).ok_or_else(|| Stop::strange(WHO))?;
        let salted = stretched(password, &salt, rounds);
        let last = format!("c=biws,r={nonce}");
        let all = [self.bare().as_bytes(), b",", challenge, b",", last.as_bytes()].concat();
        let key = Zeroizing::new(mac(&*salted, &[b"Client Key"]));
        let signature = mac(&Sha256::digest(*key), &[&all]);
        let proof: Vec<u8> = key.iter().zip(signature).map(|(left, right)| left ^ right).collect();
        self.signature = Some(mac(&mac(&*salted, &[b"Server Key"]), &[&all]));
        Ok(Zeroizing::new(format!("{last},p={}", STANDARD.encode(proof)).into_bytes()))
    }

    fn challenge<'a>(&self, challenge: &'a [u8]) -> Option<(&'a str, Vec<u8>, u32)> {
        let mut parts = std::str::from_utf8(challenge).ok()?.split(',');
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| nonce.starts_with(&self.nonce))?;
        let salt = STANDARD.decode(parts.next()?.strip_prefix("s=")?).ok()?;
        let rounds = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        (1..=MOST_ROUNDS).contains(&rounds).then_some((nonce, salt, rounds))
    }

    /// Only who knows the password can sign this.
    fn check(&self, last: &[u8]) -> Result<(), Stop> {
        let signed = last.strip_prefix(b"v=").and_then(|signed| STANDARD.decode(signed).ok());
        match (signed, self.signature) {
            (Some(signed), Some(due)) if signed == due => Ok(()),
            _ => Err(Stop::Fails("what answers there does not know the password itself".into())),
        }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// PBKDF2 of one block.
fn stretched(password: &SecretBytes, salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut last = Zeroizing::new(mac(password.expose(), &[salt, &1u32.to_be_bytes()]));
    let mut all = last.clone();
    for _ in 1..rounds {
        last = Zeroizing::new(mac(password.expose(), &[&*last]));
        all.iter_mut().zip(last.iter()).for_each(|(all, last)| *all ^= last);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, whose user stands where PostgreSQL wants none.
    #[test]
    fn the_password_is_stretched_as_the_standard_says() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = stretched(&SecretBytes::copy_of(b"pencil"), &salt, 4096);
        let all = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = mac(&mac(&*salted, &[b"Server Key"]), &[all]);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
