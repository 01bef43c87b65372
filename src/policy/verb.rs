//! What is asked for and what is said to it: doors, actions and verdicts, by their names in the
//! config. Uses std only.

use std::fmt;

/// Through which door the bytes would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    Mount,
    Exec,
    /// The daemon, on behalf of who asks it.
    Api,
    /// The service manager's credentials: `LoadCredential=` of a unit.
    Systemd,
    /// A command whose user has opened the store with its key, and with it everything: no rule is
    /// about that.
    Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    #[default]
    Read,
    List,
    Create,
    Update,
    Rotate,
    Delete,
}

/// A set of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions(u8);

/// From the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Real,
    Placeholder,
    Deny,
}

impl Door {
    /// Those that a rule can be about.
    pub const RULED: [Self; 4] = [Self::Mount, Self::Exec, Self::Api, Self::Systemd];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Exec => "exec",
            Self::Api => "api",
            Self::Systemd => "systemd",
            Self::Command => "command",
        }
    }
}

impl Action {
    pub const ALL: [Self; 6] =
        [Self::Read, Self::List, Self::Create, Self::Update, Self::Rotate, Self::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
        }
    }
}

impl Actions {
    pub const ALL: Self = Self((1 << Action::ALL.len()) - 1);
    pub const READ: Self = Self(1 << Action::Read as u8);

    pub fn of(actions: impl IntoIterator<Item = Action>) -> Self {
        Self(actions.into_iter().fold(0, |set, action| set | 1 << action as u8))
    }

    pub fn has(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// All of these.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Action::ALL.into_iter().filter(move |action| self.has(*action)).map(Action::name)
    }
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Real, Self::Placeholder, Self::Deny];

    /// As a rule is written.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Real => "allow",
            Self::Placeholder => "placeholder",
            Self::Deny => "deny",
        }
    }

    /// What its caller gets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Placeholder => "placeholder",
            Self::Deny => "denied",
        }
    }

    /// What a rule of this verdict is about that names no actions: to open is narrow, to close wide.
    pub fn usual_actions(self) -> Actions {
        match self {
            Self::Real | Self::Placeholder => Actions::READ,
            Self::Deny => Actions::ALL,
        }
    }
}

macro_rules! shown_by_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    )*};
}
shown_by_name!(Door, Action, Verdict);
