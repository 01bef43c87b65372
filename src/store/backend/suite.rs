//! What holds for every backend: run by the tests of each.
