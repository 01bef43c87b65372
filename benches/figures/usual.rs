//! What is usual, for the files of `remote`: programs that write them, OpenBao's own agent and, where it is installed,
//! consul-template.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::bare::asked;
use crate::common::bao::{Bao, ROOT};
use crate::remote::{CONNECTIONS, FILES, distinct, names, peak_mib, put, title};
use crate::table::{Row, Table};

/// For all files.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn files(table: &mut Table, has_own: bool) {
    let (bao, names) = (Bao::dev(), names(has_own));
    let calls: Vec<_> = distinct(&names).into_iter().map(|name| put(name, "old")).collect();
    asked(bao.port, ROOT, CONNECTIONS, &calls);
    let agent = || {
        let mut agent = Command::new(Bao::program());
        agent.arg("agent");
        agent
    };
    let address = format!("address = \"{}\"", bao.address());
    let login = "auto_auth { method \"token_file\" { config = { token_file_path = \"token\" } } }";
    let folder = Folder::new(&names, format!("vault {{ {address} }}\n{login}\n"));
    written(table, &title("bao agent", has_own), agent(), &folder);
    if let Some(program) = installed("consul-template") {
        let login = format!("vault {{ {address}\n token = \"{ROOT}\"\n renew_token = false }}\n");
        let folder = Folder::new(&names, login);
        written(table, &title("consul-template", has_own), Command::new(program), &folder);
    }
}

/// Templates and a config that both programs understand.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(names: &[Vec<String>], mut config: String) -> Self {
        let folder = Self(tempfile::TempDir::new().expect("a folder"));
        for (file, names) in names.iter().enumerate() {
            let line = |name: &String| {
                format!(
                    "{{{{ with secret \"secret/data/{name}\" }}}}{{{{ .Data.data.value }}}}\n{{{{ end }}}}"
                )
            };
            let text: String = names.iter().map(line).collect();
            fs::write(folder.at(&format!("t{file}")), text).expect("written");
            config += &format!("template {{ source = \"t{file}\"\n destination = \"f{file}\" }}\n");
        }
        fs::write(folder.at("token"), ROOT).expect("written");
        fs::write(folder.at("agent.hcl"), config).expect("written");
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn written(&self) -> usize {
        (0..FILES).filter(|file| self.at(&format!("f{file}")).exists()).count()
    }
}

fn written(table: &mut Table, title: &str, mut program: Command, folder: &Folder) {
    let log = fs::File::create(folder.at("log")).expect("a file");
    program.arg("-config=agent.hcl").current_dir(folder.0.path());
    program.stdout(log.try_clone().expect("a file")).stderr(log);
    let mut child = Ended(program.spawn().expect("it can be started"));
    let start = Instant::now();
    let mut peak = 0;
    let mut wait = |count| {
        while start.elapsed() < LONGEST && folder.written() < count {
            match child.0.try_wait() {
                Ok(None) => peak = peak_mib(child.0.id()).unwrap_or(peak),
                _ => return format!("it ended after {:.2} s", start.elapsed().as_secs_f64()),
            }
            thread::sleep(Duration::from_millis(5));
        }
        match start.elapsed() {
            time if time < LONGEST => format!("{:.2} s", time.as_secs_f64()),
            _ => format!("not within {} s", LONGEST.as_secs()),
        }
    };
    let (first, all) = (wait(1), wait(FILES));
    table.row(Row::note(title, "the first file is written", first, String::new()));
    table.row(Row::note(title, "all files are written", all, String::new()));
    table.row(Row::note(title, "most memory", format!("{peak} MiB"), String::new()));
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|path| path.join(program)).find(|path| Path::is_file(path))
}
