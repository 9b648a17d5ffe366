//! Requests from JSON, as protobuf's JSON form has it: names in either style, 64-bit numbers as texts or numbers, octets in
//! either base64, what is unknown passed over.
//!
//! With each request comes the size that it would have in protobuf, by which etcd's limits go.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64URL, Encoding};
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::embedded::store::{Compare, Entry, Operand, Operation, Operator, Query, Range, Transaction};

/// etcd's default `--max-txn-ops`.
const MAX_OPERATIONS: usize = 128;
/// What etcd wraps a change in: its header with an id, and a tag and a length.
pub(super) const ENVELOPE: usize = 20;

/// A request and its size in protobuf.
#[derive(Debug)]
pub(super) struct Sized<T> {
    pub(super) what: T,
    pub(super) size: usize,
}

/// How a range is to be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) limit: usize,
    pub(super) keys_only: bool,
    pub(super) count_only: bool,
    order: Order,
    target: Target,
    /// Least and greatest; 0: no bound.
    mod_revisions: (i64, i64),
    create_revisions: (i64, i64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    None,
    Ascend,
    Descend,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// A transaction, with the forms of its ranges.
#[derive(Debug)]
pub(super) struct TransactionRequest {
    pub(super) transaction: Transaction,
    success: Vec<Form>,
    failure: Vec<Form>,
}

impl TransactionRequest {
    pub(super) fn changes(&self) -> bool {
        let operations = self.transaction.success.iter().chain(&self.transaction.failure);
        operations.into_iter().any(|operation| !matches!(operation, Operation::Range(_)))
    }

    pub(super) fn forms(&self, succeeded: bool) -> &[Form] {
        if succeeded { &self.success } else { &self.failure }
    }
}

impl Form {
    fn is_plain(&self) -> bool {
        let is_sorted = self.order != Order::None && !(self.order == Order::Ascend && self.target == Target::Key);
        !is_sorted && self.target == Target::Key && self.mod_revisions == (0, 0) && self.create_revisions == (0, 0)
    }

    pub(super) fn passes(&self, entry: &Entry) -> bool {
        let is_within = |(least, greatest): (i64, i64), revision: u64| {
            let revision = i64::try_from(revision).unwrap_or(i64::MAX);
            (least == 0 || revision >= least) && (greatest == 0 || revision <= greatest)
        };
        is_within(self.mod_revisions, entry.mod_revision) && is_within(self.create_revisions, entry.create_revision)
    }

    pub(super) fn sort(&self, entries: &mut [Entry]) {
        if self.is_plain() {
            return;
        }
        let by = |a: &Entry, b: &Entry| -> Ordering {
            match self.target {
                Target::Key => a.key.cmp(&b.key),
                Target::Version => a.version.cmp(&b.version),
                Target::Create => a.create_revision.cmp(&b.create_revision),
                Target::Mod => a.mod_revision.cmp(&b.mod_revision),
                Target::Value => a.value.cmp(&b.value),
            }
        };
        match self.order {
            Order::Descend => entries.sort_by(|a, b| by(b, a)),
            Order::None | Order::Ascend => entries.sort_by(by),
        }
    }
}

/// The first JSON value of a body, which must be an object; an empty body is an empty one.
pub(super) fn body(body: &[u8]) -> Result<Fields, Refusal> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        None => Ok(Fields::default()),
        Some(Ok(Value::Object(fields))) => Ok(Fields(fields)),
        Some(Ok(other)) => Err(Refusal::invalid(&format!("proto: syntax error (line 1:1): unexpected token {other}"))),
        Some(Err(error)) => Err(Refusal::invalid(&format!("proto: syntax error: {error}"))),
    }
}

