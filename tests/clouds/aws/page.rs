//! What `docs/providers/aws.md` says is so.

use std::fs;

use crate::common::aws::{InAws, Kind, Moto};
use crate::common::{TestMount, is_judged_good};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/aws.md");

#[test]
fn the_page_says_what_is_so() {
    let page = fs::read_to_string(PAGE).unwrap();
    let blocks: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [served, judged] = blocks[..] else { panic!("{}", blocks.len()) };
    let aws = InAws::new(Kind::Secrets);
    let moto = Moto::shared();
    moto.put_secret(aws.region, "app/db", br#"{"user": "app", "password": "p@ss"}"#);
    moto.put_parameter(aws.region, "/app/stripe-key", "sk_live_42");
    let there = format!("address: 'http://{}', region: {}", aws.front.address, aws.region);
    let config = served.replace("region: eu-central-1", &there);
    assert_ne!(config, served);
    let between =
        |begin: &str, end: &str| page.split(begin).nth(1).and_then(|it| it.split(end).next()).unwrap();
    let mount = TestMount::new().template("app.conf.tpl", between("$ cat templates/app.conf.tpl\n", "$ "));
    let mount = mount.env("AWS_ACCESS_KEY_ID", &aws.id).env("AWS_SECRET_ACCESS_KEY", &aws.secret);
    assert_eq!(mount.config(&config).start().read("app.conf"), between("$ cat mnt/app.conf\n", "```"));
    is_judged_good(judged, "region:");
}
