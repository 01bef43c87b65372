//! A kubeconfig, as kubectl reads it: where the cluster of a context is, whom to believe, and who we are. What is not
//! known here is refused in words, and never passed over. What it holds of secrets goes into memory of its own.

use std::collections::BTreeMap;
use std::path::Path;

use super::members::{Members, Read};
use super::plan::{Files, Plan, Who};
use super::plugin::Plugin;
use crate::config::{Address, Kubernetes, SecretSource, Tls, Transport};
use crate::document::{Node, yaml};
use crate::net::Given;
use crate::secret::SecretBytes;

type Identity = Option<(Vec<u8>, SecretBytes)>;

/// `context`: of several the one of this name, and not the current one.
pub(super) fn read(path: &Path, context: Option<&str>, files: &mut Files) -> Read<Plan> {
    let text = files.read(path.file_name().unwrap_or_default())?;
    of_text(text.expose(), context, files)
}

fn of_text(text: &[u8], context: Option<&str>, files: &mut Files) -> Read<Plan> {
    let node = yaml(text).map_err(|it| format!("{} (line {})", it.problem, it.line))?;
    let mut top = Members::of("the file", node)?;
    let current = top.text("current-context")?;
    let name = context.map(str::to_owned).or(current);
    let name = name.ok_or("it has no `current-context`: say `context` in the config")?;
    let mut context = top.named("contexts", "context", &name)?;
    let (cluster, user) = (context.needed("cluster")?, context.text("user")?);
    let namespace = context.text("namespace")?;
    if !namespace.as_deref().is_none_or(Kubernetes::is_namespace) {
        return Err(context.says("has a `namespace` that can be none of a cluster"));
    }
    context.nothing_else()?;
    let (transport, ca) = cluster_of(top.named("clusters", "cluster", &cluster)?, files)?;
    let (identity, who) = match user {
        Some(user) => user_of(top.named("users", "user", &user)?, files)?,
        None => (None, Who::Nobody),
    };
    Ok(Plan { transport, given: Given { ca, identity }, who, namespace })
}

fn cluster_of(mut cluster: Members, files: &mut Files) -> Read<(Transport, Option<Vec<u8>>)> {
    let server = cluster.needed("server")?;
    let address: Address = server.parse().map_err(|why| format!("{}: {why}", cluster.what))?;
    if cluster.flag("insecure-skip-tls-verify")? {
        return Err(cluster.says(
            "has `insecure-skip-tls-verify`: the check of certificates is never turned off here; give its authority as `certificate-authority`",
        ));
    }
    if cluster.text("proxy-url")?.is_some() {
        return Err(cluster.says("has a `proxy-url`, which is not known here: name the proxy in HTTPS_PROXY"));
    }
    let server_name = cluster.text("tls-server-name")?;
    let ca = cluster.file_or_data("certificate-authority", files)?;
    cluster.nothing_else()?;
    let transport = Transport { address, tls: Tls { server_name, ..Tls::default() } };
    Ok((transport, ca.map(|ca| ca.expose().to_vec())))
}

fn user_of(mut user: Members, files: &mut Files) -> Read<(Identity, Who)> {
    for (key, instead) in [
        ("username", "a token, a certificate or `exec`"),
        ("password", "a token, a certificate or `exec`"),
        ("auth-provider", "`exec`"),
        ("as", "a user with the rights itself"),
    ] {
        if user.take(key).is_some() {
            return Err(user.says(&format!("has `{key}`, which is not known here: give it {instead}")));
        }
    }
    let cert = user.file_or_data("client-certificate", files)?;
    let key = user.file_or_data("client-key", files)?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.expose().to_vec(), key)),
        (None, None) => None,
        _ => return Err(user.says("needs its `client-certificate` and its `client-key` together")),
    };
    let (file, token) = (user.text("tokenFile")?, user.secret("token")?);
    let plugin = user.take("exec").map(|node| plugin_of(node, &user.what, files)).transpose()?;
    user.nothing_else()?;
    let who = match (file, token, plugin) {
        (Some(file), _, _) => Who::Source(SecretSource::File(files.path(file))),
        (None, Some(token), _) => Who::Token(token),
        (None, None, Some(plugin)) => Who::Plugin(plugin),
        (None, None, None) => Who::Nobody,
    };
    Ok((identity, who))
}

