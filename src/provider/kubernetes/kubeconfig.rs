//! A kubeconfig, as kubectl reads it: where the cluster of a context is, whom to believe, and who we are. What is not
//! known here is refused in words, and never passed over. What it holds of secrets goes into memory of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::access::{Plan, Who};
use super::object::decoded;
use super::plugin::Plugin;
use crate::config::{Address, Tls, Transport};
use crate::document::{Key, Node, yaml};
use crate::net::Given;
use crate::secret::SecretBytes;

type Read<T> = Result<T, String>;

/// The members of an object that nobody has taken yet.
struct Members {
    what: String,
    entries: Vec<(Key, Node)>,
}

/// What nobody needs to know.
const IDLE: [&str; 2] = ["extensions", "disable-compression"];
const LARGEST: u64 = 1 << 20;

/// `context`: of several the one of this name, and not the current one.
/// `files`: all that were looked at, also if they could not be read.
pub(super) fn read(path: &Path, context: Option<&str>, files: &mut Vec<PathBuf>) -> Read<Plan> {
    files.push(path.to_owned());
    let text = bytes_of(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    of_text(text.expose(), context, folder, files)
}

fn of_text(text: &[u8], context: Option<&str>, folder: &Path, files: &mut Vec<PathBuf>) -> Read<Plan> {
    let node = yaml(text).map_err(|it| format!("{} (line {})", it.problem, it.line))?;
    let mut top = Members::of("the file", node)?;
    let current = top.text("current-context")?;
    let name = context.map(str::to_owned).or(current).filter(|it| !it.is_empty());
    let name = name.ok_or("it has no `current-context`: say `context` in the config")?;
    let mut context = top.named("contexts", "context", &name)?;
    let (cluster, user) = (context.needed("cluster")?, context.text("user")?);
    let namespace = context.text("namespace")?.filter(|it| !it.is_empty());
    context.nothing_else()?;
    let cluster = top.named("clusters", "cluster", &cluster)?;
    let (transport, ca) = cluster_of(cluster, folder, files)?;
    let user = user.filter(|it| !it.is_empty()).map(|user| top.named("users", "user", &user));
    let (identity, who) = match user.transpose()? {
        Some(user) => user_of(user, folder, files)?,
        None => (None, Who::Nobody),
    };
    Ok(Plan { transport, given: Given { ca, identity }, who, namespace })
}

fn cluster_of(
    mut cluster: Members,
    folder: &Path,
    files: &mut Vec<PathBuf>,
) -> Read<(Transport, Option<Vec<u8>>)> {
    let server = cluster.needed("server")?;
    let address: Address = server.parse().map_err(|why| format!("{}: {why}", cluster.what))?;
    if cluster.flag("insecure-skip-tls-verify")? {
        return Err(cluster.says(
            "has `insecure-skip-tls-verify`: the check of certificates is never turned off here; give its authority as `certificate-authority`",
        ));
    }
    if cluster.text("proxy-url")?.is_some_and(|it| !it.is_empty()) {
        return Err(cluster.says("has a `proxy-url`, which is not known here: name the proxy in HTTPS_PROXY"));
    }
    let server_name = cluster.text("tls-server-name")?.filter(|it| !it.is_empty());
    let ca = cluster.file_or_data("certificate-authority", folder, files)?;
    cluster.nothing_else()?;
    let transport = Transport { address, tls: Tls { server_name, ..Tls::default() } };
    Ok((transport, ca.map(|ca| ca.expose().to_vec())))
}

type Identity = Option<(Vec<u8>, SecretBytes)>;

fn user_of(mut user: Members, folder: &Path, files: &mut Vec<PathBuf>) -> Read<(Identity, Who)> {
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
    let cert = user.file_or_data("client-certificate", folder, files)?;
    let key = user.file_or_data("client-key", folder, files)?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.expose().to_vec(), key)),
        (None, None) => None,
        _ => return Err(user.says("needs its `client-certificate` and its `client-key` together")),
    };
    let file = user.text("tokenFile")?.filter(|it| !it.is_empty());
    let token = user.secret("token")?.filter(|it| !it.is_empty());
    let plugin = user.take("exec").map(|node| plugin_of(node, &user.what, folder)).transpose()?;
    user.nothing_else()?;
    let who = match (file, token, plugin) {
        (Some(file), _, _) => Who::File(folder.join(file)),
        (None, Some(token), _) => Who::Token(token),
        (None, None, Some(plugin)) => Who::Plugin(plugin),
        (None, None, None) => Who::Nobody,
    };
    Ok((identity, who))
}

fn plugin_of(node: Node, whose: &str, folder: &Path) -> Read<Plugin> {
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
        true => folder.join(command).display().to_string(),
        false => command,
    };
    if exec.text("interactiveMode")?.as_deref() == Some("Always") {
        return Err(exec.says("asks somebody at a terminal (`interactiveMode: Always`), and there is nobody"));
    }
    if exec.flag("provideClusterInfo")? {
        return Err(exec.says("wants `provideClusterInfo`, which is not known here"));
    }
    let arguments = exec
        .list("args")?
        .into_iter()
        .map(|it| text_of(it).ok_or_else(|| exec.says("has an argument that is no text")));
    let arguments = arguments.collect::<Read<Vec<_>>>()?;
    let mut env = BTreeMap::new();
    for variable in exec.list("env")? {
        let mut variable = Members::of(&format!("`env` in {}", exec.what), variable)?;
        env.insert(variable.needed("name")?, variable.text("value")?.unwrap_or_default());
    }
    exec.take("installHint");
    exec.nothing_else()?;
    Ok(Plugin { api, command, arguments, env })
}

