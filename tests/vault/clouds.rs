//! Logins of machines and of workloads. Azure: the real server's `jwt` engine at `azure`, and a stub of the machine's
//! metadata. AWS: a stub of the `aws` engine (OpenBao has none) that asks botocore whether it would have signed the
//! same, before the real server. Kubernetes: the real engine, with a stub of the cluster's TokenReview, and with the real
//! one where that was built.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::aws::{Machine, Moto};
use crate::common::bao::{Bao, free_port};
use crate::common::http::{Request, Response, pass_on, serve_tcp};
use crate::common::kubernetes::Real;
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestMount, python};
use crate::fails;
use crate::login::{FILE, Signer, never_told, served};

const RESOURCE: &str = "https://management.azure.com/";

/// What a machine of Azure is told: a token, and where it stands. Answers nobody who does not ask as it should.
pub(crate) fn azure(
    token: &Arc<Mutex<String>>,
    asked: &Arc<Mutex<Vec<String>>>,
) -> impl Fn(&Request) -> Response + Send + Sync + 'static {
    let (token, asked) = (token.clone(), asked.clone());
    move |request| {
        asked.lock().unwrap().push(request.target.clone());
        match request.target.split('?').next().unwrap() {
            _ if request.header("metadata") != Some("true") => Response::new(400, "no header"),
            "/metadata/identity/oauth2/token" => {
                let token = token.lock().unwrap().clone();
                let answer = json!({"access_token": token, "expires_in": "3599", "token_type": "Bearer"});
                Response::new(200, answer.to_string())
            }
            "/metadata/instance" => {
                let compute = json!({"name": "vm1", "resourceGroupName": "group1", "subscriptionId": "sub1",
                    "vmScaleSetName": ""});
                Response::new(200, json!({ "compute": compute }).to_string())
            }
            _ => Response::new(404, ""),
        }
    }
}

/// A server that believes tokens of this signer for Azure's own resource; such a token, which ends then.
pub(crate) fn of_azure() -> (Bao, impl Fn(i64) -> String) {
    let bao = served();
    let (signer, now) = (Signer::new(), jiff::Timestamp::now().as_second());
    bao.put("sys/auth/azure", json!({"type": "jwt"}));
    bao.put("auth/azure/config", json!({"jwt_validation_pubkeys": [signer.pem()]}));
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": [RESOURCE], "token_policies": ["app"]});
    bao.put("auth/azure/role/web", role);
    let claims = move |end: i64| json!({"sub": "app", "aud": RESOURCE, "iat": now - 600, "exp": now + end});
    (bao, move |end| signer.sign(&claims(end)))
}

#[test]
fn a_machine_of_azure() {
    let (bao, sign) = of_azure();
    let (token, asked) = (Arc::new(Mutex::new(sign(600))), Arc::default());
    let metadata = serve_tcp(azure(&token, &asked));
    let start = |metadata: &str| {
        let auth =
            format!("auth: {{method: azure, role: web, client_id: id-1, metadata: 'http://{metadata}'}}");
        bao.mount(&auth).env("ALL_PROXY", "http://127.0.0.1:9").template("f.tpl", FILE).start()
    };
    let mount = start(&metadata);
    assert_eq!(mount.read("f"), "v");
    let first = asked.lock().unwrap()[0].clone();
    let told = "resource=https%3A%2F%2Fmanagement.azure.com%2F&client_id=id-1";
    assert!(first.contains(told), "{first}");
    never_told(&mount, &[&token.lock().unwrap()]);
    *token.lock().unwrap() = sign(-300);
    fails(&start(&metadata), "f", libc::EIO, "expired");
    fails(&start(&format!("127.0.0.1:{}", free_port())), "f", libc::EIO, "metadata service does not tell");
}

