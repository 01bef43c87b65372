//! A caller as a command line describes it. What is not said is unknown; an empty name says that
//! there is none. May use every layer.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, User, getgrouplist};

use super::wanted::Target;
use crate::caller::{self, Exe, Fact, Facts, Identity, Namespace, UserUnit};
use crate::cli::report::Failure;
use crate::cli::{exit, session};
use crate::policy::{Action, Door};
use crate::sys::identity;

/// What is done, and by which way.
#[derive(clap::Args)]
pub struct Asked {
    /// mount, exec, api or systemd (default: mount for a file, systemd for a credential, else exec)
    #[arg(long, value_parser = door)]
    pub door: Option<Door>,
    /// read, list, create, update, rotate or delete (default: read)
    #[arg(long, value_parser = action)]
    action: Option<Action>,
}

#[derive(clap::Args, Clone, Default)]
pub struct Caller {
    /// The caller's user, by number
    #[arg(long, value_name = "N", conflicts_with = "user", required_unless_present = "user")]
    uid: Option<u32>,
    /// The caller's user, by name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The caller's first group, by number (default: the user's)
    #[arg(long, value_name = "N")]
    gid: Option<u32>,
    /// A further group of the caller, by name or number (default: the user's)
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// The caller's program
    #[arg(long, value_name = "PATH", value_parser = program)]
    exe: Option<PathBuf>,
    /// The program's content
    #[arg(long, value_name = "HEX", requires = "exe", value_parser = sha256)]
    sha256: Option<[u8; 32]>,
    /// The caller's system unit ('' for none)
    #[arg(long, value_name = "NAME", value_parser = unit)]
    unit: Option<String>,
    /// The caller's unit of a user's own manager ('' for none)
    #[arg(long, value_name = "NAME", value_parser = unit)]
    user_unit: Option<String>,
    /// The caller's control group
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// The caller's container ('' for none)
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
}

impl Asked {
    pub fn door(&self, target: Option<&Target>) -> Door {
        self.door.unwrap_or_else(|| target.map_or(Door::Exec, Target::door))
    }

    pub fn action(&self) -> Action {
        self.action.unwrap_or_default()
    }
}

impl Caller {
    /// As if the kernel had told it, and nothing could mask it. But who comes by `exec` is this program,
    /// and that is as it is.
    pub fn identity(&self, door: Door) -> Result<Identity, Failure> {
        let known = self.known()?;
        if door != Door::Exec {
            return Ok(known);
        }
        let own = identity::gather(&session::caller(), Facts::EXE).ok().and_then(|it| it.exe);
        match (&self.exe, &own) {
            (Some(path), Some(own)) if *path != own.path => {
                let problem =
                    format!("who asks at the door exec is secretfs itself, never {}", path.display());
                Err(Failure::new(exit::USAGE, problem)
                    .hint(format!("--exe {}, or leave it out", own.path.display())))
            }
            _ => Ok(Identity { exe: own, ..known }),
        }
    }

    /// `user=app,unit=app.service,door=mount`: what the options say, in one word.
    pub fn parse(text: &str) -> Result<(Self, Option<Door>), String> {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true, disable_help_flag = true)]
        struct Line {
            #[command(flatten)]
            caller: Caller,
            #[arg(long, value_parser = door)]
            door: Option<Door>,
        }
        let options = text.split(',').map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            format!("--{}={value}", key.trim().replace('_', "-"))
        });
        let line = <Line as clap::Parser>::try_parse_from(options);
        let line = line.and_then(|line| match line.door {
            None | Some(Door::Mount | Door::Systemd) => Ok(line),
            Some(door) => Err(clap::Error::raw(
                clap::error::ErrorKind::InvalidValue,
                format!(
                    "nothing is read through the door {door}; there is mount, systemd
"
                ),
            )),
        });
        line.map(|line| (line.caller, line.door)).map_err(|error| {
            let told = error.to_string();
            let first = told.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>();
            let first = first.join(" ").replace("error: ", "").replace("--", "");
            format!("{first}; expected KEY=VALUE,… of uid, user, gid, group, exe, unit, user_unit, cgroup, container, door")
        })
    }

    fn known(&self) -> Result<Identity, Failure> {
        let user = self.find_user()?;
        let known = user.as_ref().map(|user| user.gid.as_raw());
        let uid = user.as_ref().map(|user| user.uid.as_raw()).or(self.uid).unwrap_or_default();
        let gid = self.gid.or(known).ok_or_else(|| {
            Failure::new(
                exit::USAGE,
                format!("uid {uid} is no user of this machine, so its group is not known"),
            )
            .hint("--gid N")
        })?;
        let caller = caller::Caller { uid, gid, pid: std::process::id() };
        let exe =
            |path: &PathBuf| Exe { path: path.clone(), dev: 0, ino: 0, is_fit: true, sha256: self.sha256 };
        Ok(Identity {
            groups: Some(self.groups(user.as_ref(), gid)?),
            exe: self.exe.as_ref().map(exe),
            unit: fact(self.unit.as_ref(), String::clone),
            user_unit: fact(self.user_unit.as_ref(), |name| UserUnit { uid, name: name.clone() }),
            cgroup: self.cgroup.clone(),
            container: fact(self.container.as_ref(), String::clone),
            userns: Namespace::Own,
            ..Identity::of(caller)
        })
    }

    fn find_user(&self) -> Result<Option<User>, Failure> {
        let Some(name) = &self.user else {
            return Ok(self.uid.and_then(|uid| User::from_uid(uid.into()).ok().flatten()));
        };
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Some(user)),
            _ => Err(Failure::new(exit::USAGE, format!("there is no user `{name}`"))),
        }
    }

    /// Those that were named, else those that a login has.
    fn groups(&self, user: Option<&User>, gid: u32) -> Result<Vec<u32>, Failure> {
        if !self.group.is_empty() || self.gid.is_some() {
            return self.group.iter().map(|group| gid_of(group)).collect();
        }
        let name = user.and_then(|user| CString::new(user.name.as_str()).ok());
        let groups = name.and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
        Ok(groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect())
    }
}

fn gid_of(group: &str) -> Result<u32, Failure> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(Failure::new(exit::USAGE, format!("there is no group `{group}`"))),
    }
}

fn fact<T>(said: Option<&String>, is: impl FnOnce(&String) -> T) -> Fact<T> {
    match said {
        None => Fact::Unknown,
        Some(name) if name.is_empty() => Fact::Absent,
        Some(name) => Fact::Is(is(name)),
    }
}

fn door(text: &str) -> Result<Door, String> {
    let found = Door::RULED.into_iter().find(|door| door.name() == text);
    found.ok_or_else(|| format!("there is {}", Door::RULED.map(Door::name).join(", ")))
}

/// As a rule has to name it, too.
fn unit(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let judged = crate::config::unit(text)?;
    match judged.is_plain() {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is a pattern; a caller is in one unit")),
    }
}

/// The kernel knows a program by the path behind all links.
fn program(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.canonicalize() {
        Ok(real) if real != path => Err(format!("what runs is {}: name that", real.display())),
        _ if !path.is_absolute() => Err("expected its whole path".to_owned()),
        _ => Ok(path),
    }
}

fn action(text: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|action| action.name() == text);
    found.ok_or_else(|| format!("there is {}", Action::ALL.map(Action::name).join(", ")))
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    crate::config::digest(text).ok_or_else(|| "expected 64 hexadecimal digits".to_owned())
}
