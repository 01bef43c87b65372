//! Certificates for 127.0.0.1 with their keys, made by openssl: self-signed, or with an authority above.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{stdout_of, tool};

const HOST: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

pub(crate) struct Certificate {
    /// For clients: they trust this one alone.
    pub(crate) file: PathBuf,
    cert: String,
    key: String,
}

impl Certificate {
    pub(crate) fn make(folder: &Path, name: &str) -> Self {
        Self::signed(folder, name, None, HOST)
    }

    /// The fields of a secret of type `certificate`, for clients that trust `file` of a root: between
    /// it and the server's own certificate there is one more, which the server has to send along.
    pub(crate) fn chain(folder: &Path) -> (Self, Value) {
        let authority = "basicConstraints=critical,CA:TRUE";
        let root = Self::signed(folder, "root", None, authority);
        let middle = Self::signed(folder, "middle", Some(&root), authority);
        let leaf = Self::signed(folder, "leaf", Some(&middle), HOST);
        (root, json!({"cert": leaf.cert, "key": leaf.key, "chain": middle.cert}))
    }

    fn signed(folder: &Path, name: &str, by: Option<&Self>, extension: &str) -> Self {
        let [file, key] = ["pem", "key"].map(|suffix| folder.join(format!("{name}.{suffix}")));
        let mut command = Command::new(tool("openssl"));
        command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
        command.args(["-subj", &format!("/CN={name}"), "-addext", extension]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&file);
        if let Some(by) = by {
            command.arg("-CA").arg(&by.file).arg("-CAkey").arg(by.file.with_extension("key"));
        }
        stdout_of(&command.output().expect("openssl can be started"));
        let [cert, key] = [&file, &key].map(|file| fs::read_to_string(file).expect("openssl has written it"));
        Self { file, cert, key }
    }

    /// The fields of a secret of type `certificate`.
    pub(crate) fn fields(&self) -> Value {
        self.fields_with_key_of(self)
    }

    /// The same, for a store that is written without a command.
    pub(crate) fn pair(&self) -> [(&str, &str); 2] {
        [("cert", &self.cert), ("key", &self.key)]
    }

    /// What a server must refuse, if the key is another's.
    pub(crate) fn fields_with_key_of(&self, other: &Self) -> Value {
        json!({"cert": self.cert, "key": other.key})
    }
}
