//! The part of an nginx config that every test's server needs.

use std::path::Path;

/// One server with TLS on loopback. Everything that nginx writes is in `folder`; `main` and `server`
/// are what is to stand there besides.
pub fn config(folder: &Path, port: u16, main: &str, server: &str) -> String {
    let folder = folder.display();
    let temp = |what: &str| format!("{what}_temp_path {folder}/{what};\n");
    let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].into_iter().map(temp).collect();
    format!(
        "daemon off; pid {folder}/pid; {main}
         events {{}}
         http {{
           access_log off;
           {temps}
           server {{
             listen 127.0.0.1:{port} ssl;
             {server}
           }}
         }}"
    )
}
