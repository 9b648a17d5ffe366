//! `/openapi.json`: the description of all paths, made from the functions that answer them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
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

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn openapi(State(service): State<Service>) -> Response {
    Json(&*service.openapi).into_response()
}
