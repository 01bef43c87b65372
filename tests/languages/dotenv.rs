//! Programs take their settings from an env file of the mount at their start, and log in.

use std::path::Path;
use std::process::Command;

use super::common::http::Guarded;
use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::{library, node_modules, python, stdout_of, tool};
use super::{NEXT, node_version, secrets};

/// Without what dotenv libraries read differently: that is refused, see `tests/escaping.rs`.
const PASSWORD: &str = "p@ss \"w0rd\" $HOME $(id) # é";

const NODE: &str =
    "const pair = Buffer.from(`${process.env.DATABASE_USER}:${process.env.DATABASE_PASSWORD}`);
    const headers = { Authorization: `Basic ${pair.toString('base64')}` };
    fetch(process.env.TEST_URL, { headers }).then((response) => console.log(response.status));";

const PYTHON: &str = "import base64, os, sys, urllib.request, urllib.error, dotenv
dotenv.load_dotenv(sys.argv[1])
pair = os.environ['DATABASE_USER'] + ':' + os.environ['DATABASE_PASSWORD']
headers = {'Authorization': 'Basic ' + base64.b64encode(pair.encode()).decode()}
try: print(urllib.request.urlopen(urllib.request.Request(os.environ['TEST_URL'], headers=headers)).status)
except urllib.error.HTTPError as error: print(error.code)";

const RUBY: &str =
    "require 'dotenv'; require 'net/http'; Dotenv.load!(ARGV[0]); uri = URI(ENV.fetch('TEST_URL'))
    request = Net::HTTP::Get.new(uri)
    request.basic_auth(ENV.fetch('DATABASE_USER'), ENV.fetch('DATABASE_PASSWORD'))
    puts Net::HTTP.start(uri.host, uri.port, nil) { |http| http.request(request).code }";

const PHP: &str = "require 'Dotenv/autoload.php';
    Dotenv\\Dotenv::createImmutable(dirname($argv[1]), basename($argv[1]))->load();
    $pair = base64_encode(\"{$_ENV['DATABASE_USER']}:{$_ENV['DATABASE_PASSWORD']}\");
    $options = ['header' => \"Authorization: Basic $pair\", 'ignore_errors' => true];
    file_get_contents(getenv('TEST_URL'), false, stream_context_create(['http' => $options]));
    echo explode(' ', $http_response_header[0])[1], \"\\n\";";

/// `start` makes the command that is started with the file of the mount.
fn logs_in(start: impl Fn(&Path) -> Command) {
    let server = Guarded::start("app", PASSWORD);
    let mounted = mount_ready("dotenv/app.env", &secrets(PASSWORD));
    let status = || {
        let mut command = start(&mounted.path("app.env"));
        command.env("TEST_URL", server.url()).env("no_proxy", "*").env_remove("http_proxy");
        stdout_of(&command.output().unwrap())
    };
    assert_eq!(status(), "200\n");
    server.know("app", NEXT);
    assert_eq!(status(), "401\n", "the old password");
    set_secrets(mounted.store(), &secrets(NEXT));
    assert_eq!(status(), "200\n");
}

const READ: &str = "an env file";
const SEEN: &str = "logs in at an HTTP server: 200; 401 with the old password";
const RELOAD: &str = "at its next start";

#[test]
fn node_takes_an_env_file() {
    logs_in(|file| {
        let mut node = Command::new(tool("node"));
        node.arg(format!("--env-file={}", file.display())).args(["-e", NODE]);
        node
    });
    programs::row(Row {
        program: "node --env-file",
        version: node_version(),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn node_dotenv_takes_an_env_file() {
    logs_in(|file| {
        let mut node = Command::new(tool("node"));
        node.env("NODE_PATH", node_modules())
            .env("DOTENV_CONFIG_PATH", file)
            .env("DOTENV_CONFIG_QUIET", "true");
        node.args(["-r", "dotenv/config", "-e", NODE]);
        node
    });
    let package = node_modules().join("dotenv");
    programs::row(Row {
        program: "node dotenv",
        version: programs::version_of(
            "node",
            &["-p", &format!("require('{}').version", package.join("package.json").display())],
        ),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn python_dotenv_takes_an_env_file() {
    logs_in(|file| {
        let mut command = Command::new(python());
        command.args(["-c", PYTHON]).arg(file);
        command
    });
    let version = "import importlib.metadata; print(importlib.metadata.version('python-dotenv'))";
    let version = Command::new(python()).args(["-c", version]).output().unwrap();
    programs::row(Row {
        program: "python-dotenv",
        version: stdout_of(&version),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn ruby_dotenv_takes_an_env_file() {
    let probe = Command::new(tool("ruby")).args(["-r", "dotenv", "-e", "1"]).output().unwrap();
    assert!(probe.status.success(), "ruby's dotenv is not installed: ./tests/run installs it");
    logs_in(|file| {
        let mut ruby = Command::new(tool("ruby"));
        ruby.args(["-e", RUBY]).arg(file);
        ruby
    });
    programs::row(Row {
        program: "ruby dotenv",
        version: programs::version_of("ruby", &["-rdotenv/version", "-e", "puts Dotenv::VERSION"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn phpdotenv_takes_an_env_file() {
    library("/usr/share/php/Dotenv/autoload.php");
    logs_in(|file| {
        let mut php = Command::new(tool("php"));
        php.args(["-r", PHP, "--"]).arg(file);
        php
    });
    programs::row(Row {
        program: "phpdotenv",
        version: programs::version_of("dpkg-query", &["--show", "php-vlucas-phpdotenv"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}
