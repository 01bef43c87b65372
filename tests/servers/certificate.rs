//! A self-signed certificate for 127.0.0.1 with its key, made by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{stdout_of, tool};

pub(crate) struct Certificate {
    /// For clients: they trust this one alone.
    pub(crate) file: PathBuf,
    cert: String,
    key: String,
}

impl Certificate {
    pub(crate) fn make(folder: &Path, name: &str) -> Self {
        let file = folder.join(format!("{name}.pem"));
        let mut command = Command::new(tool("openssl"));
        command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
        command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        command.args(["-keyout", "-", "-out"]).arg(&file);
        let key = stdout_of(&command.output().expect("openssl can be started"));
        let cert = fs::read_to_string(&file).expect("openssl has written it");
        Self { file, cert, key }
    }

    /// The fields of a secret of type `certificate`.
    pub(crate) fn fields(&self) -> Value {
        self.fields_with_key_of(self)
    }

    /// What a server must refuse, if the key is another's.
    pub(crate) fn fields_with_key_of(&self, other: &Self) -> Value {
        json!({"cert": self.cert, "key": other.key})
    }
}
