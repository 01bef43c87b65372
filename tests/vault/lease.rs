//! Credentials of a real PostgreSQL, lent by OpenBao: one login for user and password, renewed while it can be,
//! changed before it ends, and given back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::common::bao::{BY_TOKEN, Bao, free_port};
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestDaemon, TestMount, stdout_of, tool};

/// A cluster on loopback whose superuser has a password.
pub(crate) struct Postgres {
    child: Child,
    folder: TempDir,
    port: u16,
}

fn as_postgres() -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    command
}

impl Postgres {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("its package makes this user");
        chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        let data = folder.path().join("data");
        let mut init = as_postgres();
        init.arg(tool("initdb")).args(["--no-sync", "--no-instructions", "--auth", "trust", "-D"]);
        stdout_of(&init.arg(&data).output().unwrap());
        let rules = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let sockets = folder.path().display();
        let config = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{sockets}'\nfsync = off\n"
        );
        fs::write(data.join("postgresql.conf"), config).unwrap();
        let mut server = as_postgres();
        server.args(["--pdeathsig", "KILL"]).arg(tool("postgres")).arg("-D").arg(&data);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = server.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let postgres = Self { child, folder, port };
        let sql = "alter role postgres password 'hunter2-admin'";
        eventually("PostgreSQL answers", || postgres.admin(sql).status.success());
        postgres
    }

    fn admin(&self, sql: &str) -> Output {
        let host = self.folder.path().display();
        self.psql(sql, &format!("host={host} port={} user=postgres dbname=postgres", self.port))
    }

    fn psql(&self, sql: &str, to: &str) -> Output {
        let mut psql = Command::new(tool("psql"));
        psql.env("LC_ALL", "C.UTF-8").args(["--no-psqlrc", "--no-password", "--no-align", "--tuples-only"]);
        psql.args(["--set", "ON_ERROR_STOP=1", "--command", sql, to]).output().unwrap()
    }

    /// Whether these open it.
    pub(crate) fn opens(&self, login: &str) -> bool {
        let (user, password) = login.split_once(':').expect("a user and a password");
        let to = format!("host=127.0.0.1 port={} user={user} password={password} dbname=postgres", self.port);
        self.psql("select 1", &to).status.success()
    }

    pub(crate) fn lent(&self) -> usize {
        let said = stdout_of(&self.admin("select count(*) from pg_roles where rolname like 'v-%'"));
        said.trim().parse().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that lends logins of this PostgreSQL, for so long.
pub(crate) fn lender(postgres: &Postgres, ttl: &str, most: &str) -> Bao {
    let bao = Bao::dev();
    bao.put("sys/mounts/database", json!({"type": "database"}));
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        postgres.port
    );
    let plugin = "postgresql-database-plugin";
    bao.put(
        "database/config/main",
        json!({"plugin_name": plugin, "connection_url": url, "allowed_roles": ["app", "broken"],
        "username": "postgres", "password": "hunter2-admin"}),
    );
    let make = "create role \"{{name}}\" with login password '{{password}}' valid until '{{expiration}}'";
    bao.put(
        "database/roles/app",
        json!({"db_name": "main", "creation_statements": [make], "default_ttl": ttl, "max_ttl": most}),
    );
    let broken =
        json!({"db_name": "main", "creation_statements": ["create nonsense 'hunter2-{{password}}'"]});
    bao.put("database/roles/broken", broken);
    bao
}

pub(crate) const LOGIN: &str =
    "<< secret('vault:database/creds/app#username') >>:<< secret('vault:database/creds/app#password') >>";

fn mounted(bao: &Bao) -> Mounted {
    let file = |mount: TestMount, name: &str| mount.template(name, LOGIN);
    let mount = file(file(bao.mount(BY_TOKEN), "f.tpl"), "g.tpl");
    mount.template("broken.tpl", "<< secret('vault:database/creds/broken#username') >>").start()
}

#[test]
fn one_login_is_lent_and_given_back() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "1h", "24h");
    let mut mount = mounted(&bao);
    let login = mount.read("f");
    assert!(postgres.opens(&login), "{login}");
    assert_eq!(mount.read("g"), login, "user and password are of one login, in every file");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(mount.read("f"), login, "asked again, it is the same");
    assert_eq!(postgres.lent(), 1);
    assert_eq!(mount.errno("broken"), libc::ETIMEDOUT, "whether something was made is not known");
    crate::tells_nothing(&mount.stderr());
    let user = login.split(':').next().unwrap();
    assert!(!mount.stderr().contains(user), "{}", mount.stderr());
    assert!(mount.stop().success());
    eventually("it is given back", || postgres.lent() == 0);
    assert!(!postgres.opens(&login));
}

