//! What can be asked over HTTP, and what the answers look like. Uses axum.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;

use super::wire::{Failed, Failure};
use super::{Daemon, Kind, Refused};
use crate::caller::Caller;
use crate::metrics;

type Asked = State<Arc<dyn Daemon>>;

const OPEN_METRICS: (HeaderName, &str) =
    (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");

/// For the daemon's user and root.
pub(super) fn all(daemon: Arc<dyn Daemon>) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/readers", get(readers))
        .route("/explain", get(explain))
        .route("/reload", post(reload))
        .route("/sync", post(sync))
        .route("/upgrade", post(upgrade))
        .route("/readyz", get(readyz_and_why));
    finish(routes.merge(told_to_all()), daemon)
}

/// For whoever is on this machine.
pub(super) fn public(daemon: Arc<dyn Daemon>) -> Router {
    finish(told_to_all().route("/readyz", get(readyz)), daemon)
}

fn told_to_all() -> Router<Arc<dyn Daemon>> {
    Router::new().route("/metrics", get(figures)).route("/healthz", get(|| async { "ok\n" }))
}

fn finish(routes: Router<Arc<dyn Daemon>>, daemon: Arc<dyn Daemon>) -> Router {
    routes.fallback(nowhere).layer(middleware::from_fn(count)).with_state(daemon)
}

/// Only routes that exist are a label: a client must not fill the memory with names.
async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let route = route.as_deref().unwrap_or("other");
    metrics::get().control_requests.of([route, response.status().as_str()]).inc();
    response
}

async fn nowhere() -> Refused {
    Refused::new(Kind::NotFound, "there is no such route")
}

async fn status(State(daemon): Asked) -> Response {
    Json(daemon.status().await).into_response()
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    stale: bool,
}

async fn readers(State(daemon): Asked, Query(which): Query<Which>) -> Response {
    let mut readers = daemon.readers().await;
    readers.retain(|reader| !which.stale || reader.stale == Some(true));
    Json(readers).into_response()
}

#[derive(Deserialize)]
struct Subject {
    file: PathBuf,
}

async fn explain(State(daemon): Asked, Query(subject): Query<Subject>) -> Response {
    match daemon.explain(&subject.file).await {
        Ok(explained) => Json(explained).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn reload(State(daemon): Asked) -> Response {
    match daemon.reload().await {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
struct Providers {
    /// Their names, parted by commas.
    #[serde(default)]
    providers: String,
}

async fn sync(
    State(daemon): Asked,
    Extension(caller): Extension<Caller>,
    Query(Providers { providers }): Query<Providers>,
) -> Response {
    let names: Vec<_> = providers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match daemon.sync(caller, &names).await {
        Ok(synced) => Json(synced).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn upgrade(State(daemon): Asked) -> Response {
    match daemon.upgrade().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn figures(State(daemon): Asked) -> Response {
    daemon.measure();
    ([OPEN_METRICS], metrics::get().text()).into_response()
}

/// What is waited for may be a secret's name, which is not everybody's to know.
async fn readyz(State(daemon): Asked) -> Response {
    match daemon.readiness().ready {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn readyz_and_why(State(daemon): Asked) -> Response {
    let readiness = daemon.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.kind {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = Failure { problem: self.problem, hint: self.hint };
        (status, Json(Failed { error })).into_response()
    }
}
