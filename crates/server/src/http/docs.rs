//! The descriptions of the HTTP API and of the socket protocol, and a page that shows the first. Everything comes
//! from the binary.

use std::{future::ready, sync::Arc};

use aldis_protocol::{ErrorCode, description};
use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Redirect},
    routing::get,
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, serve};

use super::{openapi, problem::Problem};
use crate::node::Node;

/// The page loads its scripts, styles and document from this server, and draws images itself. Its scripts set styles
/// on elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// In seconds; a new version of the server appears soon.
const KEPT: &str = "public, max-age=300";
const JSON: &str = "application/json";

/// The title of the page, in the library's template.
const TITLE: &str = "<title>Swagger UI</title>";

/// The page, and the server's name on it.
struct Page {
    config: Arc<Config<'static>>,
    title: String,
}

/// Serves `GET /openapi.json`, `GET /asyncapi.json`, `GET /protocol.schema.json` and `GET /docs`, for a server of
/// this name.
pub(super) fn routes(document: OpenApi, name: &str) -> Router<Arc<Node>> {
    let json: Option<Bytes> = openapi::finish(document).map(Bytes::from);
    let asyncapi = written(description::asyncapi());
    let schema = written(description::json_schema());
    let page = Arc::new(Page::new(name));
    let assets = Arc::clone(&page);
    Router::new()
        .route("/openapi.json", get(move || ready(described(json.clone()))))
        .route("/asyncapi.json", get(move || ready(described(asyncapi.clone()))))
        .route("/protocol.schema.json", get(move || ready(described(schema.clone()))))
        .route("/docs", get(async || Redirect::temporary("/docs/")))
        .route("/docs/", get(move || ready(asset("", &page))))
        .route(
            "/docs/{*file}",
            get(move |file: Result<Path<String>, PathRejection>| {
                ready(file.map_err(|_| not_here()).and_then(|Path(file)| asset(&file, &assets)))
            }),
        )
}

fn written(document: serde_json::Result<Value>) -> Option<Bytes> {
    document.and_then(|document| serde_json::to_vec(&document)).ok().map(Bytes::from)
}

impl Page {
    fn new(name: &str) -> Self {
        // Without the validator, which another host serves.
        let config = Arc::new(Config::new(["/openapi.json"]).validator_url("none"));
        let name = name.replace('&', "&amp;").replace('<', "&lt;");
        Self { config, title: format!("<title>{name}</title>") }
    }

    fn titled(&self, html: &[u8]) -> Vec<u8> {
        String::from_utf8_lossy(html).replacen(TITLE, &self.title, 1).into_bytes()
    }
}

fn described(json: Option<Bytes>) -> Result<impl IntoResponse, Problem> {
    let json = json.ok_or_else(|| Problem::new(ErrorCode::Internal, "the server failed"))?;
    Ok(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, KEPT)], json))
}

fn asset(file: &str, page: &Page) -> Result<impl IntoResponse + use<>, Problem> {
    let failed = || Problem::new(ErrorCode::Internal, "the server failed");
    let found = serve(file, Arc::clone(&page.config)).map_err(|_| failed())?;
    let file = found.ok_or_else(not_here)?;
    let kind = HeaderValue::from_str(&file.content_type).map_err(|_| failed())?;
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, HeaderValue::from_static(KEPT)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let is_page = file.content_type.starts_with("text/html");
    let bytes = if is_page { page.titled(&file.bytes) } else { file.bytes.into_owned() };
    Ok((headers, bytes))
}

fn not_here() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this path")
}
