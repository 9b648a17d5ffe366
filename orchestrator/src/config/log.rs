//! The table `orchestrator.log`: what a service logs, and how it is written.

use tracing_subscriber::EnvFilter;

use super::value::Value;
use super::{Reader, key, parse};

/// What a service logs, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: Format,
    /// What is logged, in the form of `RUST_LOG`.
    pub filter: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl Reader<'_> {
    pub(super) fn log(&mut self) -> Option<Log> {
        let format = self.take(&key::LOG_FORMAT, format);
        let filter = self.take(&key::LOG_FILTER, filter);
        Some(Log { format: format?, filter: filter? })
    }
}

/// The base URL of a collector. Its receiver for OTLP over HTTP is on this machine or in this network, so that http is enough.
pub(super) fn otlp_endpoint(value: &Value) -> Result<String, String> {
    let text = parse::text(value)?;
    let url = reqwest::Url::parse(&text).ok().filter(|url| url.scheme() == "http" && url.has_host());
    match url {
        // Not repeated: it may hold a secret, which does not belong here.
        _ if text.contains('@') => Err("a URL with a user name or password is not accepted".to_owned()),
        Some(_) => Ok(text),
        None => Err(format!("\"{text}\" is not the http URL of a collector: write \"http://localhost:4318\", say")),
    }
}

fn format(value: &Value) -> Result<Format, String> {
    match &*parse::text(value)? {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => Err(format!("\"{other}\" is no format: write \"text\" or \"json\"")),
    }
}

fn filter(value: &Value) -> Result<String, String> {
    let text = parse::text(value)?;
    match EnvFilter::try_new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("\"{text}\" is not a filter ({error}): write \"info\", or \"info,hyper=warn\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_are_checked_at_load() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(format(&text("json")), Ok(Format::Json));
        assert_eq!(format(&text("text")), Ok(Format::Text));
        assert_eq!(format(&text("xml")), Err("\"xml\" is no format: write \"text\" or \"json\"".to_owned()));
        assert_eq!(otlp_endpoint(&text("http://localhost:4318")), Ok("http://localhost:4318".to_owned()));
        assert!(otlp_endpoint(&text("localhost:4318")).is_err() && otlp_endpoint(&text("https://a:4318")).is_err());
        assert_eq!(filter(&text("info,hyper=warn")), Ok("info,hyper=warn".to_owned()));
        let why = filter(&text("info,hyper=loud")).unwrap_err();
        assert!(why.starts_with("\"info,hyper=loud\" is not a filter"), "{why}");
    }
}
