//! docker's client reads `--env-file`, and asks an engine for a container that has the values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::http::{Request, Response, serve_unix};
use super::common::programs::{self, Row};
use super::common::ready::{mount_dialect, set_secrets};
use super::common::stdout_of;
use super::program;

const PASSWORD: &str = "it's \"$HOME\" `id` \\n # é=";

/// The environment that the engine was asked for last.
type Asked = Arc<Mutex<BTreeMap<String, String>>>;

/// As much of an engine as `docker run --detach` needs: it keeps what it is asked for.
fn engine(socket: &Path) -> Asked {
    let asked = Asked::default();
    let kept = asked.clone();
    serve_unix(socket, move |request| answer(request, &kept));
    asked
}

fn answer(request: &Request, asked: &Asked) -> Response {
    let json = |status, body: Value| {
        Response::new(status, body.to_string()).header("Content-Type: application/json")
    };
    let target = request.target.split('?').next().unwrap_or_default();
    if target.ends_with("/containers/create") {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let variables = body["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let variables = variables.filter_map(|variable| variable.split_once('='));
        *asked.lock().unwrap() = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        return json(201, json!({"Id": "c0ffee", "Warnings": []}));
    }
    match target.rsplit('/').next() {
        Some("_ping") => Response::new(200, "OK").header("Api-Version: 1.41").header("OSType: linux"),
        Some("start") => Response::new(204, ""),
        _ => json(404, json!({"message": format!("not known here: {target}")})),
    }
}

#[test]
fn docker_gives_a_container_the_values() {
    let home = TempDir::new().unwrap();
    let socket = home.path().join("engine");
    let asked = engine(&socket);
    let login = |password: &str| json!({"db": {"username": "app", "password": password}, "api_key": "k"});
    let mounted = mount_dialect("docker/app.env", "docker", &login(PASSWORD));
    let run = || {
        let mut docker = program("docker", home.path());
        docker.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        docker.args(["run", "--detach", "--env-file"]).arg(mounted.path("app.env")).arg("an-image");
        stdout_of(&docker.output().unwrap());
        asked.lock().unwrap().get("DATABASE_PASSWORD").cloned()
    };

    assert_eq!(run().as_deref(), Some(PASSWORD));
    set_secrets(mounted.store(), &login("n3w"));
    assert_eq!(run().as_deref(), Some("n3w"));

    programs::row(Row {
        program: "docker",
        version: programs::version_of("docker", &["--version"]),
        read: "variables, by `docker run --env-file`",
        seen: "the client asked an engine of the test for a container with exactly these values",
        reload: "read by each `docker run`",
    });
}
