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
