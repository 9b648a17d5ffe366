use std::cell::Cell;

use super::server::{MAX_DETOURS, MAX_KEYS};
use super::*;

fn ask(entries: &[(&str, &str)], name: &str, rr_type: u16) -> Reply {
    let tree: BTreeMap<Vec<u8>, Vec<u8>> =
        entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    let lookup = Lookup::new("/skydns", ["example.com", "example.net"]);
    let question = Question { name: name.into(), rr_type, size: 65_535, has_opt: false };
    lookup.answer(&tree, &question)
}

#[test]
fn an_exact_key_is_hidden_by_what_is_below_it() {
    let entries = [
        ("/skydns/com/example/web", r#"{"host":"10.0.0.1"}"#),
        ("/skydns/com/example/web/a", r#"{"host":"10.0.0.2","ttl":7}"#),
    ];
    let reply = ask(&entries, "WEB.example.com.", A);
    let expected = Record { owner: "WEB.example.com.".into(), ttl: 7, data: Data::A([10, 0, 0, 2].into()) };
    assert_eq!(reply.answers, [expected]);
    assert!(reply.authoritative);
}

#[test]
fn other_names_are_refused() {
    let reply = ask(&[], "example.org.", A);
    assert_eq!((reply.rcode, reply.authoritative), (Rcode::Refused, false));
}

#[test]
fn a_bad_value_breaks_every_name_above_it() {
    let entries = [("/skydns/com/example/a/b", "{"), ("/skydns/com/example/c", r#"{"host":"10.0.0.1"}"#)];
    assert_eq!(ask(&entries, "a.example.com.", A).rcode, Rcode::ServFail);
    assert_eq!(ask(&entries, "example.com.", TXT).rcode, Rcode::ServFail);
    assert_eq!(ask(&entries, "c.example.com.", A).rcode, Rcode::NoError);
}

#[test]
fn aliases_in_a_circle_through_two_zones_end() {
    let entries = [
        ("/skydns/com/example/a", r#"{"host":"b.example.net"}"#),
        ("/skydns/net/example/b", r#"{"host":"a.example.com"}"#),
    ];
    let reply = ask(&entries, "a.example.com.", A);
    assert_eq!(reply.rcode, Rcode::NoError);
    assert_eq!(reply.answers.len(), MAX_DETOURS);
}

#[test]
fn an_answer_that_is_too_long_is_cut() {
    let entries: Vec<(String, String)> = (0..40)
        .map(|number| (format!("/skydns/com/example/web/{number:02}"), format!(r#"{{"host":"10.0.0.{number}"}}"#)))
        .collect();
    let tree: BTreeMap<Vec<u8>, Vec<u8>> =
        entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    let lookup = Lookup::new("skydns", ["example.com"]);
    let mut question = Question { name: "web.example.com.".into(), rr_type: A, size: 512, has_opt: false };
    let reply = lookup.answer(&tree, &question);
    // 33 octets of header and question; each record has a pointer and 14 more.
    assert_eq!((reply.truncated, reply.answers.len()), (true, 29));
    question.size = 1232;
    let reply = lookup.answer(&tree, &question);
    assert_eq!((reply.truncated, reply.answers.len()), (false, 40));
}

/// A tree that counts what is read of it.
struct Counted(BTreeMap<Vec<u8>, Vec<u8>>, Cell<usize>);

impl Tree for Counted {
    fn below(&self, prefix: &[u8]) -> Result<Vec<Stored>, Unavailable> {
        let found = self.0.below(prefix)?;
        self.1.set(self.1.get() + found.len());
        Ok(found)
    }

    fn at(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0.at(key)
    }
}

fn counted(entries: impl IntoIterator<Item = (String, String)>) -> Counted {
    let tree = entries.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes())).collect();
    Counted(tree, Cell::new(0))
}

#[test]
fn aliases_that_fan_out_end_soon() {
    // 20 aliases at each of 12 names, all of them to the next one, in the same zone and to the other one and back.
    for far in ["com", "net"] {
        let at = |level: usize| if level.is_multiple_of(2) { "com" } else { far };
        let aliases = (0..12).flat_map(|level| (0..20).map(move |sibling| (level, sibling)));
        let tree = counted(aliases.map(|(level, sibling)| {
            let next = format!("l{}.example.{}", level + 1, at(level + 1));
            (format!("/skydns/{}/example/l{level}/{sibling}", at(level)), format!(r#"{{"host":"{next}"}}"#))
        }));
        let lookup = Lookup::new("/skydns", ["example.com", "example.net"]);
        for rr_type in [A, TXT, SRV, MX] {
            tree.1.set(0);
            let question = Question { name: "l0.example.com.".into(), rr_type, size: 65_535, has_opt: false };
            let reply = lookup.answer(&tree, &question);
            assert!(tree.1.get() < MAX_KEYS + 100, "{far} {rr_type}: {} keys", tree.1.get());
            if rr_type == A {
                assert_eq!((reply.rcode, reply.answers.len()), (Rcode::ServFail, 0));
            }
        }
    }
}

#[test]
fn a_name_with_more_keys_than_that_is_answered() {
    let many = MAX_KEYS + 10;
    let tree = counted((0..many).map(|number| {
        let host = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
        (format!("/skydns/com/example/web/{number}"), format!(r#"{{"host":"{host}"}}"#))
    }));
    let question = Question { name: "web.example.com.".into(), rr_type: A, size: 65_535, has_opt: false };
    let reply = Lookup::new("/skydns", ["example.com"]).answer(&tree, &question);
    assert_eq!((reply.rcode, reply.truncated), (Rcode::NoError, true));
}
