//! A Connect server of 1Password in the test's own process: vaults, items, files, filters and refusals as its description
//! has them. Clients of others judge it in `tests/clouds/onepassword`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Source;
use super::http::{Request, Response, Served};

pub const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.hunter2-of-connect.c2lnbmF0dXJl";

#[derive(Clone)]
pub struct OnePassword {
    pub served: Served,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    vaults: BTreeMap<String, Vault>,
    /// Of all so far, so that no two are the same.
    ids: usize,
    tokens: Vec<String>,
    asked: Vec<String>,
}

struct Vault {
    name: String,
    is_in_scope: bool,
    items: BTreeMap<String, Value>,
    files: BTreeMap<String, Vec<u8>>,
}

impl OnePassword {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let known = state.clone();
        let served = Served::start(move |request| known.lock().unwrap().answer(request));
        let server = Self { served, state };
        server.add_token(TOKEN);
        server
    }

    pub fn url(&self) -> String {
        self.served.url()
    }

    /// Its id.
    pub fn add_vault(&self, name: &str) -> String {
        let mut state = self.state.lock().unwrap();
        let id = state.id();
        let vault = Vault {
            name: name.to_owned(),
            is_in_scope: true,
            items: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        state.vaults.insert(id.clone(), vault);
        id
    }

    /// The token has no right to it any more.
    pub fn take_from_scope(&self, vault: &str) {
        self.state.lock().unwrap().vaults.get_mut(vault).expect("it is there").is_in_scope = false;
    }

    /// A new item; its id.
    pub fn add(&self, vault: &str, title: &str, fields: Value, sections: Value) -> String {
        let mut state = self.state.lock().unwrap();
        let id = state.id();
        let item = json!({"id": id, "title": title, "version": 1, "vault": {"id": vault}, "category": "LOGIN",
            "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-02T03:04:05Z", "lastEditedBy": id,
            "favorite": false, "tags": [], "sections": sections, "fields": fields, "files": []});
        state.vaults.get_mut(vault).expect("it is there").items.insert(id.clone(), item);
        id
    }

    /// Another version of it.
    pub fn edit(&self, vault: &str, item: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        let item = state.vaults.get_mut(vault).and_then(|it| it.items.get_mut(item)).expect("it is there");
        item["version"] = json!(item["version"].as_u64().unwrap() + 1);
        change(item);
    }

    /// A file of it; its id.
    pub fn attach(&self, vault: &str, item: &str, name: &str, content: &[u8]) -> String {
        let id = self.state.lock().unwrap().id();
        let path = format!("/v1/vaults/{vault}/items/{item}/files/{id}/content");
        let file = json!({"id": id, "name": name, "size": content.len(), "content_path": path});
        self.edit(vault, item, |item| item["files"].as_array_mut().unwrap().push(file));
        let mut state = self.state.lock().unwrap();
        state.vaults.get_mut(vault).unwrap().files.insert(id.clone(), content.to_vec());
        id
    }

    /// The one of this title gets this value as its password, or is made; an object of JSON is its fields.
    pub fn put(&self, vault: &str, title: &str, value: &str) {
        let members: Option<BTreeMap<String, String>> = serde_json::from_str(value).ok();
        let fields = match members {
            Some(members) => members.iter().map(|(label, value)| field(label, "STRING", value)).collect(),
            None => vec![password(value)],
        };
        match self.ids(vault, title).first() {
            Some(id) => self.edit(vault, id, |item| item["fields"] = json!(fields)),
            None => drop(self.add(vault, title, json!(fields), json!([]))),
        }
    }

    pub fn delete(&self, vault: &str, title: &str) {
        for id in self.ids(vault, title) {
            self.state.lock().unwrap().vaults.get_mut(vault).unwrap().items.remove(&id);
        }
    }

    pub fn ids(&self, vault: &str, title: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let items = state.vaults[vault].items.iter();
        items.filter(|(_, item)| item["title"] == title).map(|(id, _)| id.clone()).collect()
    }

    pub fn add_token(&self, token: &str) {
        self.state.lock().unwrap().tokens.push(token.to_owned());
    }

    pub fn revoke_token(&self, token: &str) {
        self.state.lock().unwrap().tokens.retain(|known| known != token);
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many lists of items it has given, and how many items.
    pub fn lists_and_items(&self) -> (usize, usize) {
        let asked = self.asked();
        let parts = |path: &str| path.split('?').next().unwrap().split('/').skip(1).count();
        let of = |count| asked.iter().filter(|path| path.contains("/items") && parts(path) == count).count();
        (of(4), of(5))
    }
}

pub fn field(label: &str, kind: &str, value: &str) -> Value {
    json!({"id": format!("f-{label}"), "label": label, "type": kind, "value": value})
}

fn password(value: &str) -> Value {
    json!({"id": "password", "label": "password", "type": "CONCEALED", "purpose": "PASSWORD", "value": value})
}

fn refused(status: u16, message: &str) -> Response {
    Response::new(status, json!({"status": status, "message": message}).to_string())
        .header("Content-Type: application/json")
}

fn fine(body: Value) -> Response {
    Response::new(200, body.to_string()).header("Content-Type: application/json")
}

impl State {
    fn id(&mut self) -> String {
        self.ids += 1;
        let mut id = format!("{:0>26}", self.ids);
        id.replace_range(..1, "z");
        id
    }

    fn answer(&mut self, request: &Request) -> Response {
        self.asked.push(request.target.clone());
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if path == "/heartbeat" {
            return Response::new(200, ".");
        }
        let token = request.header("authorization").and_then(|it| it.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.iter().any(|known| known == token)) {
            return refused(401, "Invalid token signature");
        }
        let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("filter="));
        // In a query a space may be a plus.
        let wanted = wanted.map(|text| decoded(&text.replace('+', " ")));
        match &parts[..] {
            ["v1", "vaults"] => {
                let all =
                    self.vaults.iter().filter(|(_, vault)| vault.is_in_scope).map(|(id, it)| it.about(id));
                filtered(all.collect(), "name", wanted.as_deref())
            }
            ["v1", "vaults", id, rest @ ..] => match self.vaults.get(*id) {
                _ if id.len() != 26 => refused(400, "Invalid Vault UUID"),
                None => refused(404, &format!("vault {id} not found")),
                Some(vault) if !vault.is_in_scope => refused(403, &format!("vault {id} is not in scope")),
                Some(vault) => vault.answer(id, rest, wanted.as_deref()),
            },
            _ => refused(404, "not found"),
        }
    }
}

