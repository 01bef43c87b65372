//! What only the operating system can say or do. The one folder with `unsafe`, each with its reason.

pub mod environ;
pub mod signal;
