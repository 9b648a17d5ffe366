//! The target of a request, made of judged parts only.

use http::{HeaderValue, Request, Uri, Version, header};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::capability::policy::Endpoint;

/// The request with a target made of judged parts only, whatever form the
/// plugin's had, and without what is between two hosts.
pub(super) fn rebuilt(mut request: Request<WasiBody>, endpoint: &Endpoint) -> Result<Request<WasiBody>, HttpError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if !path.starts_with('/') {
        return Err(HttpError::HttpRequestUriInvalid);
    }
    let (uri, host) = target(endpoint, &path)?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // Two lengths are how one request is read as two.
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(HttpError::HttpRequestDenied);
    }
    for hop in [header::TE, header::TRAILER, header::EXPECT, header::UPGRADE, header::CONNECTION] {
        headers.remove(hop);
    }
    headers.insert(header::HOST, host);
    Ok(request)
}

/// The target of a request, and the host that it names.
pub(super) fn target(endpoint: &Endpoint, path: &str) -> Result<(Uri, HeaderValue), HttpError> {
    let authority = endpoint.authority.to_string();
    let host = HeaderValue::try_from(&authority).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    let uri = Uri::builder().scheme(endpoint.scheme()).authority(authority).path_and_query(path).build();
    Ok((uri.map_err(|_| HttpError::HttpRequestUriInvalid)?, host))
}
