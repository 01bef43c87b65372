//! Whether the fake is like Google's: their own client reads from it, with the same files of credentials, in the same
//! run as we do.

use std::process::Command;

use serde_json::{Value, json};

use super::of;
use crate::common::gcp::Gcp;
use crate::common::{python, stdout_of};
use crate::scene::{ASKED, fails, mounted};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clouds/gcp/judge.py");

#[test]
fn googles_own_client_reads_what_we_read() {
    let gcp = Gcp::start();
    gcp.put("db", "one");
    gcp.put("db", [0, 255, 7]);
    gcp.put("off", "x");
    gcp.with("off", |it| it.set_state(1, "DISABLED"));
    gcp.put("third", "x");
    gcp.with("db", |it| it.aliases.insert("live".to_owned(), 1));
    let kinds = gcp.all_kinds();
    let mut judge = Command::new(python());
    judge.arg(JUDGE).arg(gcp.address().to_string()).args(kinds.iter().map(|(_, file, _)| file));
    judge.env("GCE_METADATA_HOST", gcp.address().to_string()).env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    let said: Value = serde_json::from_str(&stdout_of(&judge.output().unwrap())).unwrap();
    for who in kinds.iter().map(|(_, file, _)| file.to_str().unwrap()).chain(["signed", "machine"]) {
        let [name, value] = [&said[who][0], &said[who][1]];
        assert_eq!((name, value), (&"projects/1/secrets/db/versions/2".into(), &"00ff07".into()), "{who}");
    }
    assert_eq!(said["db/versions/1"][1], "6f6e65");
    assert_eq!(said["db/versions/live"][0], "projects/1/secrets/db/versions/1");
    for (version, error) in [
        ("db/versions/9", "NotFound"),
        ("none/versions/latest", "NotFound"),
        ("off/versions/latest", "BadRequest"),
    ] {
        assert_eq!(said[version], json!([error]), "{version}");
    }
    assert_eq!(
        said["names"],
        json!(["projects/p-1/secrets/db", "projects/p-1/secrets/off", "projects/p-1/secrets/third"])
    );
    // And we, from the same server.
    let text = "<< secret('p:db') | b64encode >> << secret('p:db/versions/live') >>";
    for (name, file, _) in &kinds {
        let mount = mounted(&format!("{}, {ASKED}", gcp.provider(file)), &[("f", text)]);
        assert_eq!(mount.read("f"), "AP8H one", "{name}");
    }
    let off = of(&gcp, &[("off", "<< secret('p:off') | default('d') >>")]);
    fails(&off, "off", libc::EKEYREVOKED, "");
}
