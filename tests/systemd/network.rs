//! The unit as shipped may make no connections, and says so wherever one is wanted; with the drop-in for it, it
//! reads from a server.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;

use super::app::{App, UNIT, complaints, installed};
use super::common::Transcript;
use super::common::etcd::Etcd;

pub(crate) const NETWORK: &str = include_str!("../../systemd/secretfs.service.d/network.conf");
const MAY_NOT: &str = "this process may make no connections to a network: under systemd, add \
                       systemd/secretfs.service.d/network.conf to its unit";

struct Networked {
    app: App,
    figures: String,
}

/// A machine whose daemon wants a server's secret, by number and by name, and what programs print.
fn app(etcd: &Etcd, drop_in: Option<&str>) -> Networked {
    etcd.put("/s/a", "of a server");
    let mut app = App::new(UNIT);
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let figures = format!("127.0.0.1:{port}");
    let (folder, url) = (app.machine.folder().to_owned(), etcd.url());
    let more = format!(
        "providers:
  number: {{type: etcd, address: '{url}', prefix: /s/}}
  name: {{type: etcd, address: 'https://secretfs.invalid'}}
  curl: {{type: exec, command: [sh, -c, 'curl --silent --fail {url}/version']}}
  home: {{type: exec, command: [sh, -c, 'echo ${{HOME:-none}}']}}
control: {{listen: '{figures}'}}
"
    );
    let mut config = OpenOptions::new().append(true).open(folder.join("config.yaml")).expect("the config");
    config.write_all(more.as_bytes()).expect("more of it");
    let shown = |file: &str| {
        format!(
            "cat /run/secretfs/app/{file} || getfattr --only-values -n user.secretfs.error /run/secretfs/app/{file}"
        )
    };
    for name in ["number", "name", "curl", "home"] {
        let template = app.store.folder().join(format!("templates/{name}.tpl"));
        fs::write(template, format!("<< secret('{name}:a') >>")).expect("a template");
        app.machine = app.machine.reader(&format!("reads-{name}"), "app", &shown(name));
    }
    // As the daemon is: what it can, this can.
    let daemon = UNIT.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    let test = "ExecStart=/usr/bin/secretfs --config /etc/secretfs/config.yaml provider test number";
    let output = format!("Type=oneshot\nStandardOutput=append:{}/tried.output", folder.display());
    let tried = UNIT.replace(daemon, test).replace("Type=notify", &output).replace("Restart=on-failure", "");
    app.machine = app.machine.unit("tried.service", &installed(&folder, &tried, "tried.output"));
    if let Some(text) = drop_in {
        for unit in ["secretfs", "tried"] {
            app.machine = app.machine.unit(&format!("{unit}.service.d/network.conf"), text);
        }
    }
    Networked { app, figures }
}

impl Networked {
    fn boot(&self, script: &str) -> Transcript {
        let script = format!(
            "systemctl start secretfs.service
             systemctl start reads-number.service reads-curl.service reads-home.service
             {script}
             systemctl stop secretfs.service"
        );
        self.app.boot(&script.replace("FIGURES", &self.figures))
    }

    fn said(&self, unit: &str) -> String {
        self.app.machine.output_of(unit)
    }
}

#[test]
fn the_unit_alone_makes_no_connections_and_says_what_to_do() {
    let etcd = Etcd::start();
    let it = app(&etcd, None);
    let script = "systemctl start reads-name.service
                  fails systemctl start tried.service
                  fails curl --silent --fail http://FIGURES/healthz";
    it.boot(script).expect_success();
    for unit in ["reads-number", "reads-name", "tried", "service"] {
        assert!(it.said(unit).contains(MAY_NOT), "{unit}: {}", it.said(unit));
    }
    let told = it.said("service");
    assert!(told.contains("wanted=\"name, number, control.listen\""), "as it starts: {told}");
    assert!(it.said("reads-curl").contains("Input/output error"), "{}", it.said("reads-curl"));
    assert_eq!(it.said("reads-home"), "none", "systemd sets no HOME");
}

#[test]
fn with_its_drop_in_the_unit_reads_from_a_server() {
    let etcd = Etcd::start();
    let it = app(&etcd, Some(&NETWORK.replace("#Environment", "Environment")));
    let script = "systemctl start tried.service
                  curl --silent --fail http://FIGURES/healthz";
    it.boot(script).expect_success();
    assert_eq!(it.said("reads-number"), "of a server");
    assert!(it.said("reads-curl").contains("etcdserver"), "{}", it.said("reads-curl"));
    assert!(it.said("tried").starts_with("number: works"), "{}", it.said("tried"));
    assert_eq!(it.said("reads-home"), "/root");
    assert_eq!(complaints(&it.app), Vec::<String>::new());
}
