//! What is of one provider alone, of those that others run for us: logins, versions, errors in the words of the service,
//! calls counted at the server; and the judges of the servers that are our own fakes.

mod aws;
mod azure;
#[path = "../common/mod.rs"]
mod common;
mod gcp;
#[path = "../common/net/mod.rs"]
mod harness;
mod kubernetes;
mod onepassword;
mod scene;
mod together;
