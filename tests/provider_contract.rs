//! What readers may rely on whatever provider a secret comes from (`common/contract.rs`), with each provider
//! that is there: files, programs, a real etcd, and a real OpenBao with both of its kinds of key and value.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use common::aws::{InAws, Kind as AwsKind};
use common::azure::InAzure;
use common::bao::Bao;
use common::contract::Source;
use common::etcd::Etcd;
use common::kubernetes::{InCluster, OnReal};
use common::onepassword::InOnePassword;
use common::{stdout_of, tool, tools};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

contract!(file: crate::Files::new(); found_and_missing, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, an_outage_is_told_and_ends, a_value_is_told_nowhere_else);
contract!(sops: crate::Encrypted::new(); found_and_missing, no_default_on_failure, values_are_bytes,
    a_rotation_reaches_readers, an_outage_is_told_and_ends, a_value_is_told_nowhere_else);
contract!(exec: crate::Script::new(); found_and_missing, fields, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, a_value_is_told_nowhere_else);
contract!(etcd: crate::InEtcd::new(); found_and_missing, fields, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

contract!(gcp: crate::common::gcp::Gcp::start(); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

// Names there are small letters, digits, `-` and `.`: what else can be written is tried in tests/clouds.
contract!(kubernetes: crate::InCluster::new(); found_and_missing, fields, no_default_on_failure, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);
contract_if!(kubernetes_real: crate::OnReal::new(); found_and_missing, fields, no_default_on_failure, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

contract!(vault_kv2: crate::InVault::new(crate::KV2); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);
contract!(vault_kv1: crate::InVault::new(crate::KV1); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

contract!(azure: crate::InAzure::new(); found_and_missing, fields, no_default_on_failure, names_are_data, values_are_bytes,
    a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions, many_readers_are_one_question,
    an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

contract!(aws_sm: crate::InAws::new(crate::AwsKind::Secrets); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);
contract!(aws_ssm: crate::InAws::new(crate::AwsKind::Parameters); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);
contract!(onepassword: crate::InOnePassword::new(); found_and_missing, fields, no_default_on_failure, names_are_data,
    values_are_bytes, a_rotation_reaches_readers, many_secrets_of_a_file_are_few_questions,
    many_readers_are_one_question, an_outage_is_told_and_ends, wrong_credentials_say_so, a_value_is_told_nowhere_else);

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

/// The same, each encrypted by the real sops.
pub(crate) struct Encrypted {
    files: Files,
    recipient: String,
}

impl Encrypted {
    fn new() -> Self {
        let files = Files::new();
        let key = files.0.path().join("key");
        let run = |command: &mut Command| stdout_of(&command.output().unwrap());
        run(Command::new(tool("age-keygen")).arg("-o").arg(&key));
        let recipient = run(Command::new(tool("age-keygen")).arg("-y").arg(&key)).trim().to_owned();
        Self { files, recipient }
    }
}

impl Source for Encrypted {
    fn provider(&self) -> String {
        let key = self.files.0.path().join("key");
        format!("{}, age: {{identity: 'file:{}'}}", self.files.provider(), key.display())
    }

    fn put(&self, name: &str, value: &[u8]) {
        let plain = self.files.0.path().join("plain");
        fs::write(&plain, value).unwrap();
        let mut sops = Command::new(tools("bin/sops"));
        sops.args(["encrypt", "--input-type", "binary", "--output-type", "binary", "--age", &self.recipient]);
        let sealed = sops.arg(&plain).output().unwrap();
        assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
        self.files.put(name, &sealed.stdout);
    }

    fn delete(&self, name: &str) {
        self.files.delete(name);
    }

    fn stop(&self) {
        self.files.stop();
    }

    fn start(&self) {
        self.files.start();
    }

    fn questions(&self) -> Option<usize> {
        None
    }

    fn takes(&self, name: &str) -> bool {
        self.files.takes(name)
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

/// A real OpenBao, and one of its kinds of key and value.
pub(crate) struct InVault {
    bao: Bao,
    kind: Kind,
}

/// Where it is, and where it has what is read and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    below: &'static str,
    data: &'static str,
    metadata: &'static str,
}

const KV2: Kind = Kind { below: "secret/", data: "secret/data/", metadata: "secret/metadata/" };
const KV1: Kind = Kind { below: "old/", data: "old/", metadata: "old/" };
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

impl InVault {
    fn new(kind: Kind) -> Self {
        let bao = Bao::opened();
        bao.put("sys/mounts/old", json!({"type": "kv", "options": {"version": "1"}}));
        fs::write(bao.folder().join("token"), &bao.token).unwrap();
        fs::write(bao.folder().join("wrong"), "s.thisisnotoken").unwrap();
        Self { bao, kind }
    }

    fn with_token(&self, name: &str) -> String {
        let token = self.bao.folder().join(name);
        format!("type: vault, address: '{}', auth: {{token: 'file:{}'}}", self.bao.address(), token.display())
    }

    fn is_versioned(&self) -> bool {
        self.kind.data != self.kind.below
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.bao.pid().try_into().unwrap()), signal).unwrap();
    }
}

impl Source for InVault {
    fn provider(&self) -> String {
        self.with_token("token")
    }

    fn put(&self, name: &str, value: &[u8]) {
        let text = std::str::from_utf8(value).expect("a text");
        let fields = serde_json::from_str(text).ok().filter(Value::is_object);
        let fields = fields.unwrap_or_else(|| json!({ "value": text }));
        let body = if self.is_versioned() { json!({ "data": fields }) } else { fields };
        self.bao.put(&format!("{}{}", self.kind.data, utf8_percent_encode(name, ENCODED)), body);
    }

    /// With all that is known of it: a version that is only deleted is not missing, but taken away.
    fn delete(&self, name: &str) {
        self.bao.delete(&format!("{}{name}", self.kind.metadata));
    }

    /// Closed, or without a word.
    fn stop(&self) {
        if self.is_versioned() { self.bao.seal() } else { self.signal(Signal::SIGSTOP) }
    }

    fn start(&self) {
        if self.is_versioned() { self.bao.unseal() } else { self.signal(Signal::SIGCONT) }
    }

    fn questions(&self) -> Option<usize> {
        Some(self.bao.asked("read", self.kind.data))
    }

    fn below(&self) -> &'static str {
        self.kind.below
    }

    fn only_texts(&self) -> Option<&'static str> {
        Some("a secret there is JSON, whose texts are UTF-8")
    }

    fn takes(&self, name: &str) -> bool {
        !name.split('/').any(|part| matches!(part, "" | "." | ".."))
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        Some((self.with_token("wrong"), "our token is void"))
    }
}