/// It is near, or it is not there: nobody waits for it until the time of the whole is over.
#[test]
fn metadata_that_are_silent_cost_little() {
    let bao = served();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = silent.local_addr().unwrap();
    for method in ["azure, role: web", "aws"] {
        let auth = format!("timeout: 30s, auth: {{method: {method}, metadata: 'http://{metadata}'}}");
        let config = bao.mount(&auth).template("f.tpl", FILE);
        let mount = config.start();
        let start = Instant::now();
        assert_eq!(mount.errno("f"), libc::ETIMEDOUT);
        println!("{method}: {:?}", start.elapsed());
        let reason = crate::reason(&mount, "f");
        assert!(reason.contains("machine") && reason.contains("longer than"), "{reason}");
    }
}

/// With which keys a login must be signed: id, secret, session, region, server id, URL.
type Judged = [&'static str; 6];

/// A Vault with an `aws` engine that lets in who has signed as botocore does.
fn aws(bao: &Bao, judged: Judged) -> String {
    let token = bao.make_token(json!({"policies": ["app"]}));
    let port = bao.port;
    serve_tcp(move |request| {
        if request.target != "/v1/auth/aws/login" {
            return pass_on(request, port);
        }
        match verdict(request, &judged) {
            Ok(()) => {
                let auth = json!({"client_token": token, "lease_duration": 600, "renewable": true});
                Response::new(200, json!({ "auth": auth }).to_string())
            }
            Err(why) => {
                println!("botocore says: {why}");
                Response::new(400, json!({"errors": ["error validating the signature"]}).to_string())
            }
        }
    })
}

fn verdict(request: &Request, judged: &Judged) -> Result<(), String> {
    let mut judge = Command::new(python());
    judge.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vault/judge_aws.py")).args(judged);
    let mut judge = judge.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(&request.body).unwrap();
    let said = judge.wait_with_output().unwrap();
    match said.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&said.stderr).lines().last().unwrap_or_default().to_owned()),
    }
}

fn at(address: &str, auth: &str) -> TestMount {
    let provider = format!("{{type: vault, address: 'http://{address}', auth: {{method: aws{auth}}}}}");
    let config = format!("providers: {{vault: {provider}}}\nmounts: [{{at: mnt, templates: templates}}]\n");
    TestMount::new().config(&config).template("f.tpl", FILE)
}

const KEYS: &str =
    ", access_key_id: AKIDEXAMPLE, secret_access_key: 'store:aws', server_id: vault.example.com";

#[test]
fn keys_of_aws_that_the_config_names() {
    let bao = served();
    let signed = ["AKIDEXAMPLE", "hunter2/secret+key", "-", "eu-central-1", "vault.example.com"];
    let url = "https://sts.eu-central-1.amazonaws.com/";
    let address = aws(&bao, [signed[0], signed[1], signed[2], signed[3], signed[4], url]);
    let auth = format!("{KEYS}, region: eu-central-1, role: web");
    let mount = at(&address, &auth).secret("aws", signed[1]).start();
    assert_eq!(mount.read("f"), "v");
    never_told(&mount, &[signed[1]]);
    // The controls: each of what is signed counts.
    for (auth, secret) in [
        (auth.clone(), "hunter2/another"),
        (auth.replace("vault.example.com", "other.example.com"), signed[1]),
        (auth.replace("eu-central-1", "eu-central-2"), signed[1]),
    ] {
        let wrong = at(&address, &auth).secret("aws", secret).start();
        fails(&wrong, "f", libc::EIO, "does not accept the login at auth/aws");
        never_told(&wrong, &[secret]);
    }
}

#[test]
fn keys_of_aws_in_the_variables_that_all_know() {
    let bao = served();
    let url = "https://sts.amazonaws.com/";
    let address = aws(&bao, ["AKIDEXAMPLE", "hunter2-b", "hunter2-session", "us-east-1", "-", url]);
    let mount =
        at(&address, "").env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "hunter2-b");
    let mount = mount.env("AWS_SESSION_TOKEN", "hunter2-session").start();
    assert_eq!(mount.read("f"), "v");
    never_told(&mount, &[]);
}

