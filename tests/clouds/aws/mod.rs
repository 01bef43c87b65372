//! Secrets Manager and the parameters of AWS, before moto with its checks of signatures and policies on.

mod counted;
mod keys;
mod page;
mod refused;
mod versions;

use crate::common::aws::InAws;
use crate::common::programmed::attribute;
use crate::common::{Mounted, TestMount};

/// What must be in no log.
const CANARY: &str = "hunter2";

/// A mount of these files, whose provider `p` has these settings.
fn mounted(provider: &str, files: &[(&str, &str)]) -> Mounted {
    prepared(provider, files).start()
}

fn prepared(provider: &str, files: &[(&str, &str)]) -> TestMount {
    let config = format!("providers: {{p: {{{provider}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n");
    let mount = TestMount::new().config(&config).env("SECRETFS_LOG", "trace");
    let mount = mount.env("AWS_EC2_METADATA_DISABLED", "true");
    files.iter().fold(mount, |mount, (name, text)| mount.template(&format!("{name}.tpl"), text))
}

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").unwrap_or_default()
}

#[track_caller]
fn fails(mount: &Mounted, file: &str, errno: i32, says: &str) {
    assert_eq!(mount.errno(file), errno, "{file}: {}\n{}", reason(mount, file), mount.stderr());
    let reason = reason(mount, file);
    assert!(reason.contains(says), "`{says}` is not in: {reason}");
    assert!(!reason.contains(CANARY), "{reason}");
}

/// Neither what is read nor what it is read with.
#[track_caller]
fn never_told(mount: &Mounted, secrets: &[&str]) {
    let log = mount.stderr();
    for secret in secrets.iter().chain([&CANARY]) {
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
