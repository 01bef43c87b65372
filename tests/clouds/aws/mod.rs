//! Secrets Manager and the parameters of AWS, before moto with its checks of signatures and policies on.

mod counted;
mod keys;
mod page;
mod refused;
mod versions;

use crate::common::aws::InAws;
use crate::common::{Mounted, TestMount};
use crate::scene;

/// Without a machine that would be looked for.
fn prepared(provider: &str, files: &[(&str, &str)]) -> TestMount {
    scene::prepared(provider, files).env("AWS_EC2_METADATA_DISABLED", "true")
}

fn mounted(provider: &str, files: &[(&str, &str)]) -> Mounted {
    prepared(provider, files).start()
}

/// Neither what is read nor what it is read with.
#[track_caller]
fn never_told(mount: &Mounted, secrets: &[&str]) {
    let log = mount.stderr();
    scene::tells_nothing(&log);
    for secret in secrets {
        assert!(!log.contains(secret), "{log}");
    }
}

/// The file that reads `a`.
const FILE: [(&str, &str); 1] = [("f", "<< secret('p:a') >>")];
const OF_PARAMETERS: [(&str, &str); 1] = [("f", "<< secret('p:/a') >>")];

/// The ARN of a secret there.
fn arn(aws: &InAws, name: &str) -> String {
    let told = aws.call("describe_secret", &serde_json::json!({ "SecretId": name }));
    told["ARN"].as_str().unwrap().to_owned()
}
