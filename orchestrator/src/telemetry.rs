//! Traces for a collector: the spans of requests, workflows and steps, by OTLP over HTTP; and those of callers, which go on here.

use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::client;

const TRACE_PARENT: &str = "traceparent";
const SERVICE: &str = "dns-manager";
/// A collector that is silent is not waited for longer; what it was to be told is lost then.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);
const END_WITHIN: Duration = Duration::from_secs(3);

/// Spans on their way to a collector. They are sent in batches by a thread of its own, which nobody waits for; what does not
/// fit into its queue is dropped.
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// Sends to the collector at this base URL, `http://localhost:4318` say.
    ///
    /// # Errors
    ///
    /// The exporter cannot be made.
    pub fn start(endpoint: &str) -> anyhow::Result<Self> {
        let http = client::plain_blocking().map_err(anyhow::Error::msg)?.timeout(EXPORT_WITHIN).build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_WITHIN)
            .build()
            .context("starting the export of traces")?;
        let resource = Resource::builder()
            .with_service_name(SERVICE)
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    /// What spans are made with.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer(SERVICE)
    }

    /// Sends what is left, for a few seconds at most.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(END_WITHIN) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// The span that a request comes from, by its W3C `traceparent`. None, too, where that is malformed, or there are two of it.
pub(crate) fn caller(headers: &HeaderMap) -> Option<Context> {
    if headers.get_all(TRACE_PARENT).iter().count() != 1 {
        return None;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    context.has_active_span().then_some(context)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn caller_of(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACE_PARENT, HeaderValue::from_static(value));
        }
        let context = caller(&headers)?;
        let span = context.span().span_context().clone();
        Some(format!("{} {} {}", span.trace_id(), span.span_id(), span.is_sampled()))
    }

    #[test]
    fn a_caller_is_known_by_a_well_formed_header_alone() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let known = |sampled: bool| Some(format!("4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 {sampled}"));
        let cases = [
            (vec![GOOD], known(true)),
            (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"], known(false)),
            (vec![], None),
            (vec![GOOD, GOOD], None),
            (vec![""], None),
            (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"], None),
            (vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], None),
            (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], None),
            (vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01"], None),
            (vec!["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], None),
            (vec!["who are you?"], None),
        ];
        for (values, expected) in cases {
            assert_eq!(caller_of(&values), expected, "{values:?}");
        }
    }
}
