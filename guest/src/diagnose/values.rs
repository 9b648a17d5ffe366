//! What is stored: can CoreDNS read it?

use serde_json::Value;

use super::{Diagnosis, READ_TIMEOUT, excerpt};
use crate::{
    etcd::{Gateway, Range, fault::Kind},
    layout::Layout,
    skydns::service::Service,
    verification::Level,
    zone::Zone,
};

/// Values that are read at once, and how many at all: a look must end.
const CHUNK: u32 = 1_000;
const MOST_VALUES: usize = 50_000;
/// Bad values that are named.
const SHOWN: usize = 3;
/// A longer key is not written into a command.
const LONGEST_IN_COMMAND: usize = 200;

impl Diagnosis<'_> {
    /// Looks for values that CoreDNS cannot read: it answers SERVFAIL to every question that meets one, at its name and at all
    /// names above.
    pub(super) fn check_values(&mut self, zones: Option<&[Zone]>, layout: &Layout) -> Option<()> {
        let below = |key: &str| Range::between(format!("{key}/"), format!("{key}0"));
        let ranges: Vec<Range> = match zones {
            Some(zones) => zones
                .iter()
                .map(|zone| layout.key(zone.apex()))
                .flat_map(|key| [Range::key(&key), below(&key)])
                .collect(),
            None => vec![below(layout.prefix())],
        };
        let mut looked_at = 0_usize;
        let mut chunk = CHUNK;
        let mut cut = false;
        let mut bad = Vec::new();
        for range in ranges {
            let mut start = Some(range.start.clone());
            while let Some(from) = start.take() {
                if looked_at >= MOST_VALUES {
                    cut = true;
                    break;
                }
                let part = Range { start: from, end: range.end.clone(), limit: chunk };
                let timeout = self.time(READ_TIMEOUT)?;
                let read = Gateway::new(self.ports.http()).read(std::slice::from_ref(&part), None, timeout);
                let found = match read {
                    Ok((_, found)) => found,
                    Err(fault) if matches!(fault.kind, Kind::TooLarge | Kind::TooMuch) && chunk > 1 => {
                        chunk /= 2;
                        start = Some(part.start);
                        continue;
                    }
                    Err(fault) => {
                        let saw = format!(
                            "whether CoreDNS can read what is stored is not known beyond {looked_at} values: {}",
                            excerpt(&fault.message)
                        );
                        let remedy = "put right what is named above, then run `dns-manager doctor` again";
                        self.add("stored-values", Level::Warn, saw, remedy);
                        return Some(());
                    }
                };
                for found in found {
                    looked_at = looked_at.saturating_add(found.entries.len());
                    bad.extend(found.entries.iter().filter_map(|entry| bad_value(&entry.key, &entry.value)));
                    if let Some(last) = found.entries.last().filter(|_| found.more) {
                        start = Some([last.key.as_slice(), &[0]].concat());
                    }
                }
            }
        }
        let extent = if cut { format!("the first {looked_at} values") } else { format!("all {looked_at} values") };
        let Some(first) = bad.first() else {
            self.add("stored-values", Level::Ok, format!("CoreDNS can read {extent}"), "");
            return Some(());
        };
        let shown: Vec<_> = bad.iter().take(SHOWN).map(|bad| bad.saw.as_str()).collect();
        let more = bad.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let saw = format!(
            "of {extent}, CoreDNS cannot read {}, and answers SERVFAIL at these names and above: {}{more}",
            bad.len(),
            shown.join("; ")
        );
        let remedy = first.remedy.clone();
        self.add("stored-values", Level::Fail, saw, remedy);
        Some(())
    }
}

/// A value that CoreDNS cannot read.
pub(super) struct BadValue {
    pub(super) saw: String,
    pub(super) remedy: String,
}

/// Tells whether CoreDNS stops at a value, and whose it is.
pub(super) fn bad_value(key: &[u8], value: &[u8]) -> Option<BadValue> {
    let error = Service::from_json(value).err()?;
    let mut owner = "nobody's".to_owned();
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(value) {
        let named = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("owner")).map(|(name, _)| name.clone());
        // CoreDNS does not look at the owner, whatever it is.
        if let Some(value) = named.and_then(|name| fields.remove(&name)) {
            owner = match value.as_str() {
                Some(text) => format!("of the owner `{}`", excerpt(text)),
                None => "of an owner that is no text".to_owned(),
            };
            Service::from_json(Value::Object(fields).to_string().as_bytes()).err()?;
        }
    }
    let key = String::from_utf8_lossy(key);
    let shown = excerpt(&key);
    let error = error.trim_start_matches("CoreDNS cannot read this value: ");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~' | '@');
    let remedy = if key.len() <= LONGEST_IN_COMMAND && key.chars().all(is_plain) {
        format!("see `etcdctl get {key}`, and have its owner correct it or `etcdctl del {key}`")
    } else {
        "see it with `etcdctl get --prefix` below the path, and have its owner correct or delete it".to_owned()
    };
    Some(BadValue { saw: format!("{shown} ({owner}, {})", excerpt(error)), remedy })
}
