//! The figures we hold ourselves to, side by side in one run: `benches/run [NAME]…`.
//! Absolute times mean nothing on another machine; what stands beside them does.

mod audit;
mod bare;
#[path = "../../tests/common/mod.rs"]
mod common;
mod exec;
mod first;
#[path = "../../tests/common/net/mod.rs"]
mod harness;
mod hung;
mod identity;
mod idle;
mod mask;
mod measure;
mod reads;
mod remote;
mod scale;
mod store;
mod table;
mod usual;

use std::path::Path;

use table::Table;

/// A figure fills its rows in.
struct Figure {
    name: &'static str,
    fill_in: fn(&mut Table),
    /// Takes minutes: only where it is named.
    is_long: bool,
}

const FIGURES: [Figure; 17] = [
    Figure { name: "reads", fill_in: reads::warm, is_long: false },
    Figure { name: "identity", fill_in: identity::identity, is_long: false },
    Figure { name: "audit", fill_in: audit::audit, is_long: false },
    Figure { name: "cold", fill_in: reads::cold, is_long: false },
    Figure { name: "exec", fill_in: exec::exec, is_long: false },
    Figure { name: "mask", fill_in: mask::mask, is_long: false },
    Figure { name: "scale", fill_in: scale::scale, is_long: false },
    Figure { name: "hung", fill_in: hung::hung, is_long: false },
    Figure { name: "crowd", fill_in: hung::crowd, is_long: false },
    Figure { name: "store", fill_in: store::store, is_long: false },
    Figure { name: "remote", fill_in: remote::remote_crowd, is_long: false },
    Figure { name: "first", fill_in: first::first, is_long: false },
    Figure { name: "failover", fill_in: remote::failover, is_long: false },
    Figure { name: "remote-files", fill_in: remote::remote_files, is_long: true },
    Figure { name: "million", fill_in: scale::million, is_long: true },
    Figure { name: "store-million", fill_in: store::million, is_long: true },
    Figure { name: "store-file", fill_in: store::file, is_long: true },
];

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
    for figure in FIGURES {
        let is_named = wanted.iter().any(|arg| arg == figure.name);
        if is_named || (wanted.is_empty() && !figure.is_long) {
            let mut table = Table::new();
            (figure.fill_in)(&mut table);
            println!("{table}\n");
        }
    }
}
