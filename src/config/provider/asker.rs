//! As whom a provider is asked, in words in which no secret is. Names of copies on the disk are made of them
//! (`cache.mirror`): they stay as they are, whatever becomes of the types here.

use super::cloud::Azure;
use super::{Login, ProviderConfig, RemoteSource, SecretSource, TextSource};
use crate::config::Tls;

impl ProviderConfig {
    /// Another one has other rights.
    pub fn asker(&self) -> String {
        let Self::Remote(remote) = self else { return String::new() };
        let mut words = match &remote.source {
            RemoteSource::Exec(_) => Vec::new(),
            RemoteSource::File(document) => document.identity.iter().map(SecretSource::to_string).collect(),
            RemoteSource::Vault(vault) => {
                let mount = vec![vault.mount.clone()];
                [mount, vault.login.words(), by_certificate(&vault.transport.tls)].concat()
            }
            RemoteSource::Etcd(etcd) => {
                let user = etcd.user.iter().flat_map(|(name, password)| [name.clone(), password.to_string()]);
                user.chain(by_certificate(&etcd.transport.tls)).collect()
            }
            RemoteSource::Aws(aws) => aws.asker(),
            RemoteSource::Azure(azure) => azure.asker(),
            RemoteSource::Gcp(gcp) => gcp.asker(),
            // Names that say no vault are others in another one.
            RemoteSource::OnePassword(it) => {
                [it.token.to_string()].into_iter().chain(it.vault.clone()).collect()
            }
            RemoteSource::Kubernetes(kubernetes) => kubernetes.asker(),
        };
        // Before there were rules, copies may have been made under names that are refused since.
        if self.has_one_name() {
            words.push("one name".to_owned());
        }
        words.join("\0")
    }
}

fn by_certificate(tls: &Tls) -> Vec<String> {
    tls.identity.iter().map(|it| it.cert.display().to_string()).collect()
}

impl Login {
    fn words(&self) -> Vec<String> {
        match self {
            Self::Token(token) => vec!["token".to_owned(), token.to_string()],
            Self::AppRole { role_id, secret_id, .. } => {
                vec!["approle".to_owned(), role_id.words(), secret_id.to_string()]
            }
            Self::Jwt { role, jwt } => vec!["jwt".to_owned(), role.clone(), jwt.to_string()],
            Self::UserPass { username, password } => {
                vec!["userpass".to_owned(), username.clone(), password.to_string()]
            }
            Self::Cert { role } => vec!["cert".to_owned(), role.clone().unwrap_or_default()],
            Self::Aws(aws) => {
                let role = aws.role.clone().unwrap_or_default();
                ["aws".to_owned(), role].into_iter().chain(aws.identity.words()).collect()
            }
            Self::Azure(azure) => {
                let Azure { role, resource, client_id, .. } = &**azure;
                let client = client_id.clone().unwrap_or_default();
                vec!["azure".to_owned(), role.clone(), resource.clone(), client]
            }
        }
    }
}

impl TextSource {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::From(source) => source.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    /// An upgrade that changes one of these finds no copy of before.
    #[test]
    fn the_words_stay_as_they_are() {
        let text = "providers:
  v: {type: vault, address: \"https://v.example:8200\", auth: {method: approle, role_id: r, secret_id: \"${S}\"}}
  t: {type: vault, address: \"https://v.example:8200/x\", auth: {method: token, token: \"file:/t\"}}
  k: {type: vault, address: \"https://v.example:8200\", auth: {method: kubernetes, role: app}}
  i: {type: vault, address: \"https://v.example:8200\", auth: {method: aws, role: r}}
  s: {type: vault, address: \"https://v.example:8200\", auth: {method: aws, access_key_id: AKID, secret_access_key: \"file:/s\"}}
  e: {type: etcd, address: \"https://e.example:2379\", prefix: /s/, auth: {username: app, password: \"credential:pw\"}}
  g: {type: gcp-sm, project: p-1, location: europe-west1, auth: {key: \"file:/k\"}}
  f: {type: file, path: /secrets, age: {identity: \"file:/key\"}}
  o: {type: 1password, address: \"https://o.example\", vault: Prod}
";
        let config = Config::parse(Path::new("/etc/secretfs.yaml"), text).unwrap();
        let words = |name: &str| {
            let kind = &config.providers[name];
            let (place, prefix) = kind.place().unwrap();
            format!("{place}|{prefix}|{}", kind.asker().replace('\0', "|"))
        };
        let account = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        let expected = [
            ("v", "vault https://v.example:8200||approle|approle|r|${S}".to_owned()),
            ("t", "vault https://v.example:8200/x||token|token|file:/t".to_owned()),
            ("k", format!("vault https://v.example:8200||kubernetes|jwt|app|file:{account}")),
            (
                "i",
                "vault https://v.example:8200||aws|aws|r|${AWS_ACCESS_KEY_ID}|${AWS_SECRET_ACCESS_KEY}"
                    .to_owned(),
            ),
            ("s", "vault https://v.example:8200||aws|aws||AKID|file:/s".to_owned()),
            ("e", "etcd https://e.example:2379|/s/|app|credential:pw".to_owned()),
            (
                "g",
                "gcp https://secretmanager.europe-west1.rep.googleapis.com p-1 europe-west1||key|file:/k"
                    .to_owned(),
            ),
            ("f", "file|/secrets/|file:/key".to_owned()),
            ("o", "1password https://o.example||${OP_CONNECT_TOKEN}|Prod".to_owned()),
        ];
        for (name, expected) in expected {
            assert_eq!(words(name), expected, "{name}");
        }
    }
}
