//! What `docs/providers/aws.md` says is so.

use crate::common::aws::{InAws, Kind, Moto};
use crate::common::{TestMount, is_judged_good};
use crate::scene::Page;

#[test]
fn the_page_says_what_is_so() {
    let page = Page::of("aws.md");
    let (served, others) = page.configs();
    let aws = InAws::new(Kind::Secrets);
    let moto = Moto::shared();
    moto.put_secret(&aws.region, "app/db", br#"{"user": "app", "password": "p@ss"}"#);
    moto.put_parameter(&aws.region, "/app/stripe-key", "sk_live_42");
    let there = format!("address: 'http://{}', region: {}", aws.front.address, aws.region);
    let config = served.replace("region: eu-central-1", &there);
    assert_ne!(config, served);
    let template = page.between("$ cat templates/app.conf.tpl\n", "$ ");
    let mount = TestMount::new().template("app.conf.tpl", template).config(&config);
    let mount = mount.env("AWS_ACCESS_KEY_ID", &aws.id).env("AWS_SECRET_ACCESS_KEY", &aws.secret).start();
    assert_eq!(mount.read("app.conf"), page.between("$ cat mnt/app.conf\n", "```"));
    assert_eq!(others.iter().map(|config| is_judged_good(config, "region:")).count(), 1);
}