/// What moto says to the question that a login would have AWS asked: its status, and what it answers.
fn replayed(login: &[u8]) -> (u16, String) {
    use base64::Engine;
    let login: Value = serde_json::from_slice(login).unwrap();
    let plain = |name: &str| {
        let text = login[name].as_str().unwrap();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
    };
    let headers: Value = serde_json::from_str(&plain("iam_request_headers")).unwrap();
    let headers: String = headers
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, values)| format!("{name}: {}\r\n", values[0].as_str().unwrap()))
        .collect();
    let body = plain("iam_request_body");
    let written = format!("POST / HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    let request = crate::common::http::read(&mut written.as_bytes()).unwrap();
    let answer = pass_on(&request, Moto::shared().port);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// A second judge of the signature, who takes the whole question as AWS would.
#[test]
fn the_question_that_a_login_has_asked_is_one_that_moto_answers() {
    let bao = served();
    let (id, secret) = Moto::shared().user("logs-in", &["sts:*"]);
    let (token, port) = (bao.make_token(json!({"policies": ["app"]})), bao.port);
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = said.clone();
    let address = serve_tcp(move |request| match &*request.target {
        "/v1/auth/aws/login" => {
            let (status, answer) = replayed(&request.body);
            told.lock().unwrap().push(answer.clone());
            if status == 200 && answer.contains(":user/logs-in</Arn>") {
                let auth = json!({"client_token": token, "lease_duration": 600, "renewable": true});
                return Response::new(200, json!({ "auth": auth }).to_string());
            }
            Response::new(400, json!({"errors": ["error making upstream request"]}).to_string())
        }
        _ => pass_on(request, port),
    });
    let auth = format!(", access_key_id: {id}, secret_access_key: 'store:aws', server_id: vault.example.com");
    let mount = at(&address, &auth).secret("aws", &secret).start();
    assert_eq!(mount.read("f"), "v", "{said:?}");
    never_told(&mount, &[&secret]);
    let wrong = at(&address, &auth).secret("aws", "hunter2/another").start();
    fails(&wrong, "f", libc::EIO, "does not accept the login at auth/aws");
    assert!(said.lock().unwrap().last().unwrap().contains("SignatureDoesNotMatch"), "the control: {said:?}");
}

#[test]
fn keys_of_the_role_that_a_machine_of_aws_has() {
    let bao = served();
    let url = "http://127.0.0.1:4566/";
    let address = aws(&bao, ["ASIAEXAMPLE", "hunter2-c", "hunter2-machine", "us-east-1", "-", url]);
    let machine = Machine::with(&["ASIAEXAMPLE", "hunter2-c", "hunter2-machine"], "us-east-1");
    let auth = format!(", metadata: 'http://{}', sts_endpoint: 'http://127.0.0.1:4566'", machine.address);
    let mount = at(&address, &auth).start();
    assert_eq!(mount.read("f"), "v");
    assert_eq!(machine.asked(), 1);
    never_told(&mount, &[]);
    let none = at(&address, &format!(", metadata: 'http://127.0.0.1:{}'", free_port())).start();
    fails(
        &none,
        "f",
        libc::EIO,
        "AWS_ACCESS_KEY_ID is not set, there is no profile, and the machine gives none",
    );
}

/// A cluster that knows one token, as the server asks it.
fn reviews(token: &str) -> String {
    let token = token.to_owned();
    serve_tcp(move |request| {
        let review: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let is_known = review["spec"]["token"] == token.as_str();
        let user = json!({"username": "system:serviceaccount:default:app", "uid": "uid-1",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]});
        let status = match is_known {
            true => json!({"authenticated": true, "user": user, "audiences": ["secretfs"]}),
            false => json!({"authenticated": false, "error": "unknown token"}),
        };
        let answer =
            json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status});
        Response::new(201, answer.to_string()).header("Content-Type: application/json")
    })
}

