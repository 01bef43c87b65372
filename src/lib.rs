//! secretfs: config and env files that exist only when they are opened.
//!
//! Layers look down only; `tests/layers.rs` holds them to it.
//!
//! | layer | modules | what it does |
//! |---|---|---|
//! | assembly | `cli` | the command line: reads it, tells what comes of it |
//! | daemon | `daemon` | builds the object graph from the config, and what serves it |
//! | edges | `fs`, `exec`, `control`, `credentials` | a kernel request, a child's environment, an operator, a service manager; never each other |
//! | use case | `broker` | render a file for a caller: the script of every read |
//! | services | `audit`, `provider`, `cache`, `resolver`, `readers`, `reactions`, `metrics`, `net`, `store`, `trial`, `ledger`, `sys` | I/O; `sys` alone has `unsafe` |
//! | rules | `config`, `document`, `fields`, `policy`, `sops`, `template` | pure: texts and times are arguments |
//! | words | `secret`, `caller`, `clock`, `nearest`, `poison`, `visible` | what everybody talks about |

pub mod cli;

pub mod daemon;

pub mod control;
pub mod credentials;
pub mod exec;
pub mod fs;

pub mod broker;

pub mod audit;
pub mod cache;
pub mod ledger;
pub mod metrics;
pub mod net;
pub mod provider;
pub mod reactions;
pub mod readers;
pub mod resolver;
pub mod store;
pub mod sys;
pub mod trial;

pub mod config;
pub mod document;
pub mod fields;
pub mod policy;
pub mod sops;
pub mod template;

pub mod caller;
pub mod clock;
pub mod nearest;
pub mod poison;
pub mod secret;
pub mod visible;
