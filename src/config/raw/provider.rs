//! A provider as serde sees it: the settings of all types, since which are taken is said elsewhere.
//! Uses the scalars.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;

use crate::config::metadata::Metadata;
use crate::config::provider::{Datum, Method, ProviderType, SecretSource, Strategy, TextSource, WritePath};
use crate::config::reaction::Argument;
use crate::config::scalar::{AwsAccount, Bytes, Count, FieldsForm, Label, Protocol, Status, Variable};
use crate::config::transport::{Address, RawTls};
use crate::config::word::{Given, Table, Word};

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with its `type`")]
pub(in crate::config) struct Provider {
    /// What it is: the embedded store, the daemon's environment, a file or a folder of files, exec: a program
    /// that prints a secret, vault (also OpenBao), etcd, aws-sm (Secrets Manager), aws-ssm (parameters), azure-kv
    /// (Key Vault), gcp-sm (Secret Manager), 1password (Connect), kubernetes, or multi: several others as one
    pub(in crate::config) r#type: Word<ProviderType>,
    /// exec: the program and its arguments; a secret's path takes the place of `{path}`, else it is the last one
    #[serde(default)]
    pub(in crate::config) command: Option<Vec<Word<Argument>>>,
    /// exec: the program's environment, beside PATH, HOME and the like
    #[serde(default)]
    pub(in crate::config) env: Option<Table<Variable, Word<Argument>>>,
    /// exec: json, if the program prints an object of fields (default: it prints a value)
    #[serde(default)]
    pub(in crate::config) fields: Given<FieldsForm>,
    /// exec: summon, if the program is a provider of summon's: a bare name lies in summon's folder, white space
    /// around the value is dropped, and every status but 0 is a failure (default: none of that)
    #[serde(default)]
    pub(in crate::config) protocol: Given<Protocol>,
    /// exec: the exit status that means: there is no such secret (default: 44; of summon's: none)
    #[serde(default)]
    pub(in crate::config) not_found_status: Given<Status>,
    /// env, etcd, aws-sm, aws-ssm: what the names there begin with, and the names of the secrets do not (default: nothing)
    #[serde(default)]
    pub(in crate::config) prefix: Given<Argument>,
    /// file: a folder, whose files are secrets, or a document: env, JSON or YAML, as its name says
    #[serde(default)]
    pub(in crate::config) path: Given<PathBuf>,
    /// file: with what documents are opened that sops has encrypted for age
    #[serde(default)]
    pub(in crate::config) age: Option<Age>,
    /// multi: the providers that it asks, in their order
    #[serde(default)]
    pub(in crate::config) of: Option<Vec<Word<Label>>>,
    /// multi: failover asks the next one if one fails; priority, if there is no such secret; merge takes it from
    /// whichever has it (default: failover)
    #[serde(default)]
    pub(in crate::config) strategy: Given<Strategy>,
    /// How long an answer may take, with all tries (default: 4s)
    #[serde(default)]
    pub(in crate::config) timeout: Given<Duration>,
    /// How many questions may be under way (default: 16). One that has taken a quarter of its time
    /// is not counted any more, up to four times as many in all
    #[serde(default)]
    pub(in crate::config) concurrency: Given<Count>,
    /// How many questions a second it is asked at most; after a pause, so many at once (default: any number; aws-ssm: 30)
    #[serde(default)]
    pub(in crate::config) requests_per_second: Given<Count>,
    /// How many secrets one question may hold (default: as many as it can)
    #[serde(default)]
    pub(in crate::config) batch_size: Given<Count>,
    /// Where it is: https://HOST:PORT; http:// on this machine only
    #[serde(default)]
    pub(in crate::config) address: Given<Address>,
    /// Whom to believe that it is the server, and who we are
    #[serde(default)]
    pub(in crate::config) tls: Option<RawTls>,
    /// aws-sm, aws-ssm: the region (default: what AWS_REGION or the profile says)
    #[serde(default)]
    pub(in crate::config) region: Given<Label>,
    /// aws-sm, aws-ssm: the number of the account that the secrets are of, in quotes; an answer of another one is refused
    #[serde(default)]
    pub(in crate::config) account: Given<AwsAccount>,
    /// gcp-sm: the project, by its id or its number
    #[serde(default)]
    pub(in crate::config) project: Given<Argument>,
    /// gcp-sm: where regional secrets are (default: the global ones)
    #[serde(default)]
    pub(in crate::config) location: Given<Label>,
    /// 1password: the vault of names that say none, by its name or id
    #[serde(default)]
    pub(in crate::config) vault: Given<Argument>,
    /// kubernetes: a file that says where the cluster is and who we are (default: we are in the cluster)
    #[serde(default)]
    pub(in crate::config) kubeconfig: Given<PathBuf>,
    /// kubernetes: which of that file's contexts (default: the current one)
    #[serde(default)]
    pub(in crate::config) context: Given<Argument>,
    /// vault: the namespace that all paths are in (default: none); kubernetes: of names that say none
    #[serde(default)]
    pub(in crate::config) namespace: Given<Argument>,
    /// vault: paths that are written to, so that a secret is made of what is sent there: pki/issue/web: {common_name: …}
    #[serde(default)]
    pub(in crate::config) writes: Option<Table<WritePath, Table<Label, Word<Datum>>>>,
    /// vault: whether certificates that were made so are revoked at the orderly end (default: false)
    #[serde(default)]
    pub(in crate::config) revoke: Given<bool>,
    /// vault: what was lent is given back when nobody has asked for it in this time; who has read it asks as long as it runs (default: 24h)
    #[serde(default)]
    pub(in crate::config) give_back_after: Given<Duration>,
    /// How to log in
    #[serde(default)]
    pub(in crate::config) auth: Option<Auth>,
    /// What is kept, and for how long
    #[serde(default)]
    pub(in crate::config) cache: Option<Cache>,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map of settings: method, …")]
pub(in crate::config) struct Auth {
    /// vault: token, approle, kubernetes, jwt, userpass, cert, aws or azure (default: token); azure-kv:
    /// managed-identity, client-secret, client-certificate, workload-identity or cli; gcp-sm: key, adc or metadata
    pub(in crate::config) method: Given<Method>,
    /// vault: where the method is enabled (default: its name)
    pub(in crate::config) mount: Given<Argument>,
    /// kubernetes, jwt, cert, aws, azure: the role to be logged in as
    pub(in crate::config) role: Given<Argument>,
    /// approle: the role's id, or where it comes from
    pub(in crate::config) role_id: Given<TextSource>,
    /// approle: where the secret id comes from
    pub(in crate::config) secret_id: Given<SecretSource>,
    /// approle: whether what comes from there is a wrapping token, good for one use (default: false)
    pub(in crate::config) wrapped: Given<bool>,
    /// token, 1password, kubernetes: where it comes from (default of vault: ${VAULT_TOKEN}, of 1password: ${OP_CONNECT_TOKEN})
    pub(in crate::config) token: Given<SecretSource>,
    /// kubernetes, jwt: where the token comes from (default of kubernetes: its service account's file)
    pub(in crate::config) jwt: Given<SecretSource>,
    /// userpass, etcd: the user
    pub(in crate::config) username: Given<Argument>,
    /// userpass, etcd: where the password comes from
    pub(in crate::config) password: Given<SecretSource>,
    /// aws: the id of an access key, or where it comes from (default: ${AWS_ACCESS_KEY_ID} if it is set, with
    /// its like; else the keys of the machine's role)
    pub(in crate::config) access_key_id: Given<TextSource>,
    /// aws: where the secret of that key comes from
    pub(in crate::config) secret_access_key: Given<SecretSource>,
    /// aws: where the session token comes from, if the key has one
    pub(in crate::config) session_token: Given<SecretSource>,
    /// aws: the region whose STS is asked (default: us-east-1, by way of sts.amazonaws.com)
    pub(in crate::config) region: Given<Label>,
    /// aws: the address of another STS
    pub(in crate::config) sts_endpoint: Given<Address>,
    /// aws: what the server wants in X-Vault-AWS-IAM-Server-ID
    pub(in crate::config) server_id: Given<Argument>,
    /// aws: the profile of the files of AWS (default: what AWS_PROFILE says)
    pub(in crate::config) profile: Given<Argument>,
    /// aws: what the account of the role wants to be told
    pub(in crate::config) external_id: Given<Argument>,
    /// client-secret, client-certificate, workload-identity: the directory of the application
    pub(in crate::config) tenant_id: Given<Argument>,
    /// client-secret: where the application's secret comes from
    pub(in crate::config) client_secret: Given<SecretSource>,
    /// client-certificate: where the certificate and its key (PEM) come from
    pub(in crate::config) certificate: Given<SecretSource>,
    /// azure-kv: who gives tokens to applications (default: `https://login.microsoftonline.com`)
    pub(in crate::config) authority: Given<Address>,
    /// key: where the key of a service account (JSON) comes from
    pub(in crate::config) key: Given<SecretSource>,
    /// azure: whom the machine's token is for (default: `https://management.azure.com/`); azure-kv: whom any token is
    /// for, whatever the vault's host is (default: what the vault says, if its host belongs to that)
    pub(in crate::config) resource: Given<Argument>,
    /// azure, managed-identity: which identity of the machine, if it has several; client-secret, client-certificate,
    /// workload-identity: the application
    pub(in crate::config) client_id: Given<Argument>,
    /// aws, azure, managed-identity, gcp-sm: what tells the machine about itself (default: http://169.254.169.254)
    pub(in crate::config) metadata: Given<Metadata>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with its `identity`")]
pub(in crate::config) struct Age {
    /// Where the identity comes from: the lines AGE-SECRET-KEY-1… that age-keygen writes
    pub(in crate::config) identity: Word<SecretSource>,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map of settings: ttl, max_stale, …")]
pub(in crate::config) struct Cache {
    /// How long an answer is good (default: 1m)
    pub(in crate::config) ttl: Given<Duration>,
    /// How much longer it is served, and marked, if the provider does not answer (default: not at all)
    pub(in crate::config) max_stale: Given<Duration>,
    /// How long it is good that there is no such secret (default: 5s)
    pub(in crate::config) negative_ttl: Given<Duration>,
    /// Whether the store keeps a sealed copy of each answer, which is served, and marked, if the provider does not
    /// answer: also after a restart, and at most for `max_stale`, or for 7d if that is not set (default: false)
    pub(in crate::config) mirror: Given<bool>,
    /// The most that is kept (default: 16MiB)
    pub(in crate::config) size: Given<Bytes>,
    /// The paths that are asked for each time
    pub(in crate::config) no_cache: Vec<Word<Argument>>,
}
