//! The guard against deleting much by mistake: half a file, or another zone's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What may go without saying so.
const USUAL_PERCENT: usize = 30;
/// In a smaller zone a few names are many percent.
const SMALLEST_ZONE: usize = 10;

/// How many names of a zone may lose record sets in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxDeletes {
    /// 30 %, in zones of 10 names and more.
    #[default]
    Usual,
    /// So many, in every zone.
    Names(usize),
    /// So many of a hundred, in every zone.
    Percent(usize),
}

impl MaxDeletes {
    fn allows(self, deleted: usize, names: usize) -> bool {
        match self {
            Self::Usual => names < SMALLEST_ZONE || deleted * 100 <= names * USUAL_PERCENT,
            Self::Names(most) => deleted <= most,
            Self::Percent(most) => deleted * 100 <= names * most,
        }
    }
}

impl fmt::Display for MaxDeletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => write!(f, "{USUAL_PERCENT}%"),
            Self::Names(most) => most.fmt(f),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl FromStr for MaxDeletes {
    type Err = NoMaximum;

    fn from_str(text: &str) -> Result<Self, NoMaximum> {
        let wrong = || NoMaximum(text.to_owned());
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Names).map_err(|_| wrong()),
            Some(percent) => {
                percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent).ok_or_else(wrong)
            }
        }
    }
}

/// A text that says no such number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not how many names may be deleted: write a number, such as 5, or a share of a zone's names, such as 50%", .0.escape_debug())]
pub struct NoMaximum(String);

/// A plan that deletes too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is applied: {}; if that is meant, allow it with --max-deletes (max_deletes), as a number of names or a share of a zone's, such as {}", self.told(), self.remedy())]
pub struct TooManyDeletes {
    limit: MaxDeletes,
    /// Each zone with its names, and those of them that lose record sets.
    zones: Vec<(String, usize, usize)>,
}

impl TooManyDeletes {
    /// What the REST API calls it.
    pub const CODE: &str = "too-many-deletes";

    fn told(&self) -> String {
        let one = |(zone, names, deleted): &(String, usize, usize)| {
            let percent = deleted * 100 / names.max(&1);
            format!("record sets of {deleted} of the {names} names of {zone} would be deleted ({percent} %)")
        };
        let zones: Vec<_> = self.zones.iter().map(one).collect();
        format!("{}, and {} is the most", zones.join(", "), self.limit)
    }

    fn remedy(&self) -> String {
        self.zones.iter().map(|(_, _, deleted)| *deleted).max().unwrap_or_default().to_string()
    }
}

/// Compares, zone by zone, the names that lose record sets with the names that there are: the counts of both by zone.
pub(crate) fn check(
    limit: MaxDeletes,
    names: &BTreeMap<String, usize>,
    deleted: &BTreeMap<String, usize>,
) -> Result<(), TooManyDeletes> {
    let zones: Vec<_> = deleted
        .iter()
        .map(|(zone, deleted)| (zone.clone(), names.get(zone).copied().unwrap_or_default(), *deleted))
        .filter(|(_, names, deleted)| !limit.allows(*deleted, *names))
        .collect();
    if zones.is_empty() { Ok(()) } else { Err(TooManyDeletes { limit, zones }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(limit: MaxDeletes, names: usize, deleted: usize) -> Result<(), String> {
        let one = |count| BTreeMap::from([("example.com".to_owned(), count)]);
        check(limit, &one(names), &one(deleted)).map_err(|error| error.to_string())
    }

    #[test]
    fn thirty_percent_of_ten_names_may_go_and_no_more() {
        assert_eq!(checked(MaxDeletes::Usual, 10, 3), Ok(()));
        assert_eq!(checked(MaxDeletes::Usual, 9, 9), Ok(()));
        assert_eq!(
            checked(MaxDeletes::Usual, 10, 4).unwrap_err(),
            "nothing is applied: record sets of 4 of the 10 names of example.com would be deleted (40 %), and 30% is the most; \
             if that is meant, allow it with --max-deletes (max_deletes), as a number of names or a share of a zone's, such as 4"
        );
    }

    #[test]
    fn a_limit_that_is_given_holds_in_every_zone() {
        assert_eq!(checked(MaxDeletes::Names(4), 10, 4), Ok(()));
        assert!(checked(MaxDeletes::Names(0), 2, 1).is_err());
        assert_eq!(checked(MaxDeletes::Percent(40), 10, 4), Ok(()));
        assert!(checked(MaxDeletes::Percent(39), 10, 4).is_err());
        assert_eq!(checked(MaxDeletes::Percent(100), 10, 10), Ok(()));
    }

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        assert_eq!("5".parse(), Ok(MaxDeletes::Names(5)));
        assert_eq!("50%".parse(), Ok(MaxDeletes::Percent(50)));
        for text in ["", "%", "-1", "101%", "half", "5 %"] {
            assert_eq!(
                text.parse::<MaxDeletes>().unwrap_err().to_string(),
                format!(
                    "\"{text}\" is not how many names may be deleted: write a number, such as 5, or a share of a zone's names, such as 50%"
                )
            );
        }
    }
}
