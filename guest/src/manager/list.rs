//! Listing, page by page, all as of one revision.

use data_encoding::BASE64URL_NOPAD;

use super::{Call, stored};
use crate::{
    change::{Filter, Page, Problem},
    decode::Decoded,
    etcd::Range,
    name::Name,
    rdata::RrType,
    reason::{Code, Reason},
    record::Record,
    zone::{Lookup, Zone, Zones},
};

/// Keys that are read at once.
const CHUNK: u32 = 1000;
/// Keys after which a page ends, be it empty: what fits a filter may be far away, and a call may not read without end.
const MOST_KEYS: usize = 20_000;

pub(super) fn list(call: &mut Call<'_>, filter: &Filter, cursor: Option<&str>, limit: u32) -> Result<Page, Reason> {
    let limit = usize::try_from(limit.clamp(1, super::MAX_ITEMS)).unwrap_or_default();
    let mut ranges = ranges(call, filter);
    let mut revision = None;
    if let Some(cursor) = cursor {
        let at = Cursor::read(cursor)?;
        revision = Some(at.revision);
        ranges.retain(|range| range.end > at.key);
        if let Some(first) = ranges.first_mut()
            && first.start < at.key
        {
            first.start = at.key;
        }
    }
    let mut page = Page::default();
    let mut last: Option<(Name, RrType)> = None;
    let mut looked_at = 0;
    for range in ranges {
        let mut range = range;
        loop {
            let chunk = match range.limit {
                0 => CHUNK,
                limit => limit,
            };
            let is_glance = range.limit > 0;
            let (read_at, found) = call.read(std::slice::from_ref(&range.clone().limited(chunk)), revision)?;
            let at = *revision.get_or_insert(read_at);
            let Some(found) = found.into_iter().next() else { break };
            for entry in &found.entries {
                let records = match call.layout.decode(&entry.key, &entry.value) {
                    Decoded::Ours(record) => vec![record],
                    Decoded::Foreign(records) => records,
                    Decoded::Structure => continue,
                    Decoded::Unreadable(why) => {
                        if has_problems(call, &page, limit, last.as_ref(), &entry.key) {
                            page.next = Some(Cursor { revision: at, key: entry.key.clone() }.to_text());
                            return Ok(page);
                        }
                        page.problems.push(Problem {
                            place: String::from_utf8_lossy(&entry.key).into_owned(),
                            reason: Reason::new(Code::Protocol, why),
                            mended: false,
                        });
                        continue;
                    }
                };
                let records: Vec<Record> = records.into_iter().filter(|record| matches(call, filter, record)).collect();
                let Some(first) = records.first() else { continue };
                let set = Some((first.name.clone(), first.rr_type()));
                // A set never spans pages.
                if page.records.len() >= limit && set != last {
                    page.next = Some(Cursor { revision: at, key: entry.key.clone() }.to_text());
                    return Ok(page);
                }
                last = set;
                page.records.extend(records);
            }
            looked_at += found.entries.len();
            let Some(entry) = found.entries.last().filter(|_| found.more && !is_glance) else { break };
            range.start = [entry.key.as_slice(), &[0]].concat();
            if looked_at >= MOST_KEYS && is_beyond(call, last.as_ref(), &entry.key) {
                page.next = Some(Cursor { revision: at, key: range.start }.to_text());
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Whether a page has problems enough to end before this key. Within a set it ends only when it must.
fn has_problems(call: &Call<'_>, page: &Page, limit: usize, last: Option<&(Name, RrType)>, key: &[u8]) -> bool {
    let most = usize::try_from(super::MAX_ITEMS).unwrap_or_default();
    page.problems.len() >= most || page.problems.len() >= limit && is_beyond(call, last, key)
}

/// Whether a key is none of the set that was listed last: those are at its name, or one level below.
fn is_beyond(call: &Call<'_>, last: Option<&(Name, RrType)>, key: &[u8]) -> bool {
    last.is_none_or(|(name, _)| {
        let below = key.strip_prefix(call.layout.key(name).as_bytes());
        below.is_none_or(|below| below.iter().filter(|octet| **octet == b'/').count() > 1)
    })
}

/// Where to look, in the order of the keys.
fn ranges(call: &Call<'_>, filter: &Filter) -> Vec<Range> {
    let layout = &call.layout;
    let whole = |name: &Name| {
        let key = layout.key(name);
        vec![Range::key(&key), Range::between(format!("{key}/"), format!("{key}0"))]
    };
    match (&filter.name, &filter.zone, &call.zones) {
        (Some(name), _, _) if filter.below => whole(name),
        (Some(name), _, _) => stored::ranges(layout, name),
        (None, Some(zone), _) => whole(zone),
        (None, None, Zones::Configured(zones)) => {
            // A zone inside another is in its range already.
            let outermost = |zone: &&Zone| !zones.iter().any(|other| zone.apex().is_below(other.apex()));
            let mut ranges: Vec<Range> = zones.iter().filter(outermost).flat_map(|zone| whole(zone.apex())).collect();
            ranges.sort();
            ranges.dedup();
            ranges
        }
        (None, None, Zones::Discovered(_)) => {
            let prefix = layout.prefix();
            vec![Range::between(format!("{prefix}/"), format!("{prefix}0"))]
        }
    }
}

fn matches(call: &Call<'_>, filter: &Filter, record: &Record) -> bool {
    let at_name = filter
        .name
        .as_ref()
        .is_none_or(|name| if filter.below { record.name.is_within(name) } else { record.name == *name });
    let in_zone = filter.zone.as_ref().is_none_or(|zone| match call.zones.of(&record.name) {
        Lookup::In(its) => its.apex() == zone,
        Lookup::Outside => false,
        Lookup::NotAsked => record.name.is_within(zone),
    });
    at_name
        && in_zone
        && filter.rr_type.is_none_or(|rr_type| record.rr_type() == rr_type)
        && filter.owner.as_ref().is_none_or(|owner| record.owner.as_ref() == Some(owner))
        && filter.resource.as_ref().is_none_or(|resource| record.resource.as_ref() == Some(resource))
}

/// Where the next page begins, and at which revision.
struct Cursor {
    revision: u64,
    key: Vec<u8>,
}

impl Cursor {
    fn to_text(&self) -> String {
        format!("{}.{}", self.revision, BASE64URL_NOPAD.encode(&self.key))
    }

    fn read(text: &str) -> Result<Self, Reason> {
        let parts = text.split_once('.').and_then(|(revision, key)| {
            Some(Self { revision: revision.parse().ok()?, key: BASE64URL_NOPAD.decode(key.as_bytes()).ok()? })
        });
        parts.ok_or_else(|| Reason::invalid("this is no cursor; pass one back as it came, or begin without"))
    }
}
