//! Who asks for which credential: what the address of the other end says (systemd.exec(5)), held
//! against what the kernel says of the process behind it. Uses `sys` and nix.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{UnixAddr, getpeername, getsockopt, sockopt};
use nix::unistd::geteuid;

use crate::caller::{Caller, Fact, Facts, Identity, Inquiry, Namespace};
use crate::sys::identity;

/// What a service manager asks for on behalf of a unit.
pub struct Asked {
    pub who: Identity,
    pub unit: String,
    pub name: String,
}

/// What somebody says.
pub struct Claim {
    pub unit: String,
    pub name: String,
}

/// Why somebody is not a service manager.
#[derive(Debug, PartialEq, Eq)]
pub enum Stranger {
    /// The other end has no address, or one of another form.
    Address,
    Uid(u32),
    Gone,
    Refused(&'static str),
    /// The kernel says that it is of another unit than it says, or of none.
    Unit {
        claimed: String,
        is: Option<String>,
    },
    Program(String),
    /// Its program cannot be believed to be what it looks like.
    Veiled(&'static str),
}

/// How the service manager runs what it starts, if not by itself (since 255): beside its own program.
const EXECUTOR: &str = "systemd-executor";
const MANAGER: &str = "/proc/1/exe";

/// The facts that tell a service manager's process from others.
const TELLING: Facts = Facts::CREDENTIALS.and(Facts::UNIT).and(Facts::USER_UNIT).and(Facts::EXE);

impl Asked {
    /// Holds what is claimed against what the kernel says. `wanted` is to be known besides. May read
    /// a program for its digest.
    pub fn confirm(
        socket: &impl AsFd,
        caller: &Caller,
        Claim { unit, name }: Claim,
        wanted: Inquiry<'_>,
    ) -> Result<Self, Stranger> {
        let held = getsockopt(&socket.as_fd(), sockopt::PeerPidfd).ok();
        if caller.uid != geteuid().as_raw() {
            return Err(Stranger::Uid(caller.uid));
        }
        let who = identity::gather(caller, wanted.and(TELLING));
        let who = who.map_err(|refusal| Stranger::Refused(refusal.name()))?;
        // Whose number this is now, need not be who connected. (Before Linux 6.5 nothing tells.)
        if held.is_some_and(|pidfd| has_ended(&pidfd)) {
            return Err(Stranger::Gone);
        }
        confirm_unit(&who, &unit)?;
        confirm_program(&who)?;
        Ok(Self { who, unit, name })
    }
}

/// Who has connected, as the kernel noted it then.
pub(super) fn caller(socket: &impl AsFd) -> Option<Caller> {
    let peer = getsockopt(&socket.as_fd(), sockopt::PeerCredentials).ok()?;
    Some(Caller { uid: peer.uid(), gid: peer.gid(), pid: peer.pid().cast_unsigned() })
}

impl Claim {
    /// `@HEX/unit/UNIT/NAME`, of which the manager makes its address.
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let address: UnixAddr = getpeername(socket.as_fd().as_raw_fd()).ok()?;
        let (unit, name) = parse(address.as_abstract()?)?;
        Some(Self { unit, name })
    }
}

fn parse(address: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(address).ok()?;
    let (number, rest) = text.split_once("/unit/")?;
    let (unit, name) = rest.rsplit_once('/')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Neither a unit nor a credential is called so, and both are shown to people.
    let is_odd = rest.contains(|c: char| c.is_control() || c.is_whitespace());
    let is_whole = is_number && !is_odd && !unit.is_empty() && !unit.contains('/') && !name.is_empty();
    is_whole.then(|| (unit.to_owned(), name.to_owned()))
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut ends, PollTimeout::ZERO) != Ok(0)
}

/// Anybody can take an address; nobody but the manager puts a process into a unit's control group.
fn confirm_unit(who: &Identity, claimed: &str) -> Result<(), Stranger> {
    let of_user = match &who.user_unit {
        Fact::Is(it) if it.uid == who.caller.uid => Some(&it.name),
        _ => None,
    };
    let unit = match geteuid().is_root() {
        true => who.unit.known(),
        false => of_user,
    };
    match unit {
        Some(unit) if unit == claimed => Ok(()),
        unit => Err(Stranger::Unit { claimed: claimed.to_owned(), is: unit.cloned() }),
    }
}

