//! The operations, each as its steps: parse the settings, read, plan, write, report.

mod apply;
mod list;
mod repair;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    budget::Budget,
    change::{Change, Filter, Outcome, Page},
    config::Config,
    diagnose, discovery,
    layout::Layout,
    name::Name,
    options::Options,
    ports::{LogLevel, Ports},
    rdata::{RData, RrType},
    reason::{Code, Reason},
    retry::Backoff,
    verification::{Check, Expectation, Verdict, Verification},
    verify,
    zone::{Lookup, Zone, Zones},
};

/// The longest list of one call.
pub const MAX_ITEMS: u32 = 1000;
/// The first and the longest pause while writers of a zone take turns.
const FIRST_TURN: Duration = Duration::from_millis(10);
const LONGEST_TURN: Duration = Duration::from_millis(80);

/// The plugin's operations. Nothing is kept between calls.
pub struct Manager<'a> {
    ports: &'a dyn Ports,
}

/// What every operation works with.
struct Call<'a> {
    ports: &'a dyn Ports,
    options: &'a Options,
    config: Config,
    layout: Layout,
    zones: Zones,
    budget: Budget<'a>,
    backoff: Backoff,
    /// After other writers were faster. They are done within milliseconds, and who waits longer than they need loses again.
    turns: Backoff,
    /// Requests made to the backend.
    requests: u32,
}

impl<'a> Manager<'a> {
    /// Over these ports.
    pub fn new(ports: &'a dyn Ports) -> Self {
        Self { ports }
    }

    /// Changes records. Outcome i is for change i; a change that could not be parsed is refused with its reason.
    ///
    /// # Errors
    ///
    /// `misconfigured`: nothing was attempted.
    pub fn apply(&self, changes: Vec<Result<Change, Reason>>, options: &Options) -> Result<Vec<Outcome>, Reason> {
        Ok(apply::apply(&mut self.call(options)?, changes))
    }

    /// Lists what is stored.
    ///
    /// # Errors
    ///
    /// `cursor-expired`: begin again; `invalid`: it is no cursor; else what the backend did.
    pub fn list(&self, filter: &Filter, cursor: Option<&str>, limit: u32, options: &Options) -> Result<Page, Reason> {
        list::list(&mut self.call(options)?, filter, cursor, limit)
    }

    /// Compares what is stored below a zone with what its records need, and mends what is ours.
    ///
    /// # Errors
    ///
    /// `outside-zones`: it is no zone that may be written; else as [`Self::list`].
    pub fn repair(&self, zone: &Name, cursor: Option<&str>, options: &Options) -> Result<Page, Reason> {
        repair::repair(&mut self.call(options)?, zone, cursor)
    }

    /// Asks every name server until all answer as expected.
    ///
    /// # Errors
    ///
    /// `invalid`: an expectation that cannot be asked; what the backend did, when what is stored could not be read.
    pub fn verify(
        &self,
        expectations: Vec<Result<Expectation, Reason>>,
        wait: Duration,
        options: &Options,
    ) -> Result<Vec<Verification>, Reason> {
        let mut call = self.call(options)?;
        let expectations: Vec<Expectation> = expectations.into_iter().collect::<Result<_, _>>()?;
        let unknown: BTreeSet<Name> =
            expectations.iter().filter(|expectation| expectation.data.is_none()).map(|e| e.name.clone()).collect();
        let stored = stored::stored(&mut call, &unknown)?;
        let questions: Vec<Vec<(RrType, Vec<RData>)>> =
            expectations.iter().map(|expectation| questions(expectation, &stored)).collect();
        let wanted = expectations
            .iter()
            .zip(&questions)
            .flat_map(|(e, questions)| questions.iter().map(|(rr_type, data)| (e.name.clone(), *rr_type, data.clone())))
            .collect();
        let mut verified = verify::verify(self.ports, wanted, wait, &call.budget).into_iter();
        let mut all = Vec::new();
        for (expectation, questions) in expectations.into_iter().zip(questions) {
            if questions.is_empty() {
                all.push(nothing_is_stored(expectation));
                continue;
            }
            all.extend(verified.by_ref().take(questions.len()));
        }
        Ok(all)
    }

