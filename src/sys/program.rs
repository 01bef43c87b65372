//! A program that is run for its output: in a process group of its own, of which nothing is left
//! when the answer is there or nobody waits for it any more. Uses `group` and `child`.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe::Receiver;
use zeroize::Zeroizing;

use super::child;
use super::group::{Group, Until};
use super::process::Process;

/// What a program has come to.
pub enum Ended {
    /// Its status, and what it has printed.
    With(ExitStatus, Zeroizing<Vec<u8>>),
    /// It has printed more than it may.
    TooLarge,
}

/// How long the output of a program that has ended stays open for who has left its group.
const LEAVERS: Duration = Duration::from_millis(200);

/// Runs it to its end. It has no input, and what it says on stderr goes nowhere. Dropped before
/// that, the program and all of its group are killed.
pub async fn run(command: &mut Command, most: usize) -> io::Result<Ended> {
    let (mut program, mut output) = Program::start(command)?;
    let mut printed = Zeroizing::new(Vec::new());
    let mut has_ended = false;
    while !has_ended {
        tokio::select! {
            read = output.read_buf(&mut *printed) => match read? {
                0 => break,
                _ if printed.len() > most => return Ok(Ended::TooLarge),
                _ => {}
            },
            ended = program.has_ended() => {
                ended?;
                has_ended = true;
            }
        }
    }
    if has_ended {
        // All that it has printed is in the pipe by now.
        program.group.end();
        let rest = (&mut output).take((most - printed.len() + 1) as u64);
        let _ = tokio::time::timeout(LEAVERS, read_all(rest, &mut printed)).await;
        if printed.len() > most {
            return Ok(Ended::TooLarge);
        }
    }
    Ok(Ended::With(program.status().await?, printed))
}

async fn read_all(mut from: impl AsyncReadExt + Unpin, to: &mut Vec<u8>) -> io::Result<()> {
    while from.read_buf(to).await? > 0 {}
    Ok(())
}

/// A program that runs, or has ended and not been reaped.
struct Program {
    group: Group,
    /// Until it is reaped.
    child: Option<Child>,
    process: AsyncFd<Process>,
}

impl Program {
    fn start(command: &mut Command) -> io::Result<(Self, Receiver)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let group = Group::start(Until::WeEnd)?;
        group.take_in(command);
        let mut child = child::spawn(command)?;
        let output = child.stdout.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
        let process = Process::of(Pid::from_raw(child.id() as i32));
        // SAFETY: a process keeps its descriptor open, and the same, for as long as it lives.
        let watch = |it| unsafe { AsyncFd::register_with_interest(it, Interest::READABLE) };
        let process = process.and_then(|it| watch(it).map_err(io::Error::from));
        let program = match process {
            Ok(process) => Self { group, child: Some(child), process },
            Err(error) => {
                let _ = child.kill();
                let _ = child::reap_one(&mut child);
                return Err(error);
            }
        };
        Ok((program, Receiver::from_owned_fd(output)?))
    }

    async fn has_ended(&self) -> io::Result<()> {
        self.process.readable().await.map(drop)
    }

    async fn status(&mut self) -> io::Result<ExitStatus> {
        self.has_ended().await?;
        self.group.end();
        let child = self.child.as_mut().expect("it is reaped once");
        let status = child::reap_one(child);
        self.child = None;
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.group.end();
        if let Some(mut child) = self.child.take() {
            // It ends at once, unless the kernel holds it: then nobody waits for it here.
            std::thread::spawn(move || child::reap_one(&mut child));
        }
    }
}
