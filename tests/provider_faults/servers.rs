//! The real servers, and what can be done to them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::bao::Bao;
use crate::common::etcd::Etcd;
use crate::common::programmed::eventually;
use crate::trouble::Trouble;

pub(crate) trait Server: Sync {
    const NAME: &'static str;
    fn start() -> Self;
    fn address(&self) -> SocketAddr;
    fn put(&self, secret: &str, value: &str);
    /// The provider in the config, beside its address and TLS. The credential lies in this file.
    fn settings(&self, credential: &Path) -> String;
    /// Before a secret's name in its path.
    const ABOVE: &'static str;
    /// A credential that is good, in this file.
    fn grant(&self, credential: &Path);
    /// It is good no more.
    fn revoke(&self, credential: &Path);
    fn stop(&self);
    fn start_again(&self);
    fn seal(&self) {}
    fn unseal(&self) {}
    fn has(trouble: &Trouble) -> bool;
}

pub(crate) struct Vaults {
    bao: Bao,
    key: String,
}

impl Vaults {
    fn begun() -> Option<Self> {
        let mut bao = Bao::kept();
        // It answers before it can be begun with.
        for _ in 0..100 {
            let begin = Some(json!({"secret_shares": 1, "secret_threshold": 1}));
            let made = bao.call("PUT", "sys/init", begin).body;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = text(&made["keys_base64"][0]);
            if !key.is_empty() {
                bao.token = text(&made["root_token"]);
                return Some(Self { bao, key });
            }
            if made.to_string().contains("already initialized") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        println!("it is begun anew");
        None
    }
}

impl Server for Vaults {
    const NAME: &'static str = "vault";
    const ABOVE: &'static str = "secret/";

    fn start() -> Self {
        // One whose first answer was lost on a busy machine has a key that nobody knows.
        let vaults = (0..3).find_map(|_| Self::begun()).expect("a server that can be begun with");
        vaults.unseal();
        vaults.bao.put("sys/mounts/secret", json!({"type": "kv-v2"}));
        let ready = || vaults.bao.call("POST", "secret/data/ready", Some(json!({"data": {}}))).status == 200;
        eventually("the mount is ready", ready);
        vaults.bao.policy("app", "path \"secret/data/*\" { capabilities = [\"read\"] }");
        vaults
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.bao.port))
    }

    fn put(&self, secret: &str, value: &str) {
        self.bao.set(secret, json!({ "value": value }));
    }

    fn settings(&self, credential: &Path) -> String {
        format!("type: vault, auth: {{method: token, token: 'file:{}'}}", credential.display())
    }

    fn grant(&self, credential: &Path) {
        fs::write(credential, self.bao.make_token(json!({"policies": ["app"]}))).unwrap();
    }

    fn revoke(&self, credential: &Path) {
        let token = fs::read_to_string(credential).unwrap();
        self.bao.put("auth/token/revoke", json!({ "token": token }));
    }

    fn stop(&self) {
        self.bao.stop();
    }

    fn start_again(&self) {
        self.bao.start_again();
        self.unseal();
    }

    fn seal(&self) {
        self.bao.put("sys/seal", json!({}));
    }

    fn unseal(&self) {
        eventually("it is active", || {
            self.bao.call("PUT", "sys/unseal", Some(json!({ "key": self.key })));
            self.bao.health() == 200
        });
    }

    fn has(_trouble: &Trouble) -> bool {
        true
    }
}

pub(crate) struct Etcds(Etcd);

impl Server for Etcds {
    const NAME: &'static str = "etcd";
    const ABOVE: &'static str = "";

    fn start() -> Self {
        let etcd = Self(Etcd::start());
        etcd.0.enable_auth("right", "/secrets/");
        etcd
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.0.port()))
    }

    fn put(&self, secret: &str, value: &str) {
        self.0.as_root(&["put", &format!("/secrets/{secret}"), value]);
    }

    fn settings(&self, credential: &Path) -> String {
        let auth = format!("auth: {{username: app, password: 'file:{}'}}", credential.display());
        format!("type: etcd, prefix: /secrets/, {auth}")
    }

    fn grant(&self, credential: &Path) {
        self.0.set_password("app", "right");
        fs::write(credential, "right\n").unwrap();
    }

    fn revoke(&self, _credential: &Path) {
        self.0.set_password("app", "another");
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn start_again(&self) {
        self.0.run();
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
