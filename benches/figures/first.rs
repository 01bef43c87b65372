//! The first secret of a program that has just begun: ours as a whole, and beside it each provider's own client for
//! Python. Both ask the same servers of the tests.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::aws::{InAws, Kind};
use crate::common::azure::{Azure, SECRET, by_secret};
use crate::common::contract::Source;
use crate::common::gcp::Gcp;
use crate::common::kubernetes::InCluster;
use crate::common::onepassword::InOnePassword;
use crate::common::{TestMount, python, stdout_of};
use crate::harness::{Authority, Proxy};
use crate::measure::{Samples, time};
use crate::table::{Row, Table};

const ROUNDS: usize = 9;
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/figures/first.py");

pub(crate) fn first(table: &mut Table) {
    let sources: [(&str, Box<dyn Source>); 5] = [
        ("aws-sm", Box::new(InAws::new(Kind::Secrets))),
        ("aws-ssm", Box::new(InAws::new(Kind::Parameters))),
        ("gcp-sm", Box::new(Gcp::start())),
        ("1password", Box::new(InOnePassword::new())),
        ("kubernetes", Box::new(InCluster::new())),
    ];
    for (kind, source) in &sources {
        source.put("db", format!("of {kind}").as_bytes());
        of_provider(table, kind, &source.provider(), &format!("{}db", source.below()));
    }
    of_azure(table);
}

/// Azure's own client speaks nothing but TLS.
fn of_azure(table: &mut Table) {
    let (azure, folder) = (Azure::start(), TempDir::with_prefix("secretfs-azure-").expect("a folder"));
    azure.put("db", "of azure-kv");
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).expect("written");
    let authority = Authority::new("Ours");
    let ca = authority.file(folder.path());
    let proxy = Proxy::before_with_tls(azure.served.address, authority.server(&["localhost"]).config());
    let url = format!("https://localhost:{}", proxy.address.port());
    let auth = by_secret(&url, &secret);
    let provider = format!("type: azure-kv, address: '{url}', tls: {{ca: '{}'}}, {auth}", ca.display());
    of_provider(table, "azure-kv", &provider, "db");
}

fn of_provider(table: &mut Table, kind: &str, provider: &str, path: &str) {
    let mount = TestMount::new().config(&format!("providers: {{p: {{{provider}}}}}\n"));
    let (mut ours, mut client, mut whole) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let reference = format!("--env=A=p:{path}");
        let mut exec = mount.command_of(&["exec", &reference, "--", "printenv", "A"]);
        ours.push(time(|| {
            let printed =
                stdout_of(&exec.stderr(Stdio::inherit()).output().expect("secretfs can be started"));
            assert_eq!(printed.trim_end(), format!("of {kind}"));
        }));
        let start = Instant::now();
        let mut theirs = Command::new(python());
        let printed =
            stdout_of(&theirs.args([CLIENT, provider, path]).output().expect("Python can be started"));
        whole.push(start.elapsed());
        client.push(Duration::from_secs_f64(printed.trim_end().parse().expect("seconds")));
    }
    let title = format!("the first secret of {kind}");
    table.row(Row::new(&title, "secretfs exec, as a whole", &ours).times(&client, 1.0));
    table.row(Row::new(&title, "its client for Python, without imports", &client));
    table.row(Row::new(&title, "its client for Python, as a whole", &whole));
}