#[test]
fn a_service_account_of_a_cluster() {
    let bao = served();
    let (signer, now) = (Signer::new(), jiff::Timestamp::now().as_second());
    let account = json!({"namespace": "default", "serviceaccount": {"name": "app", "uid": "uid-1"}});
    let claims = |audience: &str| {
        json!({"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:default:app",
            "aud": [audience], "iat": now, "exp": now + 600, "kubernetes.io": account})
    };
    let token = signer.sign_as("RS256", &claims("secretfs"));
    let host = format!("http://{}", reviews(&token));
    bao.put("sys/auth/kubernetes", json!({"type": "kubernetes"}));
    let ca = rcgen::generate_simple_self_signed(["cluster".to_owned()]).unwrap().cert.pem();
    let config = json!({"kubernetes_host": host, "kubernetes_ca_cert": ca, "token_reviewer_jwt": token,
        "disable_local_ca_jwt": true});
    bao.put("auth/kubernetes/config", config);
    let role = json!({"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["default"],
        "audience": "secretfs", "token_policies": ["app"]});
    bao.put("auth/kubernetes/role/web", role);
    let start = |token: &str| -> Mounted {
        let file = bao.folder().join("jwt");
        std::fs::write(&file, token).unwrap();
        let auth = format!("auth: {{method: kubernetes, role: web, jwt: 'file:{}'}}", file.display());
        bao.mount(&auth).template("f.tpl", FILE).start()
    };
    let mount = start(&token);
    assert_eq!(mount.read("f"), "v");
    never_told(&mount, &[&token]);
    fails(&start(&signer.sign_as("RS256", &claims("other"))), "f", libc::EIO, "audience");
    fails(&start("hunter2.garbage"), "f", libc::EIO, "the login at auth/kubernetes");
}

/// Reviewed by a real API server, which has signed it.
#[test]
fn a_service_account_of_a_real_cluster() {
    let Some(real) = Real::shared() else { return };
    let bao = served();
    real.make_namespace("vault");
    let reviewer = real.account("vault", "reviewer", &[]);
    let delegator = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"});
    let subject = json!({"kind": "ServiceAccount", "name": "reviewer", "namespace": "vault"});
    let binding = json!({"metadata": {"name": "reviewer"}, "roleRef": delegator, "subjects": [subject]});
    real.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding);
    bao.put("sys/auth/kubernetes", json!({"type": "kubernetes"}));
    let config = json!({"kubernetes_host": format!("https://127.0.0.1:{}", real.port()),
        "kubernetes_ca_cert": std::fs::read_to_string(real.ca()).unwrap(), "token_reviewer_jwt": reviewer,
        "disable_local_ca_jwt": true});
    bao.put("auth/kubernetes/config", config);
    let role = json!({"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["vault"],
        "audience": "secretfs", "token_policies": ["app"]});
    bao.put("auth/kubernetes/role/web", role);
    let token = real.account("vault", "app", &["secretfs"]);
    let start = |token: &str| -> Mounted {
        let file = bao.folder().join("jwt");
        std::fs::write(&file, token).unwrap();
        let auth = format!("auth: {{method: kubernetes, role: web, jwt: 'file:{}'}}", file.display());
        bao.mount(&auth).template("f.tpl", FILE).start()
    };
    let mount = start(&token);
    // Its rights are known to the cluster a moment after they were given.
    eventually("it is logged in", || std::fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    never_told(&mount, &[&token, &reviewer]);
    let other = real.account("vault", "app", &["https://kubernetes.default.svc"]);
    fails(&start(&other), "f", libc::EIO, "audience");
    let stranger = real.account("vault", "stranger", &["secretfs"]);
    fails(&start(&stranger), "f", libc::EIO, "the login at auth/kubernetes");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    fails(&start(&forged), "f", libc::EIO, "the login at auth/kubernetes");
}
