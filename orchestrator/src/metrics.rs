//! What is counted and timed, for Prometheus; `docs/metrics.md` explains each to people.
//!
//! The recorder is a value and not the process's: each service counts its own. No label takes values without bound: routes
//! and not paths, types and not names.

mod component;
mod dns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

pub(crate) use dns::Metered;

use crate::server::{State, StepOutcome};

const BUILD_INFO: &str = "dns_manager_build_info";
const HTTP_REQUESTS: &str = "dns_manager_http_requests_total";
const HTTP_REQUEST_DURATION: &str = "dns_manager_http_request_duration_seconds";
const WORKFLOW_STEPS: &str = "dns_manager_workflow_steps_total";
const WORKFLOW_STEP_DURATION: &str = "dns_manager_workflow_step_duration_seconds";
const SERVERS: &str = "dns_manager_servers";
const DNS_OUTCOMES: &str = "dns_manager_dns_outcomes_total";
const VERIFICATION_DURATION: &str = "dns_manager_verification_duration_seconds";
const TIME_TO_RESOLVABLE: &str = "dns_manager_time_to_resolvable_seconds";
const COMPONENT_CALLS: &str = "dns_manager_component_calls_total";
const COMPONENT_CALL_DURATION: &str = "dns_manager_component_call_duration_seconds";
const COMPONENT_WAIT: &str = "dns_manager_component_wait_seconds";
const COMPONENT_BUSY: &str = "dns_manager_component_busy_seconds";
const COMPONENT_MEMORY_PEAK: &str = "dns_manager_component_memory_peak_bytes";
const COMPONENT_HTTP_REQUESTS: &str = "dns_manager_component_http_requests_total";
const COMPONENT_HTTP_FAILURES: &str = "dns_manager_component_http_failures_total";
const COMPONENT_DNS_QUESTIONS: &str = "dns_manager_component_dns_questions_total";
const COMPONENT_DENIALS: &str = "dns_manager_component_denials_total";
const COMPONENT_PLACES: &str = "dns_manager_component_places";
const COMPONENT_PLACES_IN_USE: &str = "dns_manager_component_places_in_use";
const COMPONENT_CONNECTIONS: &str = "dns_manager_component_connections";
const COMPONENT_CONNECTIONS_OPEN: &str = "dns_manager_component_connections_open";
const RECONCILE_DRIFT: &str = "dns_manager_reconcile_drift";

/// From a look into memory to a server that takes its time.
const BUCKETS: [f64; 14] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];
/// Up to the most memory that the host ever gives: 1 MiB to 512 MiB.
const MEMORY_BUCKETS: [f64; 10] = [
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    536_870_912.0,
];
const METADATA: Metadata<'static> = Metadata::new("dns_manager", Level::INFO, None);

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric: its name, how it behaves, and what it says.
const ALL: &[(&str, Kind, &str)] = &[
    (BUILD_INFO, Kind::Gauge, "1; the label is the version that runs"),
    (HTTP_REQUESTS, Kind::Counter, "Requests to the REST API"),
    (HTTP_REQUEST_DURATION, Kind::Histogram, "Time to answer a request to the REST API"),
    (WORKFLOW_STEPS, Kind::Counter, "Workflow steps that ended"),
    (WORKFLOW_STEP_DURATION, Kind::Histogram, "Time that a workflow step took"),
    (SERVERS, Kind::Gauge, "Servers in the inventory"),
    (DNS_OUTCOMES, Kind::Counter, "Outcomes of changes of DNS records"),
    (
        VERIFICATION_DURATION,
        Kind::Histogram,
        "Time until the name servers had answered as expected, or the wait was over",
    ),
    (TIME_TO_RESOLVABLE, Kind::Histogram, "Time from the creation of a server until its name resolved"),
    (COMPONENT_CALLS, Kind::Counter, "Calls of the component"),
    (COMPONENT_CALL_DURATION, Kind::Histogram, "Time that a call of the component took, waiting for a place included"),
    (COMPONENT_WAIT, Kind::Histogram, "Time that a call of the component waited for a place"),
    (COMPONENT_BUSY, Kind::Histogram, "Time that a thread was busy with a call of the component"),
    (COMPONENT_MEMORY_PEAK, Kind::Histogram, "The most memory that a call of the component had"),
    (COMPONENT_HTTP_REQUESTS, Kind::Counter, "HTTP requests that the component made"),
    (COMPONENT_HTTP_FAILURES, Kind::Counter, "Those that brought no whole response, or a status from 500 on"),
    (COMPONENT_DNS_QUESTIONS, Kind::Counter, "DNS questions that the component asked"),
    (COMPONENT_DENIALS, Kind::Counter, "What the component was refused by the host"),
    (COMPONENT_PLACES, Kind::Gauge, "Calls of the component that can run at one time"),
    (COMPONENT_PLACES_IN_USE, Kind::Gauge, "Calls of the component that run"),
    (COMPONENT_CONNECTIONS, Kind::Gauge, "Connections to the backend that there can be"),
    (COMPONENT_CONNECTIONS_OPEN, Kind::Gauge, "Connections to the backend that are open"),
    (RECONCILE_DRIFT, Kind::Gauge, "Differences that the last reconciliation left"),
];

