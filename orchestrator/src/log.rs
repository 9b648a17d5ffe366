//! Log lines: where they go, and in which form.

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::LogFormat;
use crate::telemetry::Telemetry;

/// What writes lines of this form to `writer`, each with the spans that it belongs to: its request, or its server and step; and
/// sends these spans to a collector, if there is one.
pub(crate) fn subscriber<W>(
    filter: EnvFilter,
    format: LogFormat,
    writer: W,
    telemetry: Option<&Telemetry>,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(writer).with_ansi(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().with_current_span(false).boxed(),
    };
    let spans = telemetry.map(|telemetry| tracing_opentelemetry::layer().with_tracer(telemetry.tracer()));
    Box::new(Registry::default().with(lines).with(spans).with(filter))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(EnvFilter::new("info"), format, move || writer.clone(), None);
        tracing::subscriber::with_default(subscriber, || {
            let _workflow = tracing::info_span!("workflow", hostname = "web-01.example.com").entered();
            let _step = tracing::info_span!("step", step = "verify").entered();
            tracing::info!(plugin = "p", "a \"line\"\nand more");
            tracing::debug!("nobody asked");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_per_line_with_its_spans() {
        let text = logged(LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["fields"]["message"], "a \"line\"\nand more");
        assert_eq!(line["spans"][0]["hostname"], "web-01.example.com");
        assert_eq!(line["spans"][1]["step"], "verify");
    }

    #[test]
    fn text_names_its_spans() {
        let text = logged(LogFormat::Text);
        assert!(text.contains("workflow{hostname=\"web-01.example.com\"}:step{step=\"verify\"}"), "{text}");
        assert!(!text.contains("nobody asked"), "{text}");
    }
}
