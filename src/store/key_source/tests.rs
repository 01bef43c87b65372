//! Keys from every source, and every refusal.
