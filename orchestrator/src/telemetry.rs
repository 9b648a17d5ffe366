//! Traces for a collector: the spans of requests, workflows and steps, by OTLP over HTTP.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::client;

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
