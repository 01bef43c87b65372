//! A master key as a credential of systemd: encrypted for this machine, by its TPM or by a key of
//! the machine's own, and opened again before it is relied on. Uses the program `systemd-creds`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::key_file::{self, MasterKey};
use super::key_source::CREDENTIAL;
use super::keyring::id_of;
use super::{KeyError, StoreError};

const PROGRAM: &str = "systemd-creds";

impl MasterKey {
    /// Writes it to a new file that only systemd on this machine can open.
    pub fn write_credential(&self, path: &Path) -> Result<(), StoreError> {
        let name = format!("--name={CREDENTIAL}");
        let sealed = run(&["encrypt", &name, "-", "-"].map(OsStr::new), &self.line())?;
        key_file::write_new(path, &sealed)?;
        let check = [OsStr::new("decrypt"), OsStr::new(&name), path.as_os_str(), OsStr::new("-")];
        let opened = run(&check, b"").map(|opened| key_file::parse(&opened));
        match opened.inspect_err(|_| drop(std::fs::remove_file(path)))? {
            Some(key) if id_of(&key.0) == id_of(&self.0) => Ok(()),
            _ => {
                let _ = std::fs::remove_file(path);
                Err(KeyError::Credential("what it wrote opens to something else".into()).into())
            }
        }
    }
}

/// What it answers. All of it is kept from the terminal.
fn run(arguments: &[&OsStr], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |error: std::io::Error| KeyError::Credential(error.to_string());
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // What ends early says why by itself.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().map_err(failed)?;
    let answer = Zeroizing::new(output.stdout);
    match output.status.success() {
        true => Ok(answer),
        false => Err(KeyError::Credential(last_line(&output.stderr))),
    }
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
}
