//! SQLite as a backend.
