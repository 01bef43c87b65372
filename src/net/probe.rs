//! A connection made step by step, for who sets a provider up: which step works, and what it found. Uses `connect`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connect::Deadline;
use super::error::Fault;
use super::{Client, NetError, Phase, proxy};

/// One of the steps on the way to a server.
#[derive(Debug)]
pub struct Probed {
    /// In a word.
    pub name: &'static str,
    pub took: Duration,
    pub outcome: Result<String, NetError>,
}

impl Client {
    /// The name, a connection, TLS: ends at the first that fails. What it opens it closes again.
    pub async fn probe(&self) -> Vec<Probed> {
        let mut steps = Vec::new();
        // Of the outcomes, the steps themselves have what is to be known.
        let _ = self.probe_into(&mut steps).await;
        steps
    }

    async fn probe_into(&self, steps: &mut Vec<Probed>) -> Result<(), ()> {
        let deadline = Deadline::within(self.timeout());
        let proxy = self.note(steps, "proxy", async { proxy::of_environment(&self.address) }, |proxy| {
            proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host, proxy.port))
        });
        let proxy = proxy.await?;
        let (host, port) = match &proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.address.host, self.address.port),
        };
        let looked_up = deadline.bound(Phase::Resolve, self.connector.resolve(host, port));
        let is_name = host.parse::<std::net::IpAddr>().is_err();
        let addresses = self.note(steps, "name", looked_up, |found| is_name.then(|| listed(found))).await?;
        let reached = async {
            let reached = self.connector.reach_one(addresses, deadline).await;
            reached.map_err(|fault| match &proxy {
                Some(proxy) => proxy.blame(fault),
                None => fault,
            })
        };
        let stream = self
            .note(steps, "connect", reached, |stream| stream.peer_addr().ok().map(|it| it.to_string()))
            .await?;
        let stream = match &proxy {
            None => stream,
            Some(proxy) => {
                let tunnel = deadline.bound(Phase::Tunnel, proxy.tunnel(stream, &self.address));
                self.note(steps, "tunnel", tunnel, |_| Some(self.address.to_string())).await?
            }
        };
        if self.address.is_tls {
            let shaken = self.connector.shaken(stream, deadline);
            self.note(steps, "tls", shaken, |version| Some(version.clone())).await?;
        }
        Ok(())
    }

    /// Does a step; one that finds nothing to tell is none.
    async fn note<T>(
        &self,
        steps: &mut Vec<Probed>,
        name: &'static str,
        step: impl Future<Output = Result<T, Fault>>,
        tell: impl Fn(&T) -> Option<String>,
    ) -> Result<T, ()> {
        let start = Instant::now();
        let (outcome, found) = match step.await {
            Ok(found) => (Ok(tell(&found)), Ok(found)),
            Err(fault) => (Err(self.connector.under(fault).of(&self.address)), Err(())),
        };
        let took = start.elapsed();
        if let Some(outcome) = outcome.transpose() {
            steps.push(Probed { name, took, outcome });
        }
        found
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    addresses.join(", ")
}
