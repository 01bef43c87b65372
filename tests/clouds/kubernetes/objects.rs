//! What a name in the cluster means, what an object's fields are, and what is not there.

use serde_json::json;

use super::{ASKED, Cluster, Fake, Real, mount_at, mount_of, reason, with_both};
use crate::common::TestStore;

with_both!(fields_are_keys, names_lead_nowhere_else, what_may_not_be_listed_is_read_all_the_same);

fn fields_are_keys(cluster: &impl Cluster) {
    cluster.put("objects", "tls", &[("tls.crt", b"CERT\n"), ("tls.key", b"\xff\x00KEY")]);
    cluster.put("objects", "one", &[("password", b"p")]);
    cluster.apply(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "objects", "name": "app"},
        "data": {"url": "https://x", "port": "80"}, "binaryData": {"bin": "AP8="}}),
    );
    cluster.put("objects", "pull", &[(".dockerconfigjson", b"{}")]);
    cluster.put("elsewhere", "db", &[("password", b"of another")]);
    let files = [
        ("crt", "<< secret('p:tls#tls.crt') >>"),
        ("value", "<< secret('p:one') >>|<< secret('p:one#password') >>"),
        ("pull", "<< secret('p:pull') >>"),
        ("map", "<< secret('p:configmap/app#url') >> << secret('p:configmap/app#port') >>"),
        ("binary", "<< secret('p:configmap/app#bin') | b64encode >>"),
        ("other", "<< secret('p:elsewhere/db') >>"),
        ("several", "<< secret('p:tls') >>"),
        ("pinned", "<< secret('p:one', version=3) | default('none') >>"),
        ("again", "<< secret('p:objects/one') >>"),
    ];
    let kubeconfig = cluster.kubeconfig("objects.yaml", "objects", json!({ "token": cluster.admin() }));
    let mount = mount_at(&kubeconfig, ASKED, &files);
    for (file, text) in [
        ("crt", "CERT\n"),
        ("value", "p|p"),
        ("pull", "{}"),
        ("map", "https://x 80"),
        ("other", "of another"),
        ("pinned", "none"),
    ] {
        assert_eq!(mount.read(file), text, "{file}: {}", reason(&mount, file));
    }
    assert_ne!(mount.errno("several"), libc::ENOENT, "which of its fields?");
    assert_eq!(mount.errno("again"), libc::EIO);
    assert!(reason(&mount, "again").contains("write `one`"), "{}", reason(&mount, "again"));
}

/// Each is no name there, and none of them another's.
fn names_lead_nowhere_else(cluster: &impl Cluster) {
    cluster.put("names", "db", &[("password", b"another's")]);
    cluster.put("n2", "db", &[("password", b"another's")]);
    let names = [
        "..",
        "../names",
        "x/../db",
        "n2//db",
        "/db",
        "db/",
        "%64b",
        "n2%2fdb",
        "db?x=y",
        "DB",
        "d b",
        "é",
        "db&x",
        "n2/secrets/db",
        "none",
        "nowhere/db",
        "configmap/db",
    ];
    let texts = names.map(|name| format!("<< secret(\"p:{name}\") | default('none') >>"));
    let files: Vec<_> = (0..names.len()).map(|at| format!("f{at}")).collect();
    let files: Vec<_> = files.iter().zip(&texts).map(|(file, text)| (&**file, &**text)).collect();
    let kubeconfig = cluster.kubeconfig("names.yaml", "names", json!({ "token": cluster.admin() }));
    let mount = mount_at(&kubeconfig, ASKED, &files);
    for ((file, _), name) in files.iter().zip(names) {
        assert_eq!(mount.read(file), "none", "{name}: {}", reason(&mount, file));
    }
}

/// `provider test` says what works; a right that nobody needs is not missed.
fn what_may_not_be_listed_is_read_all_the_same(cluster: &impl Cluster) {
    cluster.put("few", "db", &[("password", b"hunter2-db")]);
    cluster.put("few", "other", &[("password", b"hunter2-other")]);
    let files = [("db", "<< secret('p:db') >>"), ("other", "<< secret('p:other') | default('d') >>")];
    let mount = mount_of(cluster, "few", &["db"], ASKED, &files);
    assert_eq!(mount.read("db"), "hunter2-db");
    assert_eq!(mount.errno("other"), libc::EIO, "that is no reason for a default");
    let said = reason(&mount, "other");
    assert!(said.contains("gives us no right to get secrets `other` in `few`"), "{said}");
    let store = TestStore::new();
    let told = |kubeconfig: &str| {
        let path = cluster.folder().join(kubeconfig);
        let config = format!("providers: {{p: {{type: kubernetes, kubeconfig: '{}'}}}}\n", path.display());
        std::fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
        let told = store.run(&["provider", "test", "p", "--read", "db"]);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.status.success() && text.contains("p: works") && !text.contains("hunter2"), "{text}");
        text
    };
    assert!(told("few.yaml").contains("not allowed, and not needed"), "{}", told("few.yaml"));
    cluster.kubeconfig("all.yaml", "few", json!({ "token": cluster.admin() }));
    assert!(told("all.yaml").contains("2 secrets"), "{}", told("all.yaml"));
}
