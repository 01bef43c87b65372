//! The published vectors, and what a seal refuses.
