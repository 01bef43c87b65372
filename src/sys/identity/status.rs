//! What `/proc/PID/status` says of a thread (proc_pid_status(5)).

use std::fs;

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

impl Status {
    pub(super) fn of(thread: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{thread}/status")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let line = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
        let numbers =
            |name| line(name).map(|rest| rest.split_ascii_whitespace().map_while(|it| it.parse().ok()));
        let nth = |name, place| numbers(name)?.nth(place);
        Some(Self {
            process: nth("Tgid:", 0)?,
            real_uid: nth("Uid:", 0)?,
            fsuid: nth("Uid:", 3)?,
            fsgid: nth("Gid:", 3)?,
            groups: numbers("Groups:")?.collect(),
            is_traced: nth("TracerPid:", 0)? != 0,
            // Who asks lives, and has memory of its own unless the kernel runs it.
            is_of_kernel: line("VmSize:").is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let own = Status::of(std::process::id()).unwrap();
        assert_eq!(own.process, std::process::id());
        assert!(!own.is_of_kernel);
    }
}
