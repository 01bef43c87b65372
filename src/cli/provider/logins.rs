//! As whom a provider is asked, in words: where its own secrets come from, never what they are. Uses the words of
//! `config`.

use std::fmt::Display;

use crate::config::{
    AwsIdentity, AzureIdentity, AzureVault, Cluster, Etcd, GcpIdentity, GcpSecrets, Login, OnePassword,
};

/// Settings by their names.
pub(super) type Lines = Vec<(&'static str, String)>;

pub(super) fn vault(login: &Login) -> Lines {
    let words = match login {
        Login::Token(from) => format!("token from {from}"),
        Login::AppRole { secret_id, is_wrapped, .. } => {
            let wrapped = if *is_wrapped { "wrapped " } else { "" };
            format!("approle, {wrapped}secret id from {secret_id}")
        }
        Login::Jwt { role, jwt } => format!("role {role}, token from {jwt}"),
        Login::UserPass { username, password } => format!("user {username}, password from {password}"),
        Login::Cert { role } => format!("certificate of the connection{}", as_role(role)),
        Login::Aws(aws) => {
            let [_, key] = aws.identity.words();
            let machine = aws.identity.keys.as_ref().map_or(", or the machine's", |_| "");
            format!("aws, key from {key}{machine}{}", as_role(&aws.role))
        }
        Login::Azure(azure) => {
            format!("azure, the machine's token from {}, role {}", azure.metadata, azure.role)
        }
    };
    let mut lines = vec![("login", words)];
    if let Login::Aws(aws) = login {
        lines.extend(said("region", &aws.region));
        lines.extend(said("server_id", &aws.server_id));
        lines.extend(said("sts_endpoint", &aws.sts));
        lines.extend(aws.identity.keys.iter().flat_map(|keys| said("session_token", &keys.session)));
        lines.extend(said("metadata", &aws.identity.metadata));
    }
    lines
}

pub(super) fn etcd(etcd: &Etcd) -> Lines {
    etcd.user.iter().map(|(name, from)| ("login", format!("{name}, password from {from}"))).collect()
}

pub(super) fn aws(identity: &AwsIdentity) -> Lines {
    let AwsIdentity { keys, profile, role, external_id, sts, metadata } = identity;
    let login = match (keys, profile) {
        (Some(keys), _) => format!("key from {}", keys.secret),
        (None, Some(profile)) => format!("profile {profile}"),
        (None, None) => "where all programs of AWS look".to_owned(),
    };
    let mut lines = vec![("login", format!("{login}{}", as_role(role)))];
    lines.extend(keys.iter().flat_map(|keys| said("session_token", &keys.session)));
    lines.extend(said("external_id", external_id));
    lines.extend(said("sts_endpoint", sts));
    lines.extend(said("metadata", metadata));
    lines
}

pub(super) fn azure(azure: &AzureVault) -> Lines {
    let words = match &azure.identity {
        AzureIdentity::Any { .. } => "the first that the environment says, or else the machine's".to_owned(),
        AzureIdentity::Managed { client_id, .. } => {
            format!("managed identity {}", client_id.as_deref().unwrap_or("of the machine"))
        }
        AzureIdentity::Secret { tenant, client_id, secret } => {
            format!("application {client_id} of {tenant}, secret from {secret}")
        }
        AzureIdentity::Certificate { tenant, client_id, certificate } => {
            format!("application {client_id} of {tenant}, certificate from {certificate}")
        }
        AzureIdentity::Workload { .. } => "workload identity, by the token of the cluster".to_owned(),
        AzureIdentity::Cli => "whoever has logged in with az".to_owned(),
    };
    let mut lines = vec![("login", words)];
    if let AzureIdentity::Workload { tenant, client_id } = &azure.identity {
        lines.extend(said("tenant_id", tenant));
        lines.extend(said("client_id", client_id));
    }
    if matches!(azure.identity, AzureIdentity::Any { .. } | AzureIdentity::Managed { .. }) {
        lines.push(("metadata", azure.metadata.to_string()));
    }
    lines.extend(said("authority", &azure.authority));
    lines
}

pub(super) fn gcp(gcp: &GcpSecrets) -> Lines {
    let (words, metadata) = match &gcp.identity {
        GcpIdentity::Key(from) => (format!("credentials from {from}"), &None),
        GcpIdentity::Default { metadata } => {
            ("what gcloud has left, or else the machine's".to_owned(), metadata)
        }
        GcpIdentity::Machine { metadata } => ("the machine's service account".to_owned(), metadata),
    };
    [vec![("login", words)], said("metadata", metadata)].concat()
}

pub(super) fn onepassword(connect: &OnePassword) -> Lines {
    vec![("login", format!("token from {}", connect.token))]
}

pub(super) fn kubernetes(cluster: &Cluster) -> Lines {
    match cluster {
        Cluster::Around => vec![("login", "the service account of the pod".to_owned())],
        Cluster::Kubeconfig { context, .. } => {
            vec![("context", context.clone().unwrap_or_else(|| "the current one".to_owned()))]
        }
        Cluster::At { token, .. } => {
            token.iter().map(|from| ("login", format!("token from {from}"))).collect()
        }
    }
}

/// A setting that need not be there.
fn said(name: &'static str, value: &Option<impl Display>) -> Lines {
    value.iter().map(|value| (name, value.to_string())).collect()
}

fn as_role(role: &Option<String>) -> String {
    role.as_ref().map_or_else(String::new, |role| format!(", role {role}"))
}