pub(super) fn range(fields: &Fields) -> Result<Sized<(Query, Form)>, Refusal> {
    let (range, mut size) = fields.keys(1)?;
    let limit = fields.number("limit", &mut size)?;
    let revision = fields.number("revision", &mut size)?;
    let form = Form {
        limit: usize::try_from(limit).unwrap_or_default(),
        order: match fields.word("sort_order", &["NONE", "ASCEND", "DESCEND"], &mut size)? {
            1 => Order::Ascend,
            2 => Order::Descend,
            _ => Order::None,
        },
        target: match fields.word("sort_target", &["KEY", "VERSION", "CREATE", "MOD", "VALUE"], &mut size)? {
            1 => Target::Version,
            2 => Target::Create,
            3 => Target::Mod,
            4 => Target::Value,
            _ => Target::Key,
        },
        keys_only: fields.switch("keys_only", &mut size)?,
        count_only: fields.switch("count_only", &mut size)?,
        mod_revisions: (fields.number("min_mod_revision", &mut size)?, fields.number("max_mod_revision", &mut size)?),
        create_revisions: (
            fields.number("min_create_revision", &mut size)?,
            fields.number("max_create_revision", &mut size)?,
        ),
    };
    fields.switch("serializable", &mut size)?;
    // One more than are answered tells whether there are more. What is sorted or filtered is read whole.
    let limit = if form.is_plain() && form.limit > 0 { form.limit.saturating_add(1) } else { 0 };
    let limit = if form.count_only { 1 } else { limit };
    Ok(Sized { what: (Query { range, revision, limit }, form), size })
}

pub(super) fn put(fields: &Fields) -> Result<Sized<Operation>, Refusal> {
    let key = fields.octets("key")?;
    let value = fields.octets("value")?;
    let mut size = octets_size(&key, 1) + octets_size(&value, 1);
    let lease = fields.number("lease", &mut size)?;
    let wants_previous = fields.switch("prev_kv", &mut size)?;
    let ignores_value = fields.switch("ignore_value", &mut size)?;
    let ignores_lease = fields.switch("ignore_lease", &mut size)?;
    if key.is_empty() {
        return Err(no_key());
    }
    if ignores_value && !value.is_empty() {
        return Err(Refusal::invalid("etcdserver: value is provided"));
    }
    if ignores_lease && lease != 0 {
        return Err(Refusal::invalid("etcdserver: lease is provided"));
    }
    let what = Operation::Put {
        key,
        value: (!ignores_value).then_some(value),
        must_exist: ignores_value || ignores_lease,
        lease,
        wants_previous,
    };
    Ok(Sized { what, size })
}

pub(super) fn delete(fields: &Fields) -> Result<Sized<Operation>, Refusal> {
    let (range, mut size) = fields.keys(1)?;
    let wants_previous = fields.switch("prev_kv", &mut size)?;
    Ok(Sized { what: Operation::Delete { range, wants_previous }, size })
}

pub(super) fn transaction(fields: &Fields) -> Result<Sized<TransactionRequest>, Refusal> {
    let [compares, success, failure] = [fields.list("compare")?, fields.list("success")?, fields.list("failure")?];
    if [&compares, &success, &failure].iter().any(|list| list.len() > MAX_OPERATIONS) {
        return Err(Refusal::invalid("etcdserver: too many operations in txn request"));
    }
    let mut size = 0;
    let mut transaction = Transaction::default();
    for fields in &compares {
        let compare = compare(fields)?;
        size += message_size(compare.size);
        transaction.compares.push(compare.what);
    }
    let mut branch = |list: &[Fields], operations: &mut Vec<Operation>| {
        let mut forms = Vec::new();
        for fields in list {
            let Sized { what: (operation, form), size: own } = operation(fields)?;
            size += message_size(message_size(own));
            operations.push(operation);
            forms.extend(form);
        }
        Ok::<_, Refusal>(forms)
    };
    let success = branch(&success, &mut transaction.success)?;
    let failure = branch(&failure, &mut transaction.failure)?;
    if has_overlap(&transaction.success) || has_overlap(&transaction.failure) {
        return Err(Refusal::invalid("etcdserver: duplicate key given in txn request"));
    }
    Ok(Sized { what: TransactionRequest { transaction, success, failure }, size })
}

