//! What goes wrong, in the words of the table.

use crate::harness::Fault;

#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Of the network, or of what answers.
    Answers(Fault),
    /// Of the certificate that is shown.
    Certificate(Bad),
    /// The name cannot be resolved.
    NoName,
    /// The file with our credential is not there when the daemon starts.
    NoCredential,
    /// The credential is taken back, and a new one given later.
    Revoked,
    /// The server is killed, and started anew later.
    Restarted,
    /// It is there, and has locked itself.
    Sealed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bad {
    Expired,
    /// As a good one looks to a machine whose clock is behind.
    NotYet,
    OtherName,
    UnknownAuthority,
    /// Good in all, and not the one that is pinned.
    Unpinned,
}

impl Trouble {
    /// Others that use the same server would have it, too.
    pub(crate) fn is_of_the_server(&self) -> bool {
        matches!(self, Self::Revoked | Self::Restarted | Self::Sealed)
    }
}

/// Each with its name in the table.
pub(crate) fn all() -> Vec<(&'static str, Trouble)> {
    let answers = [
        ("nothing listens", Fault::Refuse),
        ("nobody answers to a connection (black hole)", Fault::BlackHole),
        ("takes the connection and is silent", Fault::Silent),
        ("resets the connection", Fault::Reset),
        ("closes after the question", Fault::Close),
        ("closes in the middle of the body", Fault::HalfBody),
        ("one byte a second", Fault::Drip),
        ("401", Fault::Status(401, None)),
        ("403", Fault::Status(403, None)),
        ("404", Fault::Status(404, None)),
        ("429 without a word", Fault::Status(429, None)),
        ("429 with `Retry-After: 2`", Fault::Status(429, Some("2"))),
        ("500", Fault::Status(500, None)),
        ("502", Fault::Status(502, None)),
        ("503", Fault::Status(503, None)),
        ("200 with a page of HTML", Fault::Garbage),
        ("200 with truncated JSON", Fault::Truncated),
        ("200 with JSON of another shape", Fault::WrongType),
        ("200 with a member that is there twice", Fault::Twice),
        ("200 with a thousand lists in each other", Fault::Deep),
        ("200 with a body of 1 GiB", Fault::Huge),
        ("200 with a body without an end", Fault::Endless),
        ("200, compressed", Fault::Compressed),
        ("200 with a thousand headers", Fault::ManyHeaders),
        ("what is no HTTP", Fault::NoHttp),
        ("a redirect to another host", Fault::Redirect("https://203.0.113.1/".to_owned())),
    ];
    let answers = answers.into_iter().map(|(name, fault)| (name, Trouble::Answers(fault)));
    let others = [
        ("certificate: expired", Trouble::Certificate(Bad::Expired)),
        ("certificate: not valid yet (a clock that is behind)", Trouble::Certificate(Bad::NotYet)),
        ("certificate: of another name", Trouble::Certificate(Bad::OtherName)),
        ("certificate: of an unknown authority", Trouble::Certificate(Bad::UnknownAuthority)),
        ("certificate: not the pinned one", Trouble::Certificate(Bad::Unpinned)),
        ("its name cannot be resolved", Trouble::NoName),
        ("the file of our credential is missing at the start", Trouble::NoCredential),
        ("our credential is revoked", Trouble::Revoked),
        ("the server is restarted", Trouble::Restarted),
        ("the server is sealed", Trouble::Sealed),
    ];
    answers.chain(others).collect()
}
