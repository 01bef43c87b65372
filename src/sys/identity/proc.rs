//! Files of `/proc`, read without asking for a size that they do not have.

use std::fs::File;
use std::io::Read;

/// No file that is read here is longer, but for a process in hundreds of groups.
const USUAL: usize = 4_096;

/// Of this thread.
pub(super) fn read(thread: u32, name: &str) -> Option<String> {
    read_up_to(thread, name, usize::MAX)?
}

/// The same. `Some(None)`: it is longer than this.
pub(super) fn read_up_to(thread: u32, name: &str, most: usize) -> Option<Option<String>> {
    let mut file = File::open(format!("/proc/{thread}/{name}")).ok()?;
    let (mut text, mut end) = (vec![0; USUAL], 0);
    loop {
        match file.read(&mut text[end..]).ok()? {
            0 => break,
            count => end += count,
        }
        if end > most {
            return Some(None);
        }
        if end == text.len() {
            text.resize(2 * end, 0);
        }
    }
    text.truncate(end);
    String::from_utf8(text).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end() {
        let own = std::process::id();
        let long = read(own, "smaps").unwrap();
        assert!(long.len() > USUAL && long.ends_with('\n'));
        assert!(read(own, "status").unwrap().contains("VmSize:"));
        assert_eq!(read(own, "none"), None);
        assert_eq!(read_up_to(own, "smaps", USUAL), Some(None));
        assert!(read_up_to(own, "status", USUAL).is_some_and(|text| text.is_some()));
    }
}