fn plugin_of(node: Node, whose: &str, files: &Files) -> Read<Plugin> {
    let mut exec = Members::of(&format!("`exec` of {whose}"), node)?;
    let api = exec.needed("apiVersion")?;
    if !Plugin::APIS.contains(&&*api) {
        return Err(exec.says(&format!(
            "has an `apiVersion` that is not known here (known are {})",
            Plugin::APIS.join(", ")
        )));
    }
    let command = exec.needed("command")?;
    let command = match command.contains('/') {
        true => files.path(command).display().to_string(),
        false => command,
    };
    if exec.text("interactiveMode")?.as_deref() == Some("Always") {
        return Err(exec.says("asks somebody at a terminal (`interactiveMode: Always`), and there is nobody"));
    }
    if exec.flag("provideClusterInfo")? {
        return Err(exec.says("wants `provideClusterInfo`, which is not known here"));
    }
    let text = |node: Node| String::from_utf8(node.into_value()?.expose().to_vec()).ok();
    let arguments = exec.list("args")?.into_iter().map(text).collect::<Option<Vec<_>>>();
    let arguments = arguments.ok_or_else(|| exec.says("has an argument that is no text"))?;
    let mut env = BTreeMap::new();
    for variable in exec.list("env")? {
        let mut variable = Members::of(&format!("`env` in {}", exec.what), variable)?;
        env.insert(variable.needed("name")?, variable.text("value")?.unwrap_or_default());
    }
    exec.take("installHint");
    exec.nothing_else()?;
    Ok(Plugin { api, command, arguments, env })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: team}}
- {name: two, context: {cluster: d, user: v}}
clusters:
- name: c
  cluster: {server: 'https://k.example:6443/prefix', certificate-authority-data: QUJD, tls-server-name: kubernetes}
- {name: d, cluster: {server: 'https://10.0.0.1', extensions: [x]}}
users:
- {name: u, user: {token: hunter2}}
- name: v
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: ./get-token, args: [a, 1],
      env: [{name: A, value: b}], interactiveMode: Never, installHint: x}
";

    fn plan(text: &str, context: Option<&str>) -> Read<Plan> {
        of_text(text.as_bytes(), context, &mut Files::of(Path::new("/home/app/.kube")))
    }

    #[test]
    fn a_context_is_a_cluster_and_a_user() {
        let one = plan(FILE, None).unwrap();
        assert_eq!(one.transport.address.to_string(), "https://k.example:6443/prefix");
        assert_eq!(one.transport.tls.server_name.as_deref(), Some("kubernetes"));
        assert_eq!((one.given.ca.as_deref(), one.namespace.as_deref()), (Some(&b"ABC"[..]), Some("team")));
        assert!(matches!(one.who, Who::Token(token) if token.same_as(b"hunter2")));
        let two = plan(FILE, Some("two")).unwrap();
        assert_eq!(two.transport.address.to_string(), "https://10.0.0.1");
        let Who::Plugin(plugin) = two.who else { panic!("no plugin") };
        assert_eq!(
            (&*plugin.command, plugin.arguments),
            ("/home/app/.kube/./get-token", vec!["a".to_owned(), "1".to_owned()])
        );
        assert_eq!(plugin.env["A"], "b");
    }

    #[test]
    fn what_is_not_known_is_refused_and_nothing_is_quoted() {
        let user = |user: &str| FILE.replace("{token: hunter2}", user);
        let cluster = |cluster: &str| FILE.replace("certificate-authority-data: QUJD", cluster);
        for (text, words) in [
            (cluster("insecure-skip-tls-verify: true"), "never turned off"),
            (cluster("proxy-url: 'http://p:hunter2@x'"), "`proxy-url`"),
            (cluster("certificate-authority-data: 'hunter2!'"), "no base64"),
            (cluster("certificate-authority: /nowhere/ca.pem"), "/nowhere/ca.pem"),
            (cluster("hunter: 2"), "`hunter`"),
            (FILE.replace("https://k", "http://k"), "in the clear"),
            (user("{username: a, password: hunter2}"), "`username`"),
            (user("{auth-provider: {name: gcp}}"), "`auth-provider`"),
            (user("{token: hunter2, as: admin}"), "`as`"),
            (user("{client-certificate-data: QQ==}"), "together"),
            (user("{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}"), "apiVersion"),
            (
                user(
                    "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}",
                ),
                "nobody",
            ),
            (
                user(
                    "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, provideClusterInfo: true}}",
                ),
                "provideClusterInfo",
            ),
            (user("{token: [hunter2]}"), "no text"),
            (FILE.replace("current-context: one", "current-context: ''"), "`context`"),
            (
                FILE.replace("current-context: one", "current-context: three"),
                "no context of the name `three`",
            ),
            (FILE.replace("user: u,", "user: w,"), "no user of the name `w`"),
            (FILE.replace("namespace: team", "namespace: Team"), "`namespace`"),
            ("hunter2".to_owned(), "no map"),
            ("a: 'hunter2".to_owned(), "no YAML"),
        ] {
            let Err(why) = plan(&text, None) else { panic!("{words}") };
            assert!(why.contains(words) && !why.contains("hunter2"), "{words}: {why}");
        }
    }
}