/// The last reader may have handed it on: so there is a time.
#[test]
fn what_nobody_uses_is_given_back_and_what_is_held_by_who_runs_is_not() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "1h", "24h");
    let config = format!(
        "providers:\n  vault: {{type: vault, address: \"{}\", {BY_TOKEN}, give_back_after: 2s, cache: {{ttl: 100ms}}}}\n\
         mounts: [{{at: mnt, templates: templates}}]\n",
        bao.address()
    );
    let mount =
        TestDaemon::new().env("SECRETFS_TEST_TOKEN", &bao.token).env("SECRETFS_TEST_WEAKNESS", "hasty");
    let mount = mount.config(&config).template("f.tpl", LOGIN).start();
    let mut service = Command::new("sh");
    service.args(["-c", "read -r login <\"$0\"; echo \"$login\"; read -r end"]).arg(mount.path("f"));
    let mut service = service.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut login = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut login).unwrap();
    let login = login.trim_end();
    std::thread::sleep(Duration::from_secs(8));
    assert!(postgres.opens(login), "the control: who has read it runs\n{}", mount.stderr());
    drop(service.stdin.take());
    service.wait().unwrap();
    eventually("it is given back", || postgres.lent() == 0);
    assert!(!postgres.opens(login));
    let new = mount.read("f");
    assert!(new != login && postgres.opens(&new), "who comes later has another one");
}

/// Somebody ends it at the server: that is noticed when it is to be renewed, and there is a new one.
#[test]
fn a_lease_that_was_revoked_is_noticed() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "6s", "1h");
    let mount = mounted(&bao);
    let login = mount.read("f");
    assert!(postgres.opens(&login));
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(mount.read("f"), login, "the control: it is renewed");
    bao.put("sys/leases/revoke-prefix/database/creds/app", json!({}));
    eventually("it is void", || !postgres.opens(&login));
    eventually("there is a new one", || {
        fs::read_to_string(mount.path("f")).is_ok_and(|new| new != login && postgres.opens(&new))
    });
}

/// Renewed to the longest that is granted, then a new one, while the old one still opens: whoever reads at any time has
/// a login that opens.
#[test]
fn who_reads_at_any_time_has_a_login_that_opens() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "6s", "15s");
    let mount = mounted(&bao);
    let (start, mut seen) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(24) {
        let login = mount.read("f");
        assert!(postgres.opens(&login), "after {:?}: {seen:?}", start.elapsed());
        if seen.last() != Some(&login) {
            seen.push(login);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!((2..=4).contains(&seen.len()), "renewed, and changed when that was over: {seen:?}");
    assert!(!mount.stderr().contains("provider_error"), "{}", mount.stderr());
    // The control: one that nobody renews closes.
    let lent = bao.call("GET", "database/creds/app", None).body["data"].clone();
    let login = format!("{}:{}", lent["username"].as_str().unwrap(), lent["password"].as_str().unwrap());
    assert!(postgres.opens(&login));
    eventually("it is over", || !postgres.opens(&login));
}

#[test]
fn a_check_is_lent_nothing_and_finds_whether_it_could_be() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "1h", "24h");
    let place = TestMount::new().template("f.tpl", LOGIN);
    let config = format!(
        "providers:\n  vault: {{type: vault, address: \"{}\", {BY_TOKEN}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
        bao.address()
    );
    fs::write(place.folder().join("secretfs.yaml"), config).unwrap();
    let run = |token: &str, args: &[&str]| {
        let args = [&["--config", "secretfs.yaml"], args].concat();
        place.command_of(&args).env("SECRETFS_TEST_TOKEN", token).output().unwrap()
    };
    let leases = || bao.call("LIST", "sys/leases/lookup/database/creds/app", None).status;
    let kept = "path \"sys/leases/revoke\" { capabilities = [\"deny\"] }";
    bao.policy("lent", &format!("path \"database/creds/*\" {{ capabilities = [\"read\"] }} {kept}"));
    let token = bao.make_token(json!({"policies": ["lent"]}));
    stdout_of(&run(&token, &["check"]));
    assert_eq!((postgres.lent(), leases()), (0, 404));
    bao.policy("other", "path \"database/creds/other\" { capabilities = [\"read\"] }");
    let said = run(&bao.make_token(json!({"policies": ["other"]})), &["check"]);
    let told = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && told.contains("may not read `database/creds/app`"), "{told}");
    // The control: who prints it is lent one, and this token may not give it back.
    assert!(stdout_of(&run(&token, &["render", "templates/f.tpl"])).starts_with("v-"));
    assert_eq!((postgres.lent(), leases()), (1, 200));
}