impl Members {
    fn of(what: &str, node: Node) -> Read<Self> {
        match node {
            Node::Object(entries) => Ok(Self { what: what.to_owned(), entries }),
            other => Err(format!("{what} is {}, and no map of settings", other.what())),
        }
    }

    /// The object in the list whose `name` is this.
    fn named(&mut self, list: &str, kind: &'static str, name: &str) -> Read<Self> {
        let place = self.entries.iter_mut().find(|(key, _)| key.name == list);
        let Some((_, Node::List(nodes))) = place else { return Err(format!("it has no list of `{list}`")) };
        let is_it = |node: &Node| match node {
            Node::Object(entries) => entries.iter().any(|(key, node)| {
                key.name == "name" && matches!(node, Node::Text(text) if text.same_as(name.as_bytes()))
            }),
            _ => false,
        };
        let at =
            nodes.iter().position(is_it).ok_or_else(|| format!("it has no {kind} of the name `{name}`"))?;
        let what = format!("its {kind} `{name}`");
        let mut entry = Self::of(&what, nodes.swap_remove(at))?;
        let inside = entry.take(kind).ok_or_else(|| format!("{what} has no settings"))?;
        Self::of(&what, inside)
    }

    /// Nothing is `null`, too.
    fn take(&mut self, name: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(key, _)| key.name == name)?;
        Some(self.entries.swap_remove(at).1).filter(|node| !matches!(node, Node::Nothing))
    }

    fn secret(&mut self, name: &str) -> Read<Option<SecretBytes>> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.says(&format!("has a `{name}` that is no text"))),
        }
    }

    /// One that may be shown.
    fn text(&mut self, name: &str) -> Read<Option<String>> {
        let text = self.secret(name)?;
        let text = text.map(|it| String::from_utf8(it.expose().to_vec()));
        text.transpose().map_err(|_| self.says(&format!("has a `{name}` that is no text")))
    }

    fn needed(&mut self, name: &str) -> Read<String> {
        let text = self.text(name)?.filter(|it| !it.is_empty());
        text.ok_or_else(|| self.says(&format!("has no `{name}`")))
    }

    fn flag(&mut self, name: &str) -> Read<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Node::Bool(is)) => Ok(is),
            Some(_) => Err(self.says(&format!("has a `{name}` that is neither true nor false"))),
        }
    }

    fn list(&mut self, name: &str) -> Read<Vec<Node>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Node::List(nodes)) => Ok(nodes),
            Some(_) => Err(self.says(&format!("has a `{name}` that is no list"))),
        }
    }

    /// Base64 in the file itself comes before another file.
    fn file_or_data(
        &mut self,
        name: &str,
        folder: &Path,
        files: &mut Vec<PathBuf>,
    ) -> Read<Option<SecretBytes>> {
        let data = self.secret(&format!("{name}-data"))?.filter(|it| !it.is_empty());
        let file = self.text(name)?.filter(|it| !it.is_empty());
        if let Some(data) = data {
            let broken = |_| self.says(&format!("has a `{name}-data` that is no base64"));
            return decoded(&data).map(Some).map_err(broken);
        }
        let Some(path) = file.map(|file| folder.join(file)) else { return Ok(None) };
        files.push(path.clone());
        bytes_of(&path).map(Some).map_err(|why| self.says(&format!("names as `{name}` a file that {why}")))
    }

    fn nothing_else(&self) -> Read<()> {
        match self.entries.iter().find(|(key, _)| !IDLE.contains(&&*key.name)) {
            Some((key, _)) => Err(self.says(&format!("has `{}`, which is not known here", key.name))),
            None => Ok(()),
        }
    }

    fn says(&self, what: &str) -> String {
        format!("{} {what}", self.what)
    }
}

fn text_of(node: Node) -> Option<String> {
    String::from_utf8(node.into_value()?.expose().to_vec()).ok()
}

/// The whole file, if it is not larger than any of these is.
pub(super) fn bytes_of(path: &Path) -> Read<SecretBytes> {
    let cannot = |error: std::io::Error| format!("cannot be read ({}): {error}", path.display());
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > LARGEST {
        return Err(format!("is too large ({})", path.display()));
    }
    std::fs::read(path).map(SecretBytes::new).map_err(cannot)
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
        of_text(text.as_bytes(), context, Path::new("/home/app/.kube"), &mut Vec::new())
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
            ("hunter2".to_owned(), "no map"),
            ("a: 'hunter2".to_owned(), "no YAML"),
        ] {
            let Err(why) = plan(&text, None) else { panic!("{words}") };
            assert!(why.contains(words) && !why.contains("hunter2"), "{words}: {why}");
        }
    }
}
