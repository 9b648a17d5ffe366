//! A plan as text: by zone, with `+` for what comes, `~` for what changes, `-` for what goes, `!` for what cannot be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::cli::output::printable;
use crate::desired::{Action, Change, Plan, State, Zones};

/// Whether a text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Always,
    Never,
}

/// The whole plan.
pub(super) fn text(plan: &Plan, zones: &Zones, colour: Colour) -> String {
    let mut text = changes(&plan.changes, zones, colour);
    let is_nothing = plan.changes.is_empty();
    if is_nothing {
        text.push_str("Nothing to do: everything is as the file says.\n");
    } else {
        text.push('\n');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Plan: {}.", plan.summary);
    if plan.kept > 0 {
        let (sets, belong) = if plan.kept == 1 {
            ("record set", "belongs to a server and stays; delete the server instead.")
        } else {
            ("record sets", "belong to servers and stay; delete the servers instead.")
        };
        let _ = writeln!(text, "{} {sets} that the file lacks {belong}", plan.kept);
    }
    text
}

/// Some changes, by zone.
pub(super) fn changes(changes: &[Change], zones: &Zones, colour: Colour) -> String {
    let mut by_zone: BTreeMap<Option<&str>, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_zone.entry(zones.of(&change.name)).or_default().push(change);
    }
    let outside = by_zone.remove(&None);
    let mut text = String::new();
    for (zone, changes) in by_zone.into_iter().chain(outside.map(|changes| (None, changes))) {
        if !text.is_empty() {
            text.push('\n');
        }
        let heading = zone.unwrap_or("in no known zone");
        let _ = writeln!(text, "{}", painted(Style::new().bold(), heading, colour));
        for change in changes {
            tell(&mut text, change, colour);
        }
    }
    text
}

fn tell(text: &mut String, change: &Change, colour: Colour) {
    let Change { action, name, record_type, before, after, reason, warnings } = change;
    let (mark, ink) = match action {
        Action::Create => ("+", COMES),
        Action::Update => ("~", CHANGES),
        Action::Delete => ("-", GOES),
        Action::Conflict | Action::Refused => ("!", REFUSED),
    };
    let ttl = match (before, after) {
        (Some(before), Some(after)) if action.is_written() && before.ttl != after.ttl => {
            format!(" ttl {} -> {}", before.ttl, after.ttl)
        }
        (_, Some(State { ttl, .. })) | (Some(State { ttl, .. }), None) => format!(" ttl {ttl}"),
        (None, None) => String::new(),
    };
    let why = reason.as_ref().map(|reason| format!(": {action} ({}): {}", reason.code, reason.message));
    let line = format!("{mark} {name} {record_type}{ttl}{}", why.unwrap_or_default());
    let _ = writeln!(text, "  {}", painted(ink, &printable(&line), colour));
    // An empty text would not be seen.
    let shown = |value: &String| if value.is_empty() { "\"\"".to_owned() } else { value.clone() };
    let values = |state: &Option<State>| -> Vec<String> {
        state.iter().flat_map(|state| state.values.iter().map(shown)).collect()
    };
    let (before, after) = (values(before), values(after));
    if action.is_written() {
        for value in before.iter().filter(|value| !after.contains(value)) {
            let _ = writeln!(text, "      {}", painted(GOES, &printable(&format!("- {value}")), colour));
        }
        for value in &after {
            let (mark, ink) = if before.contains(value) { (" ", Style::new()) } else { ("+", COMES) };
            let _ = writeln!(text, "      {}", painted(ink, &printable(&format!("{mark} {value}")), colour));
        }
    } else {
        for value in before.iter().filter(|value| !after.contains(value)) {
            let _ = writeln!(text, "        {} (there)", printable(value));
        }
        for value in &after {
            let _ = writeln!(text, "        {} (asked for)", printable(value));
        }
    }
    for warning in warnings {
        let line = format!("warning: {}", warning.message);
        let _ = writeln!(text, "      {}", painted(CHANGES, &printable(&line), colour));
    }
}