    /// Looks for trouble, the cheapest first.
    pub fn diagnose(&self, options: &Options) -> Vec<Check> {
        diagnose::diagnose(self.ports, options)
    }

    fn call<'c>(&'c self, options: &'c Options) -> Result<Call<'c>, Reason> {
        let config = Config::read(self.ports.settings())?;
        let clock = self.ports.clock();
        let seed = options
            .request_id
            .bytes()
            .fold(clock.now().as_nanos() as u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(Call {
            ports: self.ports,
            options,
            layout: Layout::new(&config.path),
            zones: config.zones.clone().map_or_else(|| Zones::Discovered(BTreeMap::new()), Zones::Configured),
            budget: Budget::new(clock, options.budget),
            backoff: Backoff::new(config.retry_base, seed),
            turns: Backoff::new(config.retry_base.min(FIRST_TURN), seed).capped(LONGEST_TURN),
            config,
            requests: 0,
        })
    }
}

impl Call<'_> {
    /// Asks the name servers for the zones of these names, where zones are not configured.
    fn ask_zones(&mut self, names: BTreeSet<Name>) -> Result<(), Reason> {
        let names: Vec<Name> = names.into_iter().filter(|name| self.zones.of(name) == Lookup::NotAsked).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut found = BTreeMap::new();
        for part in names.chunks(discovery::PART) {
            let timeout = self.budget.left().min(Duration::from_secs(2));
            match discovery::discover(self.ports.resolver(), part, timeout) {
                Ok(answers) => found.extend(answers),
                Err(reason) if found.is_empty() => return Err(reason),
                // The others are as silent as these.
                Err(_) => break,
            }
        }
        let silent: Vec<String> =
            names.iter().filter(|name| !found.contains_key(name)).map(ToString::to_string).collect();
        if let Zones::Discovered(answers) = &mut self.zones {
            // A zone is its own apex's, whoever asked.
            let apexes: Vec<Zone> = found.values().flatten().cloned().collect();
            answers.extend(apexes.into_iter().map(|zone| (zone.apex().clone(), Some(zone))));
            answers.extend(found);
        }
        match silent.first() {
            Some(name) => Err(Reason::new(
                Code::Unavailable,
                format!(
                    "no name server told which zone `{name}` is in; set `zones`, or see that the name servers answer"
                ),
            )),
            None => Ok(()),
        }
    }

    /// How long one request may take, so that time is left to settle what became of it.
    fn request_timeout(&self) -> Duration {
        (self.budget.left() * 2 / 3).min(Duration::from_secs(10))
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.ports.log().write(level, message);
    }
}

/// What to ask for one expectation; nothing when it is about what is stored, and nothing is.
fn questions(expectation: &Expectation, stored: &BTreeMap<Name, Vec<RData>>) -> Vec<(RrType, Vec<RData>)> {
    let (data, is_stored) = match &expectation.data {
        Some(data) => (data.as_slice(), false),
        None => (stored.get(&expectation.name).map(Vec::as_slice).unwrap_or_default(), true),
    };
    let of =
        |rr_type: RrType| -> Vec<RData> { data.iter().filter(|data| data.rr_type() == rr_type).cloned().collect() };
    match expectation.rr_type {
        Some(rr_type) => {
            let expected = of(rr_type);
            if is_stored && expected.is_empty() { Vec::new() } else { vec![(rr_type, expected)] }
        }
        // Nothing of any type.
        None if !is_stored && data.is_empty() => RrType::KEPT.iter().map(|rr_type| (*rr_type, Vec::new())).collect(),
        None => {
            let types: BTreeSet<RrType> = data.iter().map(RData::rr_type).collect();
            types.into_iter().map(|rr_type| (rr_type, of(rr_type))).collect()
        }
    }
}

fn nothing_is_stored(expectation: Expectation) -> Verification {
    Verification {
        name: expectation.name,
        rr_type: expectation.rr_type.unwrap_or(RrType::A),
        verdict: Verdict::NotFound,
        expected: Vec::new(),
        answers: Vec::new(),
        elapsed: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
