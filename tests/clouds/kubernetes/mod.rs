//! A cluster as a provider: what a name means, who we are, and how changes are heard of. What is said of the fake is
//! said of the real server, too, where that was built.

mod access;
mod objects;
mod watching;

use std::path::Path;

use serde_json::json;

use crate::common::kubernetes::{Cluster, Fake, Real};
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestMount, is_judged_good};
use crate::scene::{self, ASKED, Page, reason};

/// Tries it with the fake, and with the real server.
macro_rules! with_both {
    ($($test:ident),+ $(,)?) => {
        mod fake {
            $(#[test] fn $test() { super::$test(&super::Fake::start()) })+
        }
        mod real {
            $(#[test] fn $test() {
                if let Some(real) = super::Real::shared() {
                    super::$test(real);
                }
            })+
        }
    };
}
use with_both;

/// Only what tells of a change can make an answer new.
const KEPT: &str = "cache: {ttl: 1h, negative_ttl: 1h}";
fn mount_at(kubeconfig: &Path, settings: &str, files: &[(&str, &str)]) -> Mounted {
    started(&format!("kubeconfig: '{}', {settings}", kubeconfig.display()), files)
}

fn started(settings: &str, files: &[(&str, &str)]) -> Mounted {
    prepared(settings, files).start()
}

fn prepared(settings: &str, files: &[(&str, &str)]) -> TestMount {
    scene::prepared(&format!("type: kubernetes, {settings}"), files)
}

/// As somebody who may get and watch these secrets, and not list.
fn mount_of(
    cluster: &impl Cluster,
    namespace: &str,
    names: &[&str],
    settings: &str,
    files: &[(&str, &str)],
) -> Mounted {
    let token = cluster.token_for(namespace, names);
    let kubeconfig = cluster.kubeconfig(&format!("{namespace}.yaml"), namespace, json!({ "token": token }));
    let mount = mount_at(&kubeconfig, settings, files);
    assert!(!mount.stderr().contains(&token));
    mount
}

fn listening(mount: &Mounted, times: usize) {
    eventually("it hears of changes", || mount.stderr().matches("changes are heard of").count() >= times);
}

/// The blocks of the page: the first is served, where it is told the cluster; the third is judged.
#[test]
fn the_page_says_what_is_so() {
    let page = Page::of("kubernetes.md");
    let (served, others) = page.configs();
    let [_, judged] = others[..] else { panic!("{}", others.len()) };
    let fake = Fake::start();
    fake.put("prod", "db", &[("password", b"p@ss")]);
    let kubeconfig = fake.kubeconfig("k", "prod", json!({ "token": fake.admin() }));
    let config =
        served.replace("kubernetes}", &format!("kubernetes, kubeconfig: '{}'}}", kubeconfig.display()));
    assert_ne!(config, served);
    let template = page.between("$ cat templates/app.conf.tpl\n", "$ ");
    let mount = TestMount::new().template("app.conf.tpl", template).config(&config).start();
    let shown = page.between("$ cat mnt/app.conf\n", "$ ");
    assert_eq!(mount.read("app.conf"), shown);
    fake.put("prod", "db", &[("password", b"n3w")]);
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    is_judged_good(judged, "namespace:");
}
