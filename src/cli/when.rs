//! Points in time as they are typed: `30d`, `2027-01-31`, `2027-01-31T12:00:00Z`. Uses jiff.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::exit;
use super::report::Failure;

/// A time that lies ahead of `now`.
pub fn parse_future(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let when = parse(text, now).ok_or_else(|| {
        Failure::new(exit::USAGE, format!("`{text}` is no time"))
            .hint("30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z")
    })?;
    match when > now {
        true => Ok(when),
        false => Err(Failure::new(exit::USAGE, format!("`{text}` has passed")).hint("name a time to come")),
    }
}

/// A time as long before `now` as the text says, or the time that it names.
pub fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let when = match text.parse::<Span>() {
        Ok(span) => now.to_zoned(TimeZone::UTC).checked_sub(span).ok().map(|at| at.timestamp()),
        Err(_) => parse(text, now),
    };
    match when {
        Some(when) if when <= now => Ok(when),
        Some(_) => {
            Err(Failure::new(exit::USAGE, format!("`{text}` lies ahead")).hint("name a time that has passed"))
        }
        None => Err(Failure::new(exit::USAGE, format!("`{text}` is no age"))
            .hint("90d, 12h, 2026-01-31 or 2026-01-31T12:00:00Z")),
    }
}

/// A date is its beginning, in UTC.
fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(date) = text.parse::<Date>() {
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let span = text.parse::<Span>().ok()?;
    Some(now.to_zoned(TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_lies_behind() {
        let now: Timestamp = "2026-03-31T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("90d", "2025-12-31T10:00:00Z"),
            ("1mo", "2026-02-28T10:00:00Z"),
            ("0s", "2026-03-31T10:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
        ] {
            assert_eq!(parse_past(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "old", "-3d", "2027-01-01"] {
            assert!(parse_past(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_what_people_type() {
        let now: Timestamp = "2026-01-31T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("30d", "2026-03-02T10:00:00Z"),
            ("1mo", "2026-02-28T10:00:00Z"),
            ("90 minutes", "2026-01-31T11:30:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
        ] {
            assert_eq!(parse_future(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "soon", "-3d", "2020-01-01", "0s"] {
            assert!(parse_future(text, now).is_err(), "{text}");
        }
    }
}
