//! What `/proc/PID/status` says of a thread (proc_pid_status(5)).

use super::threads::Thread;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub process: u32,
    pub real_uid: u32,
    pub fsuid: u32,
    pub fsgid: u32,
    pub groups: Vec<u32>,
    pub is_traced: bool,
    pub is_of_kernel: bool,
}

/// Of who is in fewer than a thousand groups.
const USUAL: usize = 8 << 10;

impl Status {
    pub(super) fn of(thread: &Thread) -> Option<Self> {
        Self::parse(&thread.status(usize::MAX)??)
    }

    /// `Some(None)`: it takes its time, as the thread is in that many groups.
    pub(super) fn at_once(thread: &Thread) -> Option<Option<Self>> {
        match thread.status(USUAL)? {
            Some(text) => Self::parse(&text).map(Some),
            None => Some(None),
        }
    }

    /// In one pass: it has many lines, and is read at each open.
    fn parse(text: &str) -> Option<Self> {
        let [mut process, mut uids, mut gids, mut groups, mut tracer, mut memory] = [None; 6];
        for (name, rest) in text.lines().filter_map(|line| line.split_once(':')) {
            let field = match name {
                "Tgid" => &mut process,
                "Uid" => &mut uids,
                "Gid" => &mut gids,
                "Groups" => &mut groups,
                "TracerPid" => &mut tracer,
                "VmSize" => &mut memory,
                _ => continue,
            };
            *field = Some(rest);
        }
        let nth = |field: Option<&str>, place| numbers(field?).nth(place);
        Some(Self {
            process: nth(process, 0)?,
            real_uid: nth(uids, 0)?,
            fsuid: nth(uids, 3)?,
            fsgid: nth(gids, 3)?,
            groups: numbers(groups?).collect(),
            is_traced: nth(tracer, 0)? != 0,
            // Who asks lives, and has memory of its own unless the kernel runs it.
            is_of_kernel: memory.is_none(),
        })
    }
}

fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().map_while(|it| it.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Level;

    const TEXT: &str = "Name:\tTgid:\t7\nUmask:\t0022\nTgid:\t40\nPid:\t41\nTracerPid:\t0\n\
        Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t20 21 \nVmSize:\t    2892 kB\n";

    #[test]
    fn the_credentials_are_those_that_open_files() {
        let status = Status::parse(TEXT).unwrap();
        let expected = Status {
            process: 40,
            real_uid: 1,
            fsuid: 4,
            fsgid: 8,
            groups: vec![20, 21],
            is_traced: false,
            is_of_kernel: false,
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn who_has_no_memory_is_of_the_kernel() {
        assert!(Status::parse(&TEXT.replace("VmSize", "Seccomp")).unwrap().is_of_kernel);
        assert!(Status::parse(&TEXT.replace("TracerPid:\t0", "TracerPid:\t9")).unwrap().is_traced);
        assert_eq!(Status::parse(&TEXT.replace("Groups:\t20 21", "Groups:\t")).unwrap().groups, [0; 0]);
        assert_eq!(Status::parse("Tgid:\t40\n"), None);
    }

    #[test]
    fn this_process_has_one() {
        let own = Status::of(&Thread::new(std::process::id(), Level::L1)).unwrap();
        assert_eq!(own.process, std::process::id());
        assert!(!own.is_of_kernel);
    }
}
