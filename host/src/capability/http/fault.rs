//! What the plugin is told of an error: one code each, from which it concludes whether the request was sent.

use hyper_util::client::legacy;
use wasmtime_wasi_http::Error as HttpError;

use crate::capability::{body::Departure, dial::DialError, tls::TlsFault};

/// The plugin's code for an error of the client; see the table in [`super`].
pub(super) fn code(error: &legacy::Error, departure: &Departure) -> HttpError {
    if let Some(dial) = find::<DialError>(error) {
        return match dial {
            DialError::Denied => HttpError::HttpRequestDenied,
            DialError::Prohibited(_) => HttpError::DestinationIpProhibited,
            // The system has no code of DNS for it: its words are what there is.
            DialError::Lookup(why) => HttpError::DnsError { rcode: Some(why.to_string()), info_code: None },
            DialError::Full => HttpError::ConnectionLimitReached,
            DialError::Timeout => HttpError::ConnectionTimeout,
            DialError::Connect(_) => HttpError::ConnectionRefused,
            DialError::Tls(fault) => fault.clone().into(),
        };
    }
    // The pool's connection was closed before it took the request up.
    if error.is_connect() || departure.withdraw() {
        return HttpError::ConnectionRefused;
    }
    if let Some(HttpError::HttpRequestBodySize(max)) = find::<HttpError>(error) {
        return HttpError::HttpRequestBodySize(*max);
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse() => HttpError::HttpProtocolError,
        Some(error) if error.is_timeout() => HttpError::HttpResponseTimeout,
        _ => HttpError::ConnectionTerminated,
    }
}

impl From<TlsFault> for HttpError {
    fn from(fault: TlsFault) -> Self {
        match fault {
            TlsFault::Protocol(_) => Self::TlsProtocolError,
            TlsFault::Certificate { alert, message } => {
                Self::TlsAlertReceived { alert_id: Some(alert), alert_message: Some(message) }
            }
        }
    }
}

/// The first error of this type in the chain of sources.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
