//! A moment, in RFC 3339 wherever it is read or written.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of the wall clock, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(SystemTime);

impl Timestamp {
    /// This moment.
    pub fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// So much later; one beyond what the clock can say is this one.
    pub fn after(self, wait: Duration) -> Self {
        self.0.checked_add(wait).map_or(self, Self::at)
    }

    /// How long ago it is; zero if it is to come.
    pub fn age(self) -> Duration {
        self.0.elapsed().unwrap_or_default()
    }

    /// How long until then; zero if it has passed.
    pub fn ahead(self) -> Duration {
        self.0.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Without what is finer than a millisecond, so that it is the same after it was written and read.
    fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or_default());
        Self(UNIX_EPOCH + millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_rfc3339_weak(text);
        time.map(Self::at).map_err(|_| format!("\"{text}\" is not a moment: write 2026-01-31T23:59:59Z, say"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_after_it_was_written_and_read() {
        let now = Timestamp::now();

        let text = serde_json::to_string(&now).unwrap();

        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), now);
        assert_eq!("2026-01-31T23:59:59Z".parse::<Timestamp>().unwrap().to_string(), "2026-01-31T23:59:59.000Z");
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }

    #[test]
    fn what_is_to_come_has_no_age_and_what_has_passed_is_not_ahead() {
        let soon = Timestamp::now().after(Duration::from_secs(3600));

        assert_eq!(soon.age(), Duration::ZERO);
        assert!(soon.ahead() > Duration::from_secs(3590));
        assert_eq!("2026-01-31T23:59:59Z".parse::<Timestamp>().unwrap().ahead(), Duration::ZERO);
    }
}