impl Vault {
    fn about(&self, id: &str) -> Value {
        json!({"id": id, "name": self.name, "items": self.items.len(), "type": "USER_CREATED", "attributeVersion": 1,
            "contentVersion": 1, "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-02T03:04:05Z"})
    }

    fn answer(&self, id: &str, rest: &[&str], wanted: Option<&str>) -> Response {
        match rest {
            [] => fine(self.about(id)),
            ["items"] => {
                let mut all: Vec<Value> = self.items.values().cloned().collect();
                // What is listed has no values.
                for item in &mut all {
                    for member in ["fields", "files", "sections"] {
                        item.as_object_mut().unwrap().remove(member);
                    }
                }
                filtered(all, "title", wanted)
            }
            ["items", item, rest @ ..] => match (self.items.get(*item), rest) {
                (None, _) => refused(404, &format!("item {item} not found")),
                (Some(found), []) => fine(found.clone()),
                (Some(found), ["files"]) => fine(found["files"].clone()),
                (Some(_), ["files", file, "content"]) => match self.files.get(*file) {
                    Some(content) => {
                        Response::new(200, content.clone()).header("Content-Type: application/octet-stream")
                    }
                    None => refused(404, &format!("file {file} not found")),
                },
                (Some(found), ["files", file]) => {
                    let found = found["files"].as_array().unwrap().iter().find(|it| it["id"] == **file);
                    found.map_or_else(|| refused(404, "file not found"), |file| fine(file.clone()))
                }
                _ => refused(404, "not found"),
            },
            _ => refused(404, "not found"),
        }
    }
}

/// `NAME eq "VALUE"`, as SCIM has it.
fn filtered(all: Vec<Value>, name: &str, wanted: Option<&str>) -> Response {
    let Some(wanted) = wanted else { return fine(json!(all)) };
    let value = wanted.strip_prefix(&format!("{name} eq \"")).and_then(|rest| rest.strip_suffix('"'));
    let Some(value) = value else { return refused(400, "Invalid filter") };
    let value = value.replace("\\\"", "\"").replace("\\\\", "\\");
    fine(json!(all.into_iter().filter(|it| it[name] == *value).collect::<Vec<_>>()))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The same, as what holds secrets for the rules of `contract`.
pub struct InOnePassword {
    server: OnePassword,
    vault: String,
    folder: TempDir,
}

impl InOnePassword {
    pub fn new() -> Self {
        let server = OnePassword::start();
        let vault = server.add_vault("Prod");
        Self { server, vault, folder: TempDir::with_prefix("secretfs-1password-").unwrap() }
    }

    fn with_token(&self, token: &str) -> String {
        let file = self.folder.path().join(token);
        std::fs::write(&file, token).unwrap();
        format!(
            "type: 1password, address: '{}', auth: {{token: 'file:{}'}}",
            self.server.url(),
            file.display()
        )
    }
}

impl Source for InOnePassword {
    fn provider(&self) -> String {
        self.with_token(TOKEN)
    }

    fn put(&self, name: &str, value: &[u8]) {
        self.server.put(&self.vault, name, std::str::from_utf8(value).expect("a text"));
    }

    fn delete(&self, name: &str) {
        self.server.delete(&self.vault, name);
    }

    fn stop(&self) {
        self.server.served.stop();
    }

    fn start(&self) {
        self.server.served.start_again();
    }

    /// For items: lists are counted elsewhere.
    fn questions(&self) -> Option<usize> {
        Some(self.server.lists_and_items().1)
    }

    fn below(&self) -> &'static str {
        "Prod/"
    }

    fn only_texts(&self) -> Option<&'static str> {
        Some("a field there is a text of JSON, which is UTF-8; files are bytes")
    }

    /// A slash stands between an item and its field.
    fn takes(&self, name: &str) -> bool {
        !name.contains('/')
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        Some((self.with_token("another"), "refuses our token"))
    }
}
