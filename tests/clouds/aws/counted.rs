//! Calls, counted at the server.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::mounted;
use crate::common::aws::{InAws, Kind};
use crate::common::contract::Source;
use crate::common::python;

/// A thousand of them, by one file.
fn cold(kind: Kind) -> (InAws, usize) {
    const SECRETS: usize = 1_000;
    let aws = InAws::new(kind);
    let mut text = String::new();
    for number in 0..SECRETS {
        aws.put(&format!("many/{number}"), format!("<{number}>").as_bytes());
        text += &format!("<< secret('p:{}many/{number}') >>", aws.below());
    }
    let provider = format!("{}, timeout: 60s, cache: {{ttl: 1h}}", aws.provider());
    let config = "mounts: [{at: mnt, templates: templates, deadline: 60s}]";
    let mount = crate::common::TestMount::new().template("f.tpl", &text);
    let mount = mount.config(&format!("providers: {{p: {{{provider}}}}}\n{config}\n")).start();
    let start = Instant::now();
    let all: String = (0..SECRETS).map(|number| format!("<{number}>")).collect();
    assert_eq!(mount.read("f"), all);
    let asked = aws.questions().unwrap();
    println!("{SECRETS} cold: {asked} calls in {:?}", start.elapsed());
    assert_eq!(mount.read("f"), all);
    assert_eq!(aws.questions().unwrap(), asked, "the control: they are kept");
    (aws, asked)
}

#[test]
fn a_thousand_secrets_are_fifty_calls() {
    let (aws, asked) = cold(Kind::Secrets);
    assert_eq!((asked, aws.front.asked("BatchGetSecretValue")), (50, 50));
}

#[test]
fn a_thousand_parameters_are_a_hundred_calls() {
    let (aws, asked) = cold(Kind::Parameters);
    assert_eq!((asked, aws.front.asked("GetParameters")), (100, 100));
}

/// What a provider is asked for again is asked for together.
#[test]
fn polling_is_by_the_batch() {
    let aws = InAws::new(Kind::Secrets);
    let mut text = String::new();
    for number in 0..40 {
        aws.put(&format!("many/{number}"), b"v");
        text += &format!("<< secret('p:many/{number}') >>");
    }
    let mount = mounted(&format!("{}, cache: {{ttl: 1s}}", aws.provider()), &[("f", &text)]);
    for _ in 0..3 {
        assert_eq!(mount.read("f"), "v".repeat(40));
        std::thread::sleep(std::time::Duration::from_millis(1500));
    }
    let (all, single) = (aws.front.asked("BatchGetSecretValue"), aws.front.asked("GetSecretValue"));
    println!("{all} batches, {single} single ones");
    assert!(single == 0 && (4..=20).contains(&all), "{all} and {single}");
}

/// Each body that we send is one that AWS' own description of the service takes, and so is what it is answered.
#[test]
fn questions_are_those_of_the_description() {
    use std::io::Write;
    use std::process::Stdio;
    use std::sync::{Arc, Mutex};
    let mut lines = String::new();
    for (kind, service) in [(Kind::Secrets, "secretsmanager"), (Kind::Parameters, "ssm")] {
        let aws = InAws::new(kind);
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let note = seen.clone();
        aws.front.answer(move |request| {
            let target = request.header("x-amz-target")?.to_owned();
            note.lock().unwrap().push((target, String::from_utf8_lossy(&request.body).into_owned()));
            None
        });
        for name in ["a", "b"] {
            aws.put(name, b"v");
        }
        let below = aws.below();
        let text = match kind {
            Kind::Secrets => {
                "<< secret('p:a') >><< secret('p:b') >><< secret('p:a?stage=AWSCURRENT') >>".to_owned()
            }
            Kind::Parameters => format!("<< secret('p:{below}a') >><< secret('p:{below}b:1') >>"),
        };
        let mount = mounted(&aws.provider(), &[("f", &text)]);
        assert!(mount.read("f").starts_with("vv"));
        mount.store().command(&["--config", "secretfs.yaml", "provider", "test", "p"]).output().unwrap();
        for (target, body) in seen.lock().unwrap().iter() {
            let body: Value = serde_json::from_str(body).unwrap();
            lines += &format!("{}\n", serde_json::json!([service, target, body]));
        }
    }
    assert!(lines.contains("ListSecrets") && lines.contains("GetParametersByPath"), "{lines}");
    let judge = |lines: &str| {
        let mut judge = Command::new(python());
        judge.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clouds/aws/judge.py")).stdin(Stdio::piped());
        let mut judge = judge.stdout(Stdio::piped()).spawn().unwrap();
        judge.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        String::from_utf8(judge.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(judge(&lines), "", "{lines}");
    let wrong = r#"["ssm", "AmazonSSM.GetParameters", {"Names": "a", "Nonsense": 1}]"#;
    assert!(judge(wrong).contains("Nonsense"), "the control");
}
