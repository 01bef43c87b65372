//! What it costs to know who reads: the same warm read, by rules that ask for more and more of its
//! reader, beside a filesystem that does nothing.

use std::path::Path;

use crate::common::{Mounted, TestMount};
use crate::idle;
use crate::measure::{Samples, in_turn, on_one_cpu};
use crate::reads::{IdleMount, read, store, template};
use crate::table::{Row, Table};

const ROUNDS: usize = 15;
const TIMES: u32 = 1000;

/// A file, and what its rules ask for. The reader is in no unit, and allowed by a rule below.
const RULES: [(&str, &str); 5] = [
    ("mode", ""),
    ("uid", "{deny: {uid: 1}}"),
    ("unit", "{deny: {unit: a.service}}"),
    ("exe", "{deny: {exe: /bin/false}}"),
    ("all", "{deny: {unit: a.service, gid: 1}}, {deny: {exe: /bin/false}}, {deny: {container: a}}"),
];

fn mount() -> Mounted {
    let mut mount = TestMount::on(store());
    let mut files = String::new();
    for (name, rules) in RULES {
        mount = mount.template(&format!("{name}.txt.tpl"), template());
        files += &format!("    {name}.txt: {{access: [{rules}]}}\n");
    }
    let config = format!("mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n  files:\n{files}");
    mount.config(&config.replace("mode.txt: {access: []}", "mode.txt: {}")).start()
}

fn samples() -> Vec<Samples> {
    let (mounted, nothing) = (mount(), IdleMount::start());
    let idle = nothing.folder.path().join(idle::NAME);
    let files: Vec<_> = RULES.iter().map(|(name, _)| mounted.path(&format!("{name}.txt"))).collect();
    let reader = |file: &Path| {
        let file = file.to_owned();
        move || read(&file)
    };
    let mut readers: Vec<_> = files.iter().chain([&idle]).map(|file| reader(file)).collect();
    let mut subjects: Vec<&mut dyn FnMut()> = readers.iter_mut().map(|it| it as &mut dyn FnMut()).collect();
    in_turn(ROUNDS, TIMES, &mut subjects)
}

pub(crate) fn identity(table: &mut Table) {
    for (place, samples) in [("", samples()), (", one CPU", on_one_cpu(samples))] {
        let title = format!("open+fstat+read 4 KiB+close{place}");
        let (nothing, ours) = samples.split_last().expect("the idle one is last");
        table.row(Row::new(&title, "do-nothing fuser", nothing));
        for ((name, _), samples) in RULES.iter().zip(ours) {
            table.row(Row::new(&title, &format!("secretfs, by {name}"), samples).times(nothing, 1.0));
        }
    }
}
