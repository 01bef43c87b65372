//! A search for what is left of a value: in the memory of a process, in a file or a whole disk, in
//! the forms in which a value travels, and in parts. Uses aho-corasick and /proc.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A shorter part of a value could be anything.
const WINDOW: usize = 12;
/// Of a long value, so many parts are searched for, evenly spread.
const PARTS: usize = 48;
const CHUNK: usize = 4 << 20;
const PAGE: usize = 4096;
/// More than the longest pattern has.
const OVERLAP: usize = 64;

pub struct Scan {
    search: AhoCorasick,
    /// Of each pattern: the name of its value and its form.
    what: Vec<String>,
}

/// How many pieces were found of what: a piece is as much as lies together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hits(pub BTreeMap<String, usize>);

impl Hits {
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn and(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
        self
    }
}

impl Scan {
    /// For values by their names.
    pub fn of<'a>(values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut patterns = BTreeMap::new();
        for (name, value) in values {
            for (form, pattern) in parts(value).into_iter().flat_map(forms) {
                patterns.entry(pattern).or_insert_with(|| format!("{name} ({form})"));
            }
        }
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(patterns.keys());
        Self { search: search.expect("few short patterns"), what: patterns.into_values().collect() }
    }

    pub fn bytes(&self, bytes: &[u8]) -> Hits {
        let mut hits = Hits::default();
        let mut last = None;
        for found in self.search.find_iter(bytes) {
            let what = &self.what[found.pattern().as_usize()];
            // The rest of the same piece, which need not begin where another part does.
            let goes_on = last.is_some_and(|(end, before)| before == what && found.start() <= end + WINDOW);
            if !goes_on {
                *hits.0.entry(what.clone()).or_default() += 1;
            }
            last = Some((found.end(), what));
        }
        hits
    }

    pub fn file(&self, path: &Path) -> io::Result<Hits> {
        let file = File::open(path)?;
        let (mut hits, mut buffer, mut at) = (Hits::default(), vec![0; CHUNK], 0);
        loop {
            let length = file.read_at(&mut buffer, at)?;
            hits = hits.and(self.bytes(&buffer[..length]));
            if length <= OVERLAP {
                return Ok(hits);
            }
            at += (length - OVERLAP) as u64;
        }
    }

    /// Its memory, as far as it is there, its environment and its command line. Needs root, or a
    /// process of one's own that lets itself be looked into.
    pub fn process(&self, pid: u32) -> io::Result<Hits> {
        let of = |name: &str| format!("/proc/{pid}/{name}");
        let (memory, pages) = (File::open(of("mem"))?, File::open(of("pagemap"))?);
        let mut hits = Hits::default();
        for (start, end) in mappings(&std::fs::read_to_string(of("maps"))?) {
            for (from, to) in present(&pages, start, end)? {
                let mut bytes = vec![0; (to - from) as usize];
                // What has gone meanwhile, and what the kernel shows nobody.
                if memory.read_exact_at(&mut bytes, from).is_ok() {
                    hits = hits.and(self.bytes(&bytes));
                }
            }
        }
        for name in ["environ", "cmdline"] {
            hits = hits.and(self.bytes(&std::fs::read(of(name))?));
        }
        Ok(hits)
    }
}

/// What may be read, from where to where.
fn mappings(maps: &str) -> Vec<(u64, u64)> {
    let readable = maps.lines().filter(|line| {
        let rights = line.split(' ').nth(1).unwrap_or_default();
        rights.starts_with('r') && !line.ends_with("[vvar]") && !line.ends_with("[vsyscall]")
    });
    let ends = readable.filter_map(|line| line.split(' ').next()?.split_once('-'));
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    ends.map(|(start, end)| (number(start), number(end))).collect()
}

/// The parts of a mapping that are in memory or in swap, none longer than a chunk.
fn present(pages: &File, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    const THERE: u64 = 1 << 63 | 1 << 62;
    let mut words = vec![0; ((end - start) as usize / PAGE) * 8];
    pages.read_exact_at(&mut words, start / PAGE as u64 * 8)?;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (number, word) in words.chunks_exact(8).enumerate() {
        if u64::from_ne_bytes(word.try_into().expect("eight")) & THERE == 0 {
            continue;
        }
        let at = start + (number * PAGE) as u64;
        match runs.last_mut() {
            Some((from, to)) if *to == at && at - *from < CHUNK as u64 => *to += PAGE as u64,
            _ => runs.push((at, at + PAGE as u64)),
        }
    }
    Ok(runs)
}

/// All there are of a short value; a value that is shorter still, as a whole.
fn parts(value: &[u8]) -> BTreeSet<&[u8]> {
    if value.len() <= WINDOW {
        return BTreeSet::from([value]);
    }
    let count = value.len() - WINDOW + 1;
    let step = count.div_ceil(PARTS);
    (0..count).step_by(step).map(|at| &value[at..at + WINDOW]).collect()
}

/// A part of three times as many bytes has the same base64 wherever it stands: of each value there is
/// a part for each of the three places.
fn forms(part: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let url: String = part.iter().map(|&byte| escaped_in_a_url(byte)).collect();
    let text = String::from_utf8_lossy(part);
    let json = serde_json::to_string(&text).expect("a string");
    let mut forms = vec![
        ("raw", part.to_vec()),
        ("reversed", part.iter().rev().copied().collect()),
        ("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
        ("base64", STANDARD.encode(part).trim_end_matches('=').into()),
        ("url", url.into_bytes()),
        ("JSON", json.as_bytes()[1..json.len() - 1].to_vec()),
    ];
    let mut seen = BTreeSet::new();
    forms.retain(|(_, form)| form.len() >= WINDOW.min(part.len()) && seen.insert(form.clone()));
    forms
}

fn escaped_in_a_url(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).into(),
        byte => format!("%{byte:02X}"),
    }
}
