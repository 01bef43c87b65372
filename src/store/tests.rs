//! The store through its public door, and what happens when its rows are tampered with.

use super::*;