fn compare(fields: &Fields) -> Result<Sized<Compare>, Refusal> {
    let (range, mut size) = fields.keys(2)?;
    let operator = match fields.word("result", &["EQUAL", "GREATER", "LESS", "NOT_EQUAL"], &mut size)? {
        0 => Operator::Equal,
        1 => Operator::Greater,
        2 => Operator::Less,
        3 => Operator::NotEqual,
        other => return Err(Refusal::invalid(&format!("proto: invalid value for enum field result: {other}"))),
    };
    let target = fields.word("target", &["VERSION", "CREATE", "MOD", "VALUE", "LEASE"], &mut size)?;
    let given = fields.one_of(&["version", "create_revision", "mod_revision", "value", "lease"])?;
    // The operand of another target is none: what is compared with is zero then.
    let number = |name: &str, size: &mut usize| {
        if given == Some(name) { fields.number(name, size) } else { Ok(0) }
    };
    let operand = match target {
        0 => Operand::Version(number("version", &mut size)?),
        1 => Operand::CreateRevision(number("create_revision", &mut size)?),
        2 => Operand::ModRevision(number("mod_revision", &mut size)?),
        3 => {
            let value = if given == Some("value") { fields.octets("value")? } else { Vec::new() };
            size += octets_size(&value, 1);
            Operand::Value(value)
        }
        4 => Operand::Lease(number("lease", &mut size)?),
        other => return Err(Refusal::invalid(&format!("proto: invalid value for enum field target: {other}"))),
    };
    Ok(Sized { what: Compare { range, operator, operand }, size })
}

fn operation(fields: &Fields) -> Result<Sized<(Operation, Option<Form>)>, Refusal> {
    let names = ["request_range", "request_put", "request_delete_range", "request_txn"];
    let Some(name) = fields.one_of(&names)? else { return Err(Refusal::invalid("etcdserver: key not found")) };
    let fields = fields.object(name)?;
    let simple = |Sized { what, size }| Sized { what: (what, None), size };
    match name {
        "request_range" => range(&fields)
            .map(|Sized { what: (query, form), size }| Sized { what: (Operation::Range(query), Some(form)), size }),
        "request_put" => put(&fields).map(simple),
        "request_delete_range" => delete(&fields).map(simple),
        _ => Err(Refusal::unimplemented("nested transactions are not offered by the embedded store")),
    }
}

/// Whether a key is put twice, or put and deleted.
fn has_overlap(operations: &[Operation]) -> bool {
    let mut put = BTreeSet::new();
    let deleted = |key: &[u8]| {
        operations.iter().any(|operation| match operation {
            // etcd takes the end of an open range for one that lies before its start, and finds no overlap.
            Operation::Delete { range: Range::From(_), .. } | Operation::Range(_) | Operation::Put { .. } => false,
            Operation::Delete { range, .. } => range.covers(key),
        })
    };
    operations.iter().any(|operation| match operation {
        Operation::Put { key, .. } => !put.insert(key) || deleted(key),
        Operation::Range(_) | Operation::Delete { .. } => false,
    })
}

fn no_key() -> Refusal {
    Refusal::invalid("etcdserver: key is not provided")
}

