//! Waiting on a condition, never on time.

use std::time::{Duration, Instant};

/// Asks again and again until there is a value.
///
/// # Panics
///
/// When `patience` is over; the message says what was awaited.
pub async fn until<T>(what: &str, patience: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(begin.elapsed() < patience, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
