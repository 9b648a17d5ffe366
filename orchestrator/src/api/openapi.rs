//! `/openapi.json`: the description of all paths, made from the functions that answer them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::Service;
use super::error::ErrorBody;

/// What is the same for all paths.
#[derive(OpenApi)]
#[openapi(
    info(title = "dns-manager", description = "Servers and their DNS records. Tokens are wanted where access control is on."),
    components(schemas(ErrorBody)),
    tags((name = "records"), (name = "desired state"), (name = "servers"), (name = "service")),
    security((), ("bearer" = [])),
    modifiers(&Bearer)
)]
pub(super) struct Common;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document with a word on every response, which OpenAPI wants, where its path says none of its own.
pub(super) fn described(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description = usual(status).to_owned();
                }
            }
        }
    }
    document
}

fn usual(status: &str) -> &'static str {
    match status.as_bytes().first() {
        Some(b'2') => "`data` is what was asked for",
        Some(b'4') => {
            "the request is wrong, not allowed, or does not fit what is there: `error` says why and what to do"
        }
        Some(b'5') => "the service, or what it needs, cannot do it now: `error` says why and what to do",
        _ => "see the documentation",
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn openapi(State(service): State<Service>) -> Response {
    Json(&*service.openapi).into_response()
}
