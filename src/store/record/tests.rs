//! Whatever is put in comes out, and nothing else does.
