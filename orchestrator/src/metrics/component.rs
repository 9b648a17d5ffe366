//! What calls of the component cost, as the host reports it.

use dns_manager_host::{CallReport, Usage};
use metrics::Label;

use super::{
    COMPONENT_BUSY, COMPONENT_CALL_DURATION, COMPONENT_CALLS, COMPONENT_CONNECTIONS, COMPONENT_CONNECTIONS_OPEN,
    COMPONENT_DENIALS, COMPONENT_DNS_QUESTIONS, COMPONENT_HTTP_FAILURES, COMPONENT_HTTP_REQUESTS,
    COMPONENT_MEMORY_PEAK, COMPONENT_PLACES, COMPONENT_PLACES_IN_USE, COMPONENT_WAIT, Metrics, whole,
};

impl Metrics {
    /// A call of the component has ended.
    pub(crate) fn call(&self, report: &CallReport) {
        let export = || vec![Label::new("export", report.export)];
        self.count(COMPONENT_CALLS, [export(), vec![Label::new("outcome", report.outcome)]].concat());
        self.time(COMPONENT_CALL_DURATION, export(), report.elapsed);
        self.time(COMPONENT_WAIT, Vec::new(), report.waited);
        self.add(COMPONENT_HTTP_REQUESTS, export(), report.http_requests);
        self.add(COMPONENT_HTTP_FAILURES, export(), report.http_failures);
        self.add(COMPONENT_DNS_QUESTIONS, export(), report.questions);
        for (kind, times) in report.denials.kinds() {
            self.add(COMPONENT_DENIALS, vec![Label::new("kind", kind)], times);
        }
        // One that got no place did not run.
        if report.memory_peak_bytes > 0 {
            self.time(COMPONENT_BUSY, export(), report.busy);
            self.observe(COMPONENT_MEMORY_PEAK, export(), whole(report.memory_peak_bytes));
        }
    }

    /// What calls share just now.
    pub(crate) fn usage(&self, usage: Usage) {
        let Usage { places, places_in_use, connections, connections_open } = usage;
        for (name, value) in [
            (COMPONENT_PLACES, places),
            (COMPONENT_PLACES_IN_USE, places_in_use),
            (COMPONENT_CONNECTIONS, connections),
            (COMPONENT_CONNECTIONS_OPEN, connections_open),
        ] {
            self.set(name, Vec::new(), whole(value));
        }
    }
}