/// Where things are counted.
#[derive(Clone)]
pub struct Metrics(Arc<PrometheusRecorder>);

impl Default for Metrics {
    fn default() -> Self {
        // There are buckets, so that they cannot be refused.
        let memory = Matcher::Full(COMPONENT_MEMORY_PEAK.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(memory, &MEMORY_BUCKETS))
            .unwrap_or_default()
            .build_recorder();
        for (name, kind, help) in ALL {
            let (name, help) = (KeyName::from(*name), SharedString::from(*help));
            match kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let metrics = Self(Arc::new(recorder));
        metrics.set(BUILD_INFO, vec![Label::new("version", env!("CARGO_PKG_VERSION"))], 1.0);
        metrics
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Everything, in Prometheus's text format.
    pub fn render(&self) -> String {
        self.0.handle().render()
    }

    /// Folds what was timed into its buckets, which a scrape does, too: without either, memory grows.
    pub fn fold(&self) {
        self.0.handle().run_upkeep();
    }

    /// A request was answered.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = vec![Label::new("method", method.to_owned()), Label::new("route", route.to_owned())];
        self.time(HTTP_REQUEST_DURATION, labels.clone(), took);
        self.count(HTTP_REQUESTS, [labels, vec![Label::new("status", status.to_string())]].concat());
    }

    /// A step of a workflow ended.
    pub(crate) fn step(&self, step: &'static str, outcome: StepOutcome, took: Duration) {
        let outcome = match outcome {
            StepOutcome::Running => "running",
            StepOutcome::Done => "done",
            StepOutcome::Problem => "problem",
            StepOutcome::Retrying => "retrying",
            StepOutcome::Failed => "failed",
        };
        self.count(WORKFLOW_STEPS, vec![Label::new("step", step), Label::new("outcome", outcome)]);
        self.time(WORKFLOW_STEP_DURATION, vec![Label::new("step", step)], took);
    }

    /// A new server's name resolves.
    pub(crate) fn resolvable(&self, after: Duration) {
        self.time(TIME_TO_RESOLVABLE, Vec::new(), after);
    }

    /// The servers there are, by the state that each is in.
    pub(crate) fn servers(&self, states: impl Iterator<Item = State>) {
        let mut counts = State::ALL.map(|state| (state, 0_u32));
        for found in states {
            for (_, count) in counts.iter_mut().filter(|(state, _)| *state == found) {
                *count = count.saturating_add(1);
            }
        }
        for (state, count) in counts {
            self.set(SERVERS, vec![Label::new("state", state.to_string())], count.into());
        }
    }

    /// So much drift of a kind was left when a reconciliation came to its end.
    pub(crate) fn drift(&self, kind: &str, left: usize) {
        self.set(RECONCILE_DRIFT, vec![Label::new("kind", kind.to_owned())], whole(left));
    }

    fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.add(name, labels, 1);
    }

    /// Adding nothing shows the counter all the same: only what has been 0 is seen to increase.
    fn add(&self, name: &'static str, labels: Vec<Label>, more: u64) {
        self.0.register_counter(&Key::from_parts(name, labels), &METADATA).increment(more);
    }

    fn time(&self, name: &'static str, labels: Vec<Label>, took: Duration) {
        self.observe(name, labels, took.as_secs_f64());
    }

    fn observe(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.0.register_histogram(&Key::from_parts(name, labels), &METADATA).record(value);
    }

    fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.0.register_gauge(&Key::from_parts(name, labels), &METADATA).set(value);
    }
}

/// A number of things, as metrics have it.
fn whole(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use dns_manager_host::{CallReport, Denials, Usage};

    use super::*;

    #[test]
    fn the_documentation_names_every_metric_and_no_other() {
        let documentation = include_str!("../../docs/metrics.md");
        let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<_> = rows
            .map(|row| {
                let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`'));
                (cells.next().unwrap(), cells.next().unwrap())
            })
            .collect();
        let kind = |kind: Kind| match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let there: Vec<_> = ALL.iter().map(|(name, k, _)| (*name, kind(*k))).collect();
        assert_eq!(documented, there);
    }

    #[test]
    fn every_state_is_told_even_that_of_no_server() {
        let metrics = Metrics::default();
        metrics.servers([State::Ready, State::Ready, State::Failed].into_iter());
        let text = metrics.render();
        for line in ["{state=\"ready\"} 2", "{state=\"failed\"} 1", "{state=\"creating\"} 0"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn calls_are_told_with_what_they_cost() {
        let metrics = Metrics::default();
        let denials = Denials { http: 2, ..Denials::default() };
        let report = CallReport {
            export: "apply",
            outcome: "ok",
            request_id: "0197".to_owned(),
            elapsed: Duration::from_secs(3),
            waited: Duration::from_secs(2),
            busy: Duration::from_millis(40),
            memory_peak_bytes: 3 << 20,
            http_requests: 5,
            http_failures: 1,
            questions: 7,
            denials,
        };
        metrics.call(&report);
        metrics.call(&CallReport { export: "apply", outcome: "busy", ..CallReport::default() });
        metrics.usage(Usage { places: 16, places_in_use: 3, connections: 32, connections_open: 1 });

        let text = metrics.render();
        for line in [
            "dns_manager_component_calls_total{export=\"apply\",outcome=\"ok\"} 1",
            "dns_manager_component_calls_total{export=\"apply\",outcome=\"busy\"} 1",
            "dns_manager_component_call_duration_seconds_sum{export=\"apply\"} 3",
            "dns_manager_component_wait_seconds_sum 2",
            "dns_manager_component_wait_seconds_count 2",
            "dns_manager_component_busy_seconds_sum{export=\"apply\"} 0.04",
            "dns_manager_component_busy_seconds_count{export=\"apply\"} 1",
            "dns_manager_component_memory_peak_bytes_bucket{export=\"apply\",le=\"2097152\"} 0",
            "dns_manager_component_memory_peak_bytes_bucket{export=\"apply\",le=\"4194304\"} 1",
            "dns_manager_component_http_requests_total{export=\"apply\"} 5",
            "dns_manager_component_http_failures_total{export=\"apply\"} 1",
            "dns_manager_component_dns_questions_total{export=\"apply\"} 7",
            "dns_manager_component_denials_total{kind=\"http\"} 2",
            "dns_manager_component_denials_total{kind=\"limits\"} 0",
            "dns_manager_component_places 16",
            "dns_manager_component_places_in_use 3",
            "dns_manager_component_connections 32",
            "dns_manager_component_connections_open 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("0197"), "{text}");
    }

    /// The names that occur in a text, as Prometheus sees them.
    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("dns_manager_")).collect()
    }

    #[test]
    fn the_examples_use_metrics_that_exist_and_the_dashboard_all_of_them() {
        let dashboard = include_str!("../../examples/observability/dashboard.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = parsed["panels"].as_array().unwrap();
        let ids: std::collections::BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len());
        let series = |(name, kind, _): &(&str, Kind, &str)| match kind {
            Kind::Histogram => vec![format!("{name}_bucket"), format!("{name}_count"), format!("{name}_sum")],
            Kind::Counter | Kind::Gauge => vec![(*name).to_owned()],
        };
        let there: Vec<_> = ALL.iter().flat_map(series).collect();
        for text in [dashboard, include_str!("../../examples/observability/alerts.yml")] {
            assert!(!names(text).is_empty());
            for name in names(text) {
                assert!(there.iter().any(|known| known == name), "{name}");
            }
        }
        for metric in ALL {
            assert!(series(metric).iter().any(|name| names(dashboard).contains(&**name)), "{}", metric.0);
        }
    }
}
