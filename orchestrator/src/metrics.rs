//! What is counted and timed, for Prometheus; `docs/metrics.md` explains each to people.
//!
//! The recorder is a value and not the process's: each service counts its own. No label takes values without bound: routes
//! and not paths, types and not names.

mod dns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

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

/// From a look into memory to a server that takes its time.
const BUCKETS: [f64; 14] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];
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
    (COMPONENT_CALL_DURATION, Kind::Histogram, "Time that a call of the component took"),
];

/// Where things are counted.
#[derive(Clone)]
pub struct Metrics(Arc<PrometheusRecorder>);

impl Default for Metrics {
    fn default() -> Self {
        // There are buckets, so that they cannot be refused.
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS).unwrap_or_default().build_recorder();
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

    fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.0.register_counter(&Key::from_parts(name, labels), &METADATA).increment(1);
    }

    fn time(&self, name: &'static str, labels: Vec<Label>, took: Duration) {
        self.0.register_histogram(&Key::from_parts(name, labels), &METADATA).record(took.as_secs_f64());
    }

    fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.0.register_gauge(&Key::from_parts(name, labels), &METADATA).set(value);
    }
}

#[cfg(test)]
mod tests {
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

    /// The names that occur in a text, as Prometheus sees them.
    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("dns_manager_")).collect()
    }

    #[test]
    fn the_examples_use_metrics_that_exist_and_the_dashboard_all_of_them() {
        let dashboard = include_str!("../../examples/observability/dashboard.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert_eq!(parsed["panels"].as_array().unwrap().len(), ALL.len());
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