/// A process of the unit that runs a program of its own is not the manager. Where programs are hidden
/// from us, the unit is all that is known.
fn confirm_program(who: &Identity) -> Result<(), Stranger> {
    if identity::sight().hides_programs().is_some() {
        return Ok(());
    }
    let exe = match &who.exe {
        _ if who.traced => Err("somebody traces it"),
        Some(exe) if who.userns == Namespace::Own => Ok(exe),
        _ => Err("its program is not known"),
    };
    let exe = exe.map_err(Stranger::Veiled)?;
    let is_manager = fs::metadata(MANAGER).is_ok_and(|it| (it.dev(), it.ino()) == (exe.dev, exe.ino));
    match is_manager || fs::read_link(MANAGER).is_ok_and(|path| is_executor(&exe.path, &path)) {
        true => Ok(()),
        false => Err(Stranger::Program(exe.path.display().to_string())),
    }
}

fn is_executor(path: &Path, manager: &Path) -> bool {
    path.file_name() == Some(EXECUTOR.as_ref()) && path.parent() == manager.parent()
}

impl Stranger {
    /// It is no service manager, whatever else. Of the others that is not known.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Address | Self::Uid(_) | Self::Unit { is: Some(_), .. } | Self::Program(_) => true,
            Self::Gone | Self::Refused(_) | Self::Unit { is: None, .. } | Self::Veiled(_) => false,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the other end says neither unit nor credential"),
            Self::Uid(uid) => write!(f, "it is asked for by uid {uid}"),
            Self::Gone => f.write_str("who asked for it is gone"),
            Self::Refused(why) => write!(f, "who asks for it is refused: {why}"),
            Self::Unit { claimed, is: Some(unit) } => {
                write!(f, "it is asked for as {claimed} by a process of {unit}")
            }
            Self::Unit { claimed, is: None } => {
                write!(f, "it is asked for as {claimed} by a process of no unit")
            }
            Self::Veiled(why) => write!(f, "who asks for it may be anybody: {why}"),
            Self::Program(path) => write!(f, "it is asked for by {path}, which is not the service manager"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_manager_writes_it() {
        let of = |text: &str| parse(text.as_bytes());
        let is = |unit: &str, name: &str| Some((unit.to_owned(), name.to_owned()));
        assert_eq!(of("f4b4692a71d9438e/unit/web.service/db.password"), is("web.service", "db.password"));
        assert_eq!(of("1/unit/a@b\\x2dc.service/x"), is("a@b\\x2dc.service", "x"));
        for wrong in [
            "",
            "1/unit/",
            "1/unit/x",
            "/unit/a/b",
            "z/unit/a/b",
            "1/unit//b",
            "1/unit/a/",
            "1/unit/a/b/c",
            "1/unit/a/b\n",
            "1/unit/a\x1b[2J/b",
            "1/unit/a b/c",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(parse(b"1/unit/a.service/\xff"), None);
    }

    #[test]
    fn the_executor_is_believed_beside_the_manager_only() {
        let manager = Path::new("/usr/lib/systemd/systemd");
        assert!(is_executor(Path::new("/usr/lib/systemd/systemd-executor"), manager));
        for other in ["/tmp/systemd-executor", "/usr/lib/systemd/systemd-run"] {
            assert!(!is_executor(Path::new(other), manager), "{other}");
        }
    }

    #[test]
    fn a_claim_is_held_against_the_control_group() {
        let root = Identity::of(Caller { uid: geteuid().as_raw(), gid: 0, pid: 1 });
        let of = |unit: Fact<String>| Identity { unit, ..root.clone() };
        if geteuid().is_root() {
            let is = Fact::Is("web.service".to_owned());
            assert_eq!(confirm_unit(&of(is.clone()), "web.service"), Ok(()));
            assert!(confirm_unit(&of(is), "db.service").is_err());
        }
        for unknown in [Fact::Unknown, Fact::Absent] {
            let stranger = confirm_unit(&of(unknown), "web.service").unwrap_err();
            assert!(!stranger.is_certain(), "it may be the manager on a machine that does not tell");
        }
        let other = Stranger::Unit { claimed: "web.service".into(), is: Some("db.service".into()) };
        assert!(other.is_certain() && Stranger::Address.is_certain() && !Stranger::Gone.is_certain());
    }
}