const COMES: Style = AnsiColor::Green.on_default();
const CHANGES: Style = AnsiColor::Yellow.on_default();
const GOES: Style = AnsiColor::Red.on_default();
const REFUSED: Style = AnsiColor::Red.on_default().bold();

fn painted(style: Style, text: &str, colour: Colour) -> String {
    match colour {
        Colour::Always if !style.is_plain() => format!("{style}{text}{style:#}"),
        Colour::Always | Colour::Never => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Summary;
    use crate::outcome::Reason;

    fn state(ttl: i64, values: &[&str]) -> Option<State> {
        Some(State { ttl, values: values.iter().map(|text| (*text).to_owned()).collect() })
    }

    fn change(action: Action, name: &str, before: Option<State>, after: Option<State>) -> Change {
        let (name, record_type) = (name.to_owned(), "A".to_owned());
        Change { action, name, record_type, before, after, reason: None, warnings: Vec::new() }
    }

    fn plan() -> Plan {
        let reason = Reason { code: "owned-by".to_owned(), message: "it is taken".to_owned() };
        Plan {
            changes: vec![
                change(Action::Create, "new.example.com", None, state(300, &["192.0.2.1", "192.0.2.2"])),
                change(Action::Delete, "old.example.com", state(300, &["192.0.2.3"]), None),
                Change {
                    reason: Some(reason),
                    ..change(
                        Action::Conflict,
                        "taken.example.com",
                        state(60, &["192.0.2.4"]),
                        state(300, &["192.0.2.5"]),
                    )
                },
                change(
                    Action::Update,
                    "web.example.org",
                    state(300, &["192.0.2.6", "192.0.2.7"]),
                    state(60, &["192.0.2.7", "192.0.2.8"]),
                ),
                change(Action::Refused, "web.elsewhere", None, state(0, &["\u{1b}[2J"])),
            ],
            summary: Summary { create: 1, update: 1, delete: 1, unchanged: 7, conflict: 1, refused: 1 },
            kept: 2,
        }
    }

    #[test]
    fn a_plan_is_told_by_zone_with_before_and_after() {
        let zones = Zones::new(["example.org", "example.com"]);

        assert_eq!(
            text(&plan(), &zones, Colour::Never),
            "example.com
  + new.example.com A ttl 300
      + 192.0.2.1
      + 192.0.2.2
  - old.example.com A ttl 300
      - 192.0.2.3
  ! taken.example.com A ttl 300: conflict (owned-by): it is taken
        192.0.2.4 (there)
        192.0.2.5 (asked for)

example.org
  ~ web.example.org A ttl 300 -> 60
      - 192.0.2.6
        192.0.2.7
      + 192.0.2.8

in no known zone
  ! web.elsewhere A ttl 0
        \\u{1b}[2J (asked for)

Plan: 1 to create, 1 to update, 1 to delete, 7 unchanged, 1 in conflict, 1 refused.
2 record sets that the file lacks belong to servers and stay; delete the servers instead.
"
        );
    }

    #[test]
    fn colours_change_nothing_else() {
        let zones = Zones::new(["example.org", "example.com"]);
        let coloured = text(&plan(), &zones, Colour::Always);

        assert!(coloured.contains("\u{1b}[32m+ new.example.com A ttl 300\u{1b}[0m\n"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, text(&plan(), &zones, Colour::Never));
    }

    #[test]
    fn nothing_to_do_is_said() {
        let plan = Plan { summary: Summary { unchanged: 3, ..Summary::default() }, ..Plan::default() };

        assert_eq!(
            text(&plan, &Zones::default(), Colour::Never),
            "Nothing to do: everything is as the file says.\nPlan: 0 to create, 0 to update, 0 to delete, 3 unchanged.\n"
        );
    }
}
