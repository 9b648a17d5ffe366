//! What is stored at some names, read in as few requests as fit.

use std::collections::{BTreeMap, BTreeSet};

use super::Call;
use crate::{
    decode::Decoded,
    etcd::{
        Found, Gateway, MAX_OPERATIONS, Range,
        fault::{Fault, Kind},
    },
    layout::Layout,
    name::Name,
    ports::LogLevel,
    rdata::RData,
    reason::{Code, Reason},
};

/// How many keys below a name are looked through for records that other programs wrote at it.
const GLANCE: u32 = 64;

/// The ranges that hold what is stored at a name, whether or not it is the apex of a zone.
pub(super) fn ranges(layout: &Layout, name: &Name) -> Vec<Range> {
    let key = layout.key(name);
    vec![
        Range::key(&key),
        Range::between(format!("{key}/-"), format!("{key}/@")).limited(GLANCE),
        Range::between(format!("{key}/A"), format!("{key}/[")),
        Range::between(format!("{key}/_"), format!("{key}/dns/apex/A")).limited(GLANCE),
        Range::between(format!("{key}/dns/apex/A"), format!("{key}/dns/apex/[")),
        Range::between(format!("{key}/dns/apex/["), format!("{key}/~")).limited(GLANCE),
        Range::between(format!("{key}/~"), format!("{key}/\u{7f}")),
    ]
}

/// The values that are stored at each name.
pub(super) fn stored(call: &mut Call<'_>, names: &BTreeSet<Name>) -> Result<BTreeMap<Name, Vec<RData>>, Reason> {
    let asked: Vec<Range> = names.iter().flat_map(|name| ranges(&call.layout, name)).collect();
    let mut stored: BTreeMap<Name, Vec<RData>> = BTreeMap::new();
    for ranges in asked.chunks(MAX_OPERATIONS) {
        let (_, found) = call.read(ranges, None)?;
        for entry in found.into_iter().flat_map(|found| found.entries) {
            let records = match call.layout.decode(&entry.key, &entry.value) {
                Decoded::Ours(record) => vec![record],
                Decoded::Foreign(records) => records,
                Decoded::Structure | Decoded::Unreadable(_) => Vec::new(),
            };
            for record in records.into_iter().filter(|record| names.contains(&record.name)) {
                let values = stored.entry(record.name).or_default();
                if !values.contains(&record.data) {
                    values.push(record.data);
                }
            }
        }
    }
    Ok(stored)
}

impl Call<'_> {
    /// Reads ranges, again and again while that may help and the budget lasts.
    pub(super) fn read(&mut self, ranges: &[Range], revision: Option<u64>) -> Result<(u64, Vec<Found>), Reason> {
        let (mut nonsense, mut said) = (0, false);
        loop {
            self.requests += 1;
            let gateway = Gateway::new(self.ports.http());
            match gateway.read(ranges, revision, self.request_timeout()) {
                Ok(found) => return Ok(found),
                Err(Fault { kind: Kind::Compacted, message }) => return Err(Reason::new(Code::CursorExpired, message)),
                Err(fault) => {
                    nonsense = if fault.kind == Kind::Nonsense { nonsense + 1 } else { 0 };
                    if !fault.may_pass() || nonsense > 4 {
                        return Err(fault.reason());
                    }
                    if !said {
                        self.log(
                            LogLevel::Warn,
                            &format!(
                                "{}; trying again until the budget is over ({})",
                                fault.message, self.options.request_id
                            ),
                        );
                        said = true;
                    }
                    let pause = self.backoff.next();
                    self.budget.sleep(pause);
                    if self.budget.is_over() {
                        return Err(fault.reason());
                    }
                }
            }
        }
    }
}
