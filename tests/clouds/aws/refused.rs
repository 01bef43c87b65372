//! What AWS refuses, in the words of the real services where moto has others, and with moto's policies where it has them.

use serde_json::{Value, json};

use super::{FILE, OF_PARAMETERS, mounted, never_told};
use crate::common::aws::{InAws, Kind, Moto};
use crate::common::contract::Source;
use crate::common::http::{Request, Response};
use crate::common::programmed::eventually;
use crate::scene::{ASKED, fails, reason};

/// As the services that speak JSON refuse: by 400, whatever it is.
fn refusal(code: &str, message: &str) -> Response {
    let body = json!({"__type": format!("com.amazonaws.x#{code}"), "message": message}).to_string();
    Response::new(400, body).header("Content-Type: application/x-amz-json-1.1")
}

fn action(request: &Request) -> &str {
    request.header("x-amz-target").map_or("", |target| target.rsplit('.').next().unwrap())
}

#[test]
fn each_in_its_own_words() {
    for (kind, file, action) in [
        (Kind::Secrets, FILE, "secretsmanager:GetSecretValue"),
        (Kind::Parameters, OF_PARAMETERS, "ssm:GetParameters"),
    ] {
        let aws = InAws::new(kind);
        aws.put("a", b"hunter2-a");
        let mount = mounted(&format!("{}, {ASKED}", aws.provider()), &file);
        assert_eq!(mount.read("f"), "hunter2-a", "the control");
        for (code, says) in [
            ("ThrottlingException", "is asked too often (ThrottlingException)"),
            ("TooManyRequestsException", "is asked too often"),
            ("AccessDeniedException", action),
            ("UnrecognizedClientException", "does not accept our keys"),
            ("ExpiredTokenException", "they have expired"),
            ("InvalidSignatureException", "the clock of this machine"),
            ("RequestExpired", "does not take the time for right"),
            ("DecryptionFailure", "kms:Decrypt"),
            ("InternalServiceError", "has failed"),
            ("ValidationException", "refuses the question (ValidationException)"),
            ("<html>", "something before it says 403"),
        ] {
            aws.front.answer(move |_| match code {
                "<html>" => Some(Response::new(403, code)),
                code => Some(refusal(code, "hunter2 is not to be told")),
            });
            eventually(code, || {
                std::fs::read(mount.path("f")).is_err() && reason(&mount, "f").contains(says)
            });
            fails(&mount, "f", libc::EIO, says);
            aws.front.pass();
            eventually("it heals", || std::fs::read(mount.path("f")).is_ok());
        }
        for code in ["ResourceNotFoundException", "ParameterNotFound"] {
            aws.front.answer(move |_| Some(refusal(code, "hunter2 is not there")));
            eventually(code, || {
                std::fs::read(mount.path("f")).is_err_and(|it| it.raw_os_error() == Some(libc::ENOKEY))
            });
        }
        never_told(&mount, &[]);
    }
}

/// Its policies are checked by moto.
#[test]
fn without_the_right_to_batches_each_is_asked_for() {
    let aws = InAws::new(Kind::Secrets);
    for name in ["a", "b", "c"] {
        aws.put(name, name.as_bytes());
    }
    let user = format!("app-{}", aws.region);
    Moto::shared().allow(&user, &["secretsmanager:GetSecretValue"]);
    let text = "<< secret('p:a') >><< secret('p:b') >><< secret('p:c') >>";
    let mount = mounted(&format!("{}, cache: {{ttl: 200ms}}", aws.provider()), &[("f", text)]);
    for _ in 0..3 {
        assert_eq!(mount.read("f"), "abc");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(aws.front.asked("BatchGetSecretValue"), 1, "it is remembered");
    assert!(aws.front.asked("GetSecretValue") >= 9);
    Moto::shared().allow(&user, &["ssm:*"]);
    eventually("no right at all", || std::fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "a policy has to allow `secretsmanager:GetSecretValue`");
}

/// One of a batch that is refused keeps the others from nobody.
#[test]
fn one_of_several_is_refused() {
    let aws = InAws::new(Kind::Secrets);
    for name in ["a", "b"] {
        aws.put(name, name.as_bytes());
    }
    aws.front.answer(|request| {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let denied = "User hunter2 is not authorized";
        match action(request) {
            "BatchGetSecretValue" => {
                let error = json!({"SecretId": "b", "ErrorCode": "AccessDeniedException", "Message": denied});
                let a = json!({"Name": "a", "ARN": "arn:aws:secretsmanager:x:1:secret:a-AbCdEf", "SecretString": "a",
                    "VersionId": "00000000-0000-0000-0000-000000000001", "CreatedDate": 1.7e9});
                let answer = json!({"SecretValues": [a], "Errors": [error]});
                Some(Response::new(200, answer.to_string()))
            }
            "GetSecretValue" if body["SecretId"] == "b" => Some(refusal("AccessDeniedException", denied)),
            _ => None,
        }
    });
    let files = [
        ("both", "<< secret('p:a') >><< secret('p:b') | default('d') >>"),
        ("a", "<< secret('p:a') >>"),
        ("b", "<< secret('p:b') | default('d') >>"),
    ];
    let mount = mounted(&aws.provider(), &files);
    fails(&mount, "both", libc::EIO, "no right");
    fails(&mount, "b", libc::EIO, "no right");
    assert_eq!(mount.read("a"), "a");
}

/// An answer that leaves one out, or has another in its place, is none.
#[test]
fn what_was_not_asked_for_is_no_answer() {
    for answer in [
        json!({"SecretValues": [], "Errors": []}),
        json!({"SecretValues": [{"Name": "c", "ARN": "arn:aws:secretsmanager:x:1:secret:c-AbCdEf", "SecretString": "hunter2",
            "VersionId": "00000000-0000-0000-0000-000000000001", "CreatedDate": 1.7e9}]}),
        json!({"SecretValues": [{"Name": "a"}]}),
    ] {
        let aws = InAws::new(Kind::Secrets);
        let body = answer.to_string();
        aws.front.answer(move |_| Some(Response::new(200, body.clone())));
        let text = "<< secret('p:a') | default('d') >><< secret('p:b') | default('d') >>";
        let mount = mounted(&aws.provider(), &[("f", text)]);
        fails(&mount, "f", libc::EIO, "");
    }
}
