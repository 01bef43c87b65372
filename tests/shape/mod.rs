//! The checker behind `tests/layers.rs`: files of `src/` in, what is wrong with them out.
//! The layers are read from the table in `src/lib.rs`'s own doc, so that there is one truth.

mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use paths::{Named, Tokens};

/// From here on a file is long, from there on too long.
const LONG: usize = 400;
const TOO_LONG: usize = 600;

/// Crates that only these files or folders may name.
const HOMES: [(&str, &[&str]); 6] = [
    ("fuser", &["fs/fuse.rs", "fs/session.rs"]),
    ("minijinja", &["template/"]),
    ("rusqlite", &["store/"]),
    ("rustls", &["net/"]),
    ("tokio_rustls", &["net/"]),
    ("webpki", &["net/"]),
];

/// What rules and words may not name: they take texts and times as arguments.
const IMPURE: [&str; 8] =
    ["std::fs", "std::net", "std::process", "std::env", "std::thread", "tokio", "nix", "libc"];

/// A file, with its path from `src/`.
pub(crate) struct Source {
    path: String,
    text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// `store/cipher.rs` is `store::cipher`; `mod.rs` is its folder; `lib.rs` and `main.rs` are the root.
    fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        path.split('/').filter(|s| !["mod", "lib", "main"].contains(s)).map(String::from).collect()
    }
}

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// All Rust files below a folder, sorted by path.
pub(crate) fn load(root: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![Path::new(root).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source is UTF-8");
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                sources.push(Source { path: name, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Everything that is wrong with these files.
pub(crate) fn check(sources: &[Source]) -> Report {
    let lib = sources.iter().find(|s| s.path == "lib.rs").expect("there is a lib.rs");
    let layers = Layers::of_table(&lib.text);
    let mut report = Report::default();
    let mut imports = BTreeMap::new();
    for source in sources {
        check_text(source, &mut report);
        check_tokens(source, &layers, &mut report.errors, &mut imports);
    }
    report.errors.dedup();
    report.errors.extend(cycle(&imports));
    report
}

fn check_text(source: &Source, report: &mut Report) {
    let Source { path, text } = source;
    let lines = text.lines().count();
    if !text.starts_with("//!") {
        report.errors.push(format!("src/{path}:1: does not open with a `//!` doc"));
    }
    if lines > TOO_LONG {
        report.errors.push(format!("src/{path}: {lines} lines, more than {TOO_LONG}"));
    } else if lines > LONG {
        report.warnings.push(format!("src/{path}: {lines} lines, more than {LONG}"));
    }
}

/// Which top-level module names which, for the search for cycles.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn check_tokens(source: &Source, layers: &Layers, errors: &mut Vec<String>, imports: &mut Imports) {
    let at = |line: usize, text: String| format!("src/{}:{line}: {text}", source.path);
    let tokens = Tokens::parse(&source.text).unwrap_or_else(|e| panic!("src/{}: {e}", source.path));
    check_homes(source, &tokens, errors);
    let module = source.module();
    let Some(top) = module.first() else { return };
    let Some(layer) = layers.layer(top) else {
        errors.push(at(1, format!("`{top}` is not in the table of layers in src/lib.rs")));
        return;
    };
    if module.last().is_some_and(|m| m == "tests") {
        return;
    }
    for Named { path, line } in tokens.without_tests().paths(&module) {
        if layers.is_pure(layer) {
            let impure = IMPURE.iter().find(|i| path.starts_with_path(i));
            errors.extend(impure.map(|i| at(line, format!("`{top}` is pure and names `{i}`"))));
        }
        let Some(used) = path.top().filter(|used| used != top && layers.layer(used).is_some()) else {
            continue;
        };
        match layers.verdict(top, &used) {
            Some(why) => errors.push(at(line, format!("`{top}` names `{used}`: {why}"))),
            None => drop(imports.entry(top.clone()).or_default().insert(used)),
        }
    }
}

/// `unsafe` in `sys/` alone, and the crates that have a home there.
fn check_homes(source: &Source, tokens: &Tokens, errors: &mut Vec<String>) {
    let homes = HOMES.iter().copied().chain([("unsafe", ["sys/"].as_slice())]);
    for (word, homes) in homes {
        let at_home = homes.iter().any(|home| source.path.starts_with(home));
        if let (false, Some(line)) = (at_home, tokens.line_of(word)) {
            let homes = homes.join(", ");
            errors.push(format!("src/{}:{line}: `{word}` belongs into {homes}", source.path));
        }
    }
}

/// The layers from the top, as the table of the crate's doc has them.
struct Layers(Vec<Layer>);

struct Layer {
    name: String,
    modules: Vec<String>,
    never_each_other: bool,
}

impl Layers {
    fn of_table(lib: &str) -> Self {
        let rows = lib.lines().filter_map(|line| line.strip_prefix("//! |"));
        let layers: Vec<Layer> = rows.skip(2).map(Layer::of_row).collect();
        assert!(!layers.is_empty(), "src/lib.rs's doc has a table of layers");
        Self(layers)
    }

    fn layer(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|layer| layer.modules.iter().any(|m| m == module))
    }

    fn is_pure(&self, layer: usize) -> bool {
        ["rules", "words"].contains(&self.0[layer].name.as_str())
    }

    /// Why `from` may not name `to`; None if it may.
    fn verdict(&self, from: &str, to: &str) -> Option<String> {
        let (user, used) = (self.layer(from)?, self.layer(to)?);
        let [above, below] = [&self.0[used].name, &self.0[user].name];
        if used < user {
            Some(format!("it looks up, from {below} to {above}"))
        } else if used == user && self.0[user].never_each_other {
            Some(format!("{below} use what is below, never each other"))
        } else {
            None
        }
    }
}

impl Layer {
    fn of_row(row: &str) -> Self {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let modules = cells[1].split(',').map(|m| m.trim().trim_matches('`').to_owned());
        let never_each_other = cells[2].contains("never each other");
        Self { name: cells[0].to_owned(), modules: modules.collect(), never_each_other }
    }
}

/// The first cycle, as `a -> b -> a`.
fn cycle(imports: &Imports) -> Option<String> {
    imports.keys().find_map(|start| {
        let mut trail = vec![start.clone()];
        leads_back(imports, start, &mut trail).then(|| format!("a cycle: {}", trail.join(" -> ")))
    })
}

/// Extends the trail until it comes back to where it started; as it was if it does not.
fn leads_back(imports: &Imports, start: &str, trail: &mut Vec<String>) -> bool {
    let here = trail.last().expect("a trail has a start").clone();
    for next in imports.get(&here).into_iter().flatten() {
        if next != start && trail.contains(next) {
            continue;
        }
        trail.push(next.clone());
        if next == start || leads_back(imports, start, trail) {
            return true;
        }
        trail.pop();
    }
    false
}
