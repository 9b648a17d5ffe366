//! Files that can be used, and all that is said of those that cannot.

use super::*;

fn parsed(text: &str) -> File {
    File::parse("f.yaml", text.as_bytes()).unwrap()
}

fn said(text: &str) -> Vec<String> {
    File::parse("f.yaml", text.as_bytes()).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

fn set(name: &str, record_type: &str, ttl: Option<i64>, values: &[&str]) -> Set {
    Set {
        name: name.to_owned(),
        record_type: record_type.parse().unwrap(),
        ttl,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        resource: None,
    }
}

#[test]
fn yaml_and_json_are_read_alike() {
    let expected = [
        set("web-01.example.com", "A", Some(300), &["192.168.1.10", "192.168.1.11"]),
        set("example.com", "TXT", None, &["v=spf1 -all", "", "010", "no", "\u{1f600}"]),
    ];
    let yaml = "
# Servers
- name: web-01.example.com
  record_type: a
  ttl: 300
  values: [192.168.1.10, 192.168.1.11]
- {name: example.com, record_type: TXT, values: [v=spf1 -all, \"\", 010, no, '\u{1f600}']}
";
    let json = r#"[
	{"name": "web-01.example.com", "record_type": "A", "ttl": 300, "values": ["192.168.1.10", "192.168.1.11"]},
	{"name": "example.com", "record_type": "TXT", "values": ["v=spf1 -all", "", "010", "no", "\ud83d\ude00"]}
]"#;

    assert_eq!(parsed(yaml).sets, expected);
    assert_eq!(parsed(json).sets, expected);
    assert_eq!(parsed(&format!("\u{feff}{json}")).sets, expected);
    assert_eq!(parsed(&json.replace('\n', "\r\n")).sets, expected);
    assert_eq!(parsed("[]").sets, []);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let text = "- name: a.example.com
  record_type: AX
  values: [192.0.2.1]
- name: b.example.com
  type: A
  ttl: soon
  values: []
- just text
- name: c.example.com
  record_type: A
  values:
    - 192.0.2.999
    - 192.0.2.1
    - 192.0.2.1
    - [x]
    -
  colour: red
- record_type: A
  record_type: A
  values: 192.0.2.1
- {name: C.example.com., record_type: TXT, values: [a]}
- {name: c.example.com, record_type: TXT, values: [b]}
- {name: c.example.com, record_type: TXT, values: [b], resource: s1, ttl: 5}
";

    let form =
        "write a record set, such as {name: web-01.example.com, record_type: A, ttl: 300, values: [192.168.1.10]}";
    assert_eq!(
        said(text),
        [
            "f.yaml:2:16: \"AX\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, PTR or NS, say".to_owned(),
            format!("f.yaml:4:3: \"record_type\" is missing: {form}"),
            "f.yaml:5:3: unknown key \"type\": write \"record_type\"".to_owned(),
            "f.yaml:6:8: \"soon\" is not a TTL: write a number of seconds, such as 300, or leave ttl out".to_owned(),
            "f.yaml:7:11: \"values\" is empty: remove the record set from the file, and apply with --prune".to_owned(),
            format!("f.yaml:8:3: this is a text: {form}"),
            "f.yaml:12:7: \"192.0.2.999\" is not an IPv4 address, such as 192.168.1.10".to_owned(),
            "f.yaml:14:7: \"192.0.2.1\" is in line 13 already: remove one".to_owned(),
            "f.yaml:15:7: this is a list, and a value is a text".to_owned(),
            "f.yaml:16:6: this is nothing, and a value is a text; an empty text is \"\"".to_owned(),
            "f.yaml:17:3: unknown key \"colour\": known are name, record_type, ttl, values, resource".to_owned(),
            format!("f.yaml:18:3: \"name\" is missing: {form}"),
            "f.yaml:19:3: \"record_type\" is given twice: remove one".to_owned(),
            "f.yaml:20:11: this is a text, and \"values\" is a list: write [192.168.1.10], say".to_owned(),
            "f.yaml:22:3: c.example.com TXT is in line 21 already: give all of its values there".to_owned(),
            "f.yaml:23:3: c.example.com TXT has no ttl in line 21, and a record set has one: write the same here"
                .to_owned(),
        ]
    );
}

#[test]
fn a_value_that_is_none_of_its_type_does_not_make_the_file_unusable() {
    let file = parsed(
        "- name: a.example.com\n  record_type: A\n  values:\n  - 192.0.2.1\n  - nonsense\n- {name: b.example.com, record_type: A, ttl: 0, values: [192.0.2.2]}\n- {name: c.example.com, record_type: A, values: [192.0.2.3]}\n",
    );

    assert_eq!(file.sets.len(), 3);
    let at = |name: &str| file.at(file.place(name, "A").unwrap());
    assert_eq!(at("a.example.com"), "f.yaml:5:5");
    assert_eq!(at("b.example.com"), "f.yaml:6:46");
    assert_eq!(at("C.example.com."), "f.yaml:7:3");
    assert_eq!(file.place("d.example.com", "A"), None);
}

#[test]
fn the_values_of_servers_stand_by_themselves() {
    let file = parsed(
        "- {name: a.example.com, record_type: A, values: [192.0.2.1]}\n- {name: a.example.com, record_type: A, values: [192.0.2.2], resource: s1}\n",
    );

    assert_eq!(file.sets[1].resource.as_deref(), Some("s1"));
    assert_eq!(file.place("a.example.com", "A"), Some(Place { line: 1, column: 3 }));
}

#[test]
fn what_is_no_list_of_record_sets_is_said() {
    for (text, expected) in [
        ("", "f.yaml:1:1: there is nothing here: write [] for no record sets at all"),
        ("# only this\n", "f.yaml:1:1: there is nothing here: write [] for no record sets at all"),
        (
            "name: a.example.com\n",
            "f.yaml:1:1: this is a mapping, and a list of record sets belongs here: begin each one with \"- name:\"",
        ),
        ("- &a {}\n- *a\n", "f.yaml:2:3: aliases are not understood here: write it out"),
        ("--- []\n--- []\n", "f.yaml:2:1: a second document begins here: write one list"),
        (&"[".repeat(100), "f.yaml:1:17: this is nested too deep for record sets: see the brackets before it"),
    ] {
        assert!(said(text).iter().any(|line| line == expected), "{:?}", said(text));
    }
}

#[test]
fn where_yaml_ends_is_said_along_with_what_is_wrong_before() {
    let text = "- {name: a.example.com, record_type: AX, values: [a]}\n- name: b\n  record_type: A\n\tvalues: [x]\n";

    let said = said(text);

    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("f.yaml:1:38: \"AX\" is not a record type"), "{said:?}");
    assert!(said[1].starts_with("f.yaml:3:16: this is neither YAML nor JSON: "), "{said:?}");
}

#[test]
fn octets_that_are_no_text_are_found() {
    let error = File::parse("f", b"- name: a\n  \xff").unwrap_err();

    assert_eq!(error.to_string(), "f:2:3: this is not UTF-8: save the file in that encoding");
}
