//! Who we are for Azure: each way to say it, the order of those that nobody has said, and that one which does not work is
//! never passed over in silence.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};

use super::{FILE, Scene};
use crate::common::azure::{CLIENT, HEADER, SECRET, TENANT};
use crate::common::programmed::{attribute, eventually};
use crate::common::{Mounted, python, stdout_of};
use crate::scene::{ASKED, configured, fails, tells_nothing};

const FEDERATED: &str = "eyJ.of-the-cluster";
/// Nothing answers there.
const NOBODY: &str = "http://127.0.0.1:9";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.azure.put("a", "v");
    scene
}

impl Scene {
    /// With these variables; the authority is the scene's own.
    fn with_env(&self, auth: &str, env: &[(&str, &str)]) -> Mounted {
        let url = self.azure.url();
        let config = self.provider(&format!("auth: {{{auth}}}, {ASKED}"));
        let mount = configured(&config, &FILE).env("AZURE_AUTHORITY_HOST", &url);
        env.iter().fold(mount, |mount, (name, value)| mount.env(name, value)).start()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn asked_for_tokens(&self, begin: &str) -> usize {
        self.azure.asked().iter().filter(|asked| asked.contains(begin)).count()
    }
}

fn app() -> String {
    format!("tenant_id: {TENANT}, client_id: {CLIENT}")
}

#[test]
fn an_application_by_its_secret() {
    let scene = scene();
    let file = scene.file("wrong", "not-the-secret");
    let auth = format!("method: client-secret, {}, client_secret: 'file:{file}'", app());
    let mount = scene.with_env(&auth, &[]);
    fails(&mount, "f", libc::EIO, "refuses the secret of the application");
    fails(&mount, "f", libc::EIO, "AADSTS7000215");
    let tries = scene.asked_for_tokens("/oauth2/v2.0/token");
    for _ in 0..20 {
        mount.errno("f");
    }
    let more = scene.asked_for_tokens("/oauth2/v2.0/token") - tries;
    assert!(more < 15, "who is refused does not knock each time: {more}");
    // A new one is taken up by itself.
    fs::write(&file, SECRET).unwrap();
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    let unknown = scene.with_env(&auth.replace(CLIENT, "00000000-0000-4000-8000-000000000000"), &[]);
    fails(&unknown, "f", libc::EIO, "does not know the application in this tenant");
    tells_nothing(&mount.stderr());
}

/// What is signed is judged by a library of others.
#[test]
fn an_application_by_its_certificate() {
    const JUDGE: &str = "
import base64, hashlib, json, sys, jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
certificate = x509.load_pem_x509_certificate(open(sys.argv[1], 'rb').read())
client, endpoint, assertion = sys.argv[2:]
claims = jwt.decode(assertion, certificate.public_key(), algorithms=['PS256'], audience=endpoint, issuer=client,
    options={'require': ['exp', 'iat', 'nbf', 'jti', 'sub']})
assert claims['sub'] == client and 0 < claims['exp'] - claims['iat'] <= 600, claims
header = jwt.get_unverified_header(assertion)
print_of = base64.urlsafe_b64encode(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()).rstrip(b'=').decode()
assert header == {'alg': 'PS256', 'typ': 'JWT', 'x5t#S256': print_of}, header
print('fine')
";
    let scene = scene();
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    let file = scene.file("app.pem", &format!("{certificate}{}", key.serialize_pem()));
    let auth = format!("method: client-certificate, {}, certificate: 'file:{file}'", app());
    let mount = scene.with_env(&auth, &[]);
    assert_eq!(mount.read("f"), "v");
    let said = scene.azure.assertions();
    let endpoint = format!("{}/{TENANT}/oauth2/v2.0/token", scene.azure.url());
    let judged = |assertion: &str| {
        let mut judge = Command::new(python());
        judge.args(["-c", JUDGE, &file, CLIENT, &endpoint, assertion]).output().unwrap()
    };
    assert_eq!(stdout_of(&judged(&said[0])), "fine\n");
    assert!(!judged(&said[0].replacen("eyJ", "eyI", 1)).status.success(), "the control");
    let bare = scene.file("bare.pem", &certificate);
    let without = scene.with_env(&auth.replace(&file, &bare), &[]);
    fails(&without, "f", libc::EIO, "no private key of RSA");
}

#[test]
fn a_workload_by_the_token_of_its_cluster_which_is_read_each_time() {
    let scene = scene();
    let file = scene.file("token", FEDERATED);
    let env =
        [("AZURE_FEDERATED_TOKEN_FILE", &*file), ("AZURE_CLIENT_ID", CLIENT), ("AZURE_TENANT_ID", TENANT)];
    let mount = scene.with_env("method: workload-identity", &env);
    assert_eq!(mount.read("f"), "v");
    // The cluster writes another one, and the one before ends.
    scene.azure.set_federated("eyJ.of-the-cluster-2");
    scene.azure.forget_tokens();
    // What was void soon after it was given is left in peace for a moment.
    eventually("the old one is no good", || {
        let _ = fs::read(mount.path("f"));
        attribute(&mount, "f", "error").is_some_and(|it| it.contains("knows no federated credential"))
    });
    scene.file("token", "eyJ.of-the-cluster-2");
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    let unset = scene.with_env("method: workload-identity", &[]);
    fails(&unset, "f", libc::EIO, "AZURE_FEDERATED_TOKEN_FILE is not set");
}

#[test]
fn a_managed_identity_of_the_platform_or_of_the_machine() {
    let scene = scene();
    let (endpoint, metadata) = (format!("{}/msi/token", scene.azure.url()), scene.azure.url());
    let platform = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", HEADER)];
    let auth = format!("method: managed-identity, metadata: '{metadata}'");
    let mount = scene.with_env(&auth, &platform);
    assert_eq!(mount.read("f"), "v");
    assert_eq!((scene.asked_for_tokens("/msi/token"), scene.asked_for_tokens("/metadata/identity")), (1, 0));
    let named = scene.with_env(&format!("{auth}, client_id: {CLIENT}"), &platform);
    assert_eq!(named.read("f"), "v");
    let unknown = scene.with_env(&format!("{auth}, client_id: another"), &platform);
    fails(&unknown, "f", libc::EIO, "the platform gives no token of a managed identity");
    let machine = scene.with_env(&auth, &[]);
    assert_eq!(machine.read("f"), "v");
    assert_eq!(scene.asked_for_tokens("/metadata/identity"), 1);
    // No secret of ours goes over a network in the clear.
    let elsewhere = [("IDENTITY_ENDPOINT", "http://203.0.113.1/msi"), ("IDENTITY_HEADER", HEADER)];
    fails(&scene.with_env(&auth, &elsewhere), "f", libc::EIO, "neither on this machine nor https://");
    for mount in [mount, named, unknown, machine] {
        assert!(!mount.stderr().contains(HEADER));
        tells_nothing(&mount.stderr());
    }
}

/// `az` of this scene, and what it is asked.
fn az(scene: &Scene, token: &str) -> (String, String) {
    let folder = scene.folder.path().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let log = scene.folder.path().join("az.log");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\necho '{{\"accessToken\": \"{token}\", \"expiresOn\": \"2026-11-23 17:00:00.000000\", \
         \"tenant\": \"t\", \"tokenType\": \"Bearer\"}}'\n",
        log.display()
    );
    fs::write(folder.join("az"), script).unwrap();
    fs::set_permissions(folder.join("az"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    (format!("{}:{path}", folder.display()), log.to_str().unwrap().to_owned())
}

#[test]
fn whoever_has_logged_in_with_az() {
    let scene = scene();
    scene.azure.add_token("eyJ0-of-az");
    let (path, log) = az(&scene, "eyJ0-of-az");
    let mount = scene.with_env("method: cli", &[("PATH", &*path), ("AZURE_CLIENT_SECRET", "hunter2")]);
    assert_eq!(mount.read("f"), "v");
    let resource = "https://127.0.0.1";
    let asked = fs::read_to_string(&log).unwrap();
    assert_eq!(asked, format!("account get-access-token --output json --resource {resource}\n"));
    let nobody = scene.with_env("method: cli", &[("PATH", "/nowhere")]);
    fails(&nobody, "f", libc::EIO, "`az account get-access-token` cannot be run");
    tells_nothing(&mount.stderr());
}

/// What is set is meant: the next one is not tried.
#[test]
fn nobody_has_said_who_we_are() {
    let scene = scene();
    scene.azure.add_token("eyJ0-of-az");
    let (path, log) = az(&scene, "eyJ0-of-az");
    let (endpoint, metadata) = (format!("{}/msi/token", scene.azure.url()), scene.azure.url());
    let token = scene.file("token", FEDERATED);
    let all = [
        ("AZURE_CLIENT_SECRET", SECRET),
        ("AZURE_FEDERATED_TOKEN_FILE", &*token),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("IDENTITY_ENDPOINT", &*endpoint),
        ("IDENTITY_HEADER", HEADER),
        ("PATH", &*path),
    ];
    let here = format!("metadata: '{metadata}'");
    for (from, identity) in [
        (0, "an application, by its secret"),
        (1, "a workload's identity"),
        (4, "a managed identity of the platform"),
        (6, "a managed identity of the machine"),
    ] {
        let mount = scene.with_env(&here, &all[from..]);
        assert_eq!(mount.read("f"), "v", "{identity}");
        assert!(mount.stderr().contains(identity), "{identity}: {}", mount.stderr());
    }
    assert!(fs::read(&log).is_err(), "az is not asked while somebody else says who we are");
    let last = scene.with_env(&format!("metadata: '{NOBODY}'"), &all[6..]);
    assert_eq!(last.read("f"), "v");
    assert!(last.stderr().contains("whoever has logged in with az"));
    // The secret is wrong, and everything else would work.
    let wrong = [&[("AZURE_CLIENT_SECRET", "wrong")][..], &all[1..]].concat();
    fails(&scene.with_env(&here, &wrong), "f", libc::EIO, "refuses the secret of the application");
    let half = [("AZURE_CLIENT_SECRET", SECRET), ("AZURE_CLIENT_ID", CLIENT)];
    fails(&scene.with_env(&here, &half), "f", libc::EIO, "${AZURE_TENANT_ID}");
}