/// The fields of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// A field by its name in either style; null is absent.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| self.0.get(&camel_case(name))).filter(|value| !value.is_null())
    }

    /// The one of these that is there.
    fn one_of(&self, names: &[&'static str]) -> Result<Option<&'static str>, Refusal> {
        let mut present = names.iter().filter(|name| self.find(name).is_some());
        match (present.next(), present.next()) {
            (_, Some(second)) => {
                Err(Refusal::invalid(&format!("proto: error parsing \"{second}\", the oneof is already set")))
            }
            (first, None) => Ok(first.copied()),
        }
    }

    /// `key` and `range_end`, and their size; the tag of `range_end` has so many octets.
    fn keys(&self, tag: usize) -> Result<(Range, usize), Refusal> {
        let (key, end) = (self.octets("key")?, self.octets("range_end")?);
        let size = octets_size(&key, 1) + octets_size(&end, tag);
        if key.is_empty() {
            return Err(no_key());
        }
        let range = match end.as_slice() {
            [] => Range::Key(key),
            [0] => Range::From(key),
            _ => Range::Between(key, end),
        };
        Ok((range, size))
    }

    fn octets(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        match self.find(name) {
            None => Ok(Vec::new()),
            Some(value) => value.as_str().and_then(decode).ok_or_else(|| bad("bytes", name, value)),
        }
    }

    fn number(&self, name: &str, size: &mut usize) -> Result<i64, Refusal> {
        let number = match self.find(name) {
            None => 0,
            Some(value) => integer(value).ok_or_else(|| bad("int64", name, value))?,
        };
        *size += number_size(number);
        Ok(number)
    }

    fn switch(&self, name: &str, size: &mut usize) -> Result<bool, Refusal> {
        let on = match self.find(name) {
            None => false,
            Some(value) => value.as_bool().ok_or_else(|| bad("bool", name, value))?,
        };
        *size += if on { 2 } else { 0 };
        Ok(on)
    }

    /// The number of an enumeration's value; a name that is none of it is passed over, as etcd does.
    fn word(&self, name: &str, words: &[&str], size: &mut usize) -> Result<i64, Refusal> {
        let number = match self.find(name) {
            None => 0,
            Some(Value::String(word)) => {
                let place = words.iter().position(|known| known == word).unwrap_or_default();
                i64::try_from(place).unwrap_or_default()
            }
            Some(value) => integer(value).ok_or_else(|| bad("enum", name, value))?,
        };
        *size += number_size(number);
        Ok(number)
    }

    fn object(&self, name: &str) -> Result<Self, Refusal> {
        match self.find(name) {
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            None => Ok(Self::default()),
            Some(other) => Err(bad("message", name, other)),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        match self.find(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let object =
                    |item: &Value| item.as_object().cloned().map(Self).ok_or_else(|| bad("message", name, item));
                items.iter().map(object).collect()
            }
            Some(other) => Err(bad("list", name, other)),
        }
    }
}

fn bad(kind: &str, name: &str, value: &Value) -> Refusal {
    Refusal::invalid(&format!("proto: invalid value for {kind} field {name}: {value}"))
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut characters = part.chars();
        camel.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        camel.extend(characters);
    }
    camel
}

/// A whole number, as a number or a text.
fn integer(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.parse().ok().or_else(|| whole(text.parse().ok()?))
}

/// `1e1` and `1.0` are whole numbers, too.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 such a form is not exact.
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "it was looked at")]
    is_exact.then_some(number as i64)
}

/// Base64 of either alphabet, with padding or without; bits that are left over do not matter.
fn decode(text: &str) -> Option<Vec<u8>> {
    let base = if text.contains(['-', '_']) { BASE64URL } else { BASE64 };
    let mut specification = base.specification();
    specification.check_trailing_bits = false;
    specification.ignore = "\r\n".to_owned();
    if !text.len().is_multiple_of(4) {
        specification.padding = None;
    }
    let encoding: Encoding = specification.encoding().ok()?;
    encoding.decode(text.as_bytes()).ok()
}

fn varint_size(number: u64) -> usize {
    let bits = usize::try_from(u64::BITS - number.leading_zeros()).unwrap_or_default();
    bits.max(1).div_ceil(7)
}

fn number_size(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + varint_size(number.cast_unsigned()) }
}

fn octets_size(octets: &[u8], tag: usize) -> usize {
    if octets.is_empty() { 0 } else { tag + length_size(octets.len()) + octets.len() }
}

fn message_size(size: usize) -> usize {
    1 + length_size(size) + size
}

fn length_size(length: usize) -> usize {
    varint_size(u64::try_from(length).unwrap_or(u64::MAX))
}
