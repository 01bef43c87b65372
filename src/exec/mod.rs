//! The door to a child process: an environment with values in it, the program that gets it, and
//! the parent that some need. Uses sys and the words; knows nothing of templates, stores or mounts.

mod environment;
pub mod mask;
mod orders;
mod relay;
mod starter;
mod supervise;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

pub use environment::{Entry, Environment, EnvironmentError, Rules};
pub use orders::is_word;
pub use relay::{Change, End, Relay, Teller};
pub use starter::{Ends, attend};
pub use supervise::{hold_signals, leave_streams, supervise};

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error("{0}: command not found")]
    NotFound(String),
    #[error("{program}: {}", .errno.desc())]
    NotExecutable { program: String, errno: Errno },
    #[error(
        "{program}: environment and arguments are too large together for this system ({size} bytes of environment)"
    )]
    TooLarge { program: String, size: usize },
    #[error("an argument of the command has a NUL byte")]
    Nul,
}

impl ExecError {
    /// 127 and 126, as every shell says it.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } | Self::TooLarge { .. } | Self::Nul => 126,
        }
    }
}

/// What `execvp` searches when there is no PATH (exec(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The program that [`replace`] will find: for who makes something for it first.
pub fn find(command: &[OsString]) -> Result<PathBuf, ExecError> {
    let name = command.first().map(Path::new).unwrap_or(Path::new(""));
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let candidates: Vec<PathBuf> = match name.as_os_str().as_bytes().contains(&b'/') {
        true => vec![name.to_owned()],
        false => std::env::split_paths(&path).map(|folder| folder.join(name)).collect(),
    };
    let program = name.to_string_lossy().into_owned();
    let can_run = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if !program.is_empty()
        && let Some(found) = candidates.iter().find(|path| can_run(path))
    {
        Ok(found.clone())
    } else if !program.is_empty() && candidates.iter().any(|path| path.exists()) {
        Err(ExecError::NotExecutable { program, errno: Errno::EACCES })
    } else {
        Err(ExecError::NotFound(program))
    }
}

/// Becomes the program: same process, so exit status, signals, terminal and process group are its
/// own. Found in PATH as a shell finds it. Returns only if that failed.
pub fn replace(command: &[OsString], environment: &Environment) -> ExecError {
    let program = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let arguments: Result<Vec<CString>, _> =
        command.iter().map(|word| CString::new(word.as_bytes())).collect();
    let Ok(arguments) = arguments else { return ExecError::Nul };
    let Some(path) = arguments.first() else { return ExecError::NotFound(program) };
    let Err(errno) = nix::unistd::execvpe(path, &arguments, environment.entries());
    match errno {
        Errno::ENOENT => ExecError::NotFound(program),
        Errno::E2BIG => ExecError::TooLarge { program, size: environment.size() },
        errno => ExecError::NotExecutable { program, errno },
    }
}
