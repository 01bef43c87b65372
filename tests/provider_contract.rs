//! What readers may rely on whatever provider a secret comes from (`common/contract.rs`), with each provider
//! that is there: files, programs, and a real etcd.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::contract::Source;
use common::etcd::Etcd;
use tempfile::TempDir;

contract!(file: crate::Files::new(); found_and_missing, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, an_outage_is_told_and_ends, a_value_is_told_nowhere_else);
contract!(exec: crate::Script::new(); found_and_missing, fields, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, a_value_is_told_nowhere_else);
contract!(etcd: crate::InEtcd::new(); found_and_missing, fields, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

/// A folder of files.
pub(crate) struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::with_prefix("secretfs-files-").unwrap());
        fs::create_dir(files.there()).unwrap();
        files
    }

    fn there(&self) -> PathBuf {
        self.0.path().join("there")
    }
}

impl Source for Files {
    fn provider(&self) -> String {
        format!("type: file, path: {}", self.there().display())
    }

    fn put(&self, name: &str, value: &[u8]) {
        let path = self.there().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = self.0.path().join("new");
        fs::write(&new, value).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn delete(&self, name: &str) {
        fs::remove_file(self.there().join(name)).unwrap();
    }

    fn stop(&self) {
        fs::rename(self.there(), self.0.path().join("gone")).unwrap();
    }

    fn start(&self) {
        fs::rename(self.0.path().join("gone"), self.there()).unwrap();
    }

    fn questions(&self) -> Option<usize> {
        None
    }

    fn takes(&self, name: &str) -> bool {
        !name.split('/').any(|part| matches!(part, "" | "." | ".."))
    }
}

/// A program that prints what lies in a folder, under names that are no paths.
pub(crate) struct Script(TempDir);

impl Script {
    fn new() -> Self {
        let script = Self(TempDir::with_prefix("secretfs-script-").unwrap());
        let text = "#!/bin/sh
            cd ${0%/*}; echo >> calls; [ -e down ] && exit 1
            file=v$(printf %s \"$1\" | od -An -v -tx1 | tr -d ' \\n'); [ -e $file ] || exit 44; cat $file";
        fs::write(script.0.path().join("program"), text).unwrap();
        fs::set_permissions(script.0.path().join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    fn file(&self, name: &str) -> PathBuf {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.0.path().join(format!("v{hex}"))
    }
}

impl Source for Script {
    fn provider(&self) -> String {
        format!("type: exec, command: [{}/program]", self.0.path().display())
    }

    fn put(&self, name: &str, value: &[u8]) {
        let new = self.0.path().join("new");
        fs::write(&new, value).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    fn delete(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    fn stop(&self) {
        fs::write(self.0.path().join("down"), "").unwrap();
    }

    fn start(&self) {
        fs::remove_file(self.0.path().join("down")).unwrap();
    }

    fn questions(&self) -> Option<usize> {
        Some(fs::read(self.0.path().join("calls")).map_or(0, |lines| lines.len()))
    }

    /// A secret has one name.
    fn takes(&self, name: &str) -> bool {
        !name.starts_with('-')
            && !name.contains("//")
            && !name.split('/').any(|part| matches!(part, "." | ".."))
    }

    fn fields(&self) -> Option<&'static str> {
        Some("fields: json")
    }
}

pub(crate) struct InEtcd(Etcd);

impl InEtcd {
    fn new() -> Self {
        Self(Etcd::start())
    }

    fn key(name: &str) -> String {
        format!("/secrets/{name}")
    }
}

impl Source for InEtcd {
    fn provider(&self) -> String {
        format!("type: etcd, address: '{}', prefix: /secrets/", self.0.url())
    }

    fn put(&self, name: &str, value: &[u8]) {
        self.0.put(&Self::key(name), value);
    }

    fn delete(&self, name: &str) {
        self.0.delete(&Self::key(name));
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn start(&self) {
        self.0.run();
    }

    fn questions(&self) -> Option<usize> {
        Some(self.0.calls("Txn"))
    }

    fn most_questions(&self, secrets: usize) -> usize {
        secrets.div_ceil(128)
    }

    fn tells(&self) -> bool {
        true
    }

    fn takes(&self, _name: &str) -> bool {
        true
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        self.0.enable_auth("right", "/secrets/");
        let password = self.0.file("password", "wrong\n");
        let auth = format!("auth: {{username: app, password: 'file:{password}'}}");
        Some((format!("{}, {auth}", self.provider()), "refuses the user `app`, or the password"))
    }
}
