//! Documents that hold values: JSON and YAML as a tree, env files as a list. Values go straight into
//! `SecretBytes`; what is wrong is said with its line, never with what is there. Pure.

pub mod dotenv;
mod tree;

pub use tree::{Key, Node, Unreadable, json, yaml, yaml_documents};
