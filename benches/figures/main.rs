//! The figures we hold ourselves to, side by side in one run: `benches/run [reads] [cold] [exec]`.
//! Absolute times mean nothing on another machine; what stands beside them does.

#[path = "../../tests/common/mod.rs"]
mod common;
mod exec;
mod idle;
mod measure;
mod reads;
mod table;

use std::path::Path;

use table::Table;

/// A figure fills its rows in.
type Figure = (&'static str, fn(&mut Table));

const FIGURES: [Figure; 3] = [("reads", reads::warm), ("cold", reads::cold), ("exec", exec::exec)];

fn main() {
    // cargo adds `--bench` to the arguments.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("serve-idle") => idle::serve(Path::new(&args[1])),
        Some("usage") => exec::print_usage(&args[1..]),
        _ => print(&args),
    }
}

fn print(wanted: &[String]) {
    for (name, fill_in) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|arg| arg == name) {
            let mut table = Table::new();
            fill_in(&mut table);
            println!("{table}\n");
        }
    }
}
