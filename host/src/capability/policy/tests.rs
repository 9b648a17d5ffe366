//! Tables of what is an authority, what is granted and what is dialled.

use super::*;

fn authority(host: &str, port: u16) -> Authority {
    Authority { host: host.to_owned(), port }
}

fn policy(host: &str, port: u16, private: &[&str]) -> Policy {
    let authority = authority(host, port);
    let private = private.iter().map(|net| net.parse().unwrap()).collect();
    let route = Route::Network(vec![authority.clone()]);
    Policy { endpoints: vec![Arc::new(Endpoint { authority, secure: false, route, private, rule: None })] }
}

#[test]
fn authorities_have_one_form() {
    let cases = [
        ("etcd:2379", Some(("etcd", 2379))),
        ("ETCD.Example.COM:2379", Some(("etcd.example.com", 2379))),
        ("etcd", Some(("etcd", 80))),
        ("10.0.0.1:2379", Some(("10.0.0.1", 2379))),
        ("[::1]:2379", Some(("::1", 2379))),
        ("[0:0:0:0:0:0:0:1]:2379", Some(("::1", 2379))),
        ("xn--bcher-kva.example:1", Some(("xn--bcher-kva.example", 1))),
        ("user@host:1", None),
        ("user:secret@host:1", None),
        ("host.:80", None),
        ("host..example:80", None),
        ("-host:80", None),
        ("ho_st:80", None),
        ("bücher.example:80", None),
        ("host%2eexample:80", None),
        ("host:", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:+80", None),
        ("host:80:80", None),
        ("", None),
        (":80", None),
        ("127.1:80", None),
        ("2130706433:80", None),
        ("0x7f.1:80", None),
        ("0x7f000001:80", None),
        ("0177.0.0.1:80", None),
        ("127.0.0.1.:80", None),
        ("1.2.3.4.5:80", None),
        ("[fe80::1%25eth0]:80", None),
        ("[::1", None),
        ("[::1]x:80", None),
        ("::1", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(host, port)| authority(host, port)).ok_or(BadAuthority);
        assert_eq!(Authority::parse(text, Some(80)), expected, "{text}");
    }
}

#[test]
fn authorities_survive_printing() {
    for text in ["etcd:2379", "10.0.0.1:80", "[2001:db8::1]:443"] {
        assert_eq!(Authority::parse(text, None).unwrap().to_string(), text);
    }
}

#[test]
fn only_the_named_authority_is_granted() {
    let policy = policy("api.example.com", 2379, &[]);
    let granted = |uri: &str| policy.decide(&Method::POST, &uri.parse().unwrap()).map(|_| ());
    let not_granted = |host: &str, port| Err(Denial::NotGranted(authority(host, port)));

    let cases = [
        ("http://api.example.com:2379/v3/kv/txn", Ok(())),
        ("http://API.example.COM:2379/", Ok(())),
        ("http://api.example.com/", not_granted("api.example.com", 80)),
        ("http://evilapi.example.com:2379/", not_granted("evilapi.example.com", 2379)),
        ("http://api.example.com.evil.tld:2379/", not_granted("api.example.com.evil.tld", 2379)),
        ("http://192.168.1.attacker.tld:2379/", not_granted("192.168.1.attacker.tld", 2379)),
        ("http://169.254.169.254/latest/meta-data", not_granted("169.254.169.254", 80)),
        ("http://127.0.0.1:2379/", not_granted("127.0.0.1", 2379)),
        ("http://127.1:2379/", Err(Denial::Malformed)),
        ("http://api.example.com.:2379/", Err(Denial::Malformed)),
        ("http://user@api.example.com:2379/", Err(Denial::Malformed)),
        ("https://api.example.com:2379/", Err(Denial::Scheme)),
        ("https://api.example.com/", not_granted("api.example.com", 443)),
        ("ftp://api.example.com:2379/", Err(Denial::Malformed)),
        ("/v3/kv/txn", Err(Denial::Malformed)),
        ("http://api.example.com:2379/v3/kv/../auth", Err(Denial::Malformed)),
        ("http://api.example.com:2379/v3/kv/%2E./auth", Err(Denial::Malformed)),
        ("http://api.example.com:2379/v3/kv/..auth/a.b", Ok(())),
    ];
    for (uri, expected) in cases {
        assert_eq!(granted(uri), expected, "{uri}");
    }
}

#[test]
fn empty_policy_denies_all() {
    let denied = Policy::default().decide(&Method::GET, &"http://etcd:2379/".parse().unwrap()).map(|_| ());
    assert_eq!(denied, Err(Denial::NotGranted(authority("etcd", 2379))));
}

#[test]
fn rule_sees_method_and_path() {
    let mut policy = policy("etcd", 2379, &[]);
    Arc::get_mut(&mut policy.endpoints[0]).unwrap().rule =
        Some(Arc::new(|method, path| method == Method::POST && path.starts_with("/v3/kv/")));
    let decide =
        |method, path: &str| policy.decide(&method, &format!("http://etcd:2379{path}").parse().unwrap()).map(|_| ());

    assert_eq!(decide(Method::POST, "/v3/kv/range?x=/v3/auth"), Ok(()));
    assert_eq!(decide(Method::GET, "/v3/kv/range"), Err(Denial::Rule));
    assert_eq!(decide(Method::POST, "/v3/auth/enable"), Err(Denial::Rule));
    assert_eq!(decide(Method::CONNECT, "/v3/kv/range"), Err(Denial::Rule));
}

#[test]
fn tunnels_are_denied_without_a_rule() {
    let policy = policy("etcd", 2379, &[]);
    for method in [Method::CONNECT, Method::TRACE] {
        let denied = policy.decide(&method, &"http://etcd:2379/".parse().unwrap()).map(|_| ());
        assert_eq!(denied, Err(Denial::Rule));
    }
}

#[test]
fn special_ranges_need_a_grant_and_metadata_has_none() {
    let nothing = policy("etcd", 2379, &[]);
    let ten = policy("etcd", 2379, &["10.0.0.0/8"]);
    let all = policy("etcd", 2379, &["0.0.0.0/0", "::/0"]);
    // (address, without a grant, with 10/8, with everything)
    let cases = [
        ("93.184.216.34", true, true, true),
        ("2606:2800:220:1::1", true, true, true),
        ("10.1.2.3", false, true, true),
        ("::ffff:10.1.2.3", false, true, true),
        ("192.168.1.1", false, false, true),
        ("172.16.0.1", false, false, true),
        ("127.0.0.1", false, false, true),
        ("::1", false, false, true),
        ("::ffff:127.0.0.1", false, false, true),
        ("::127.0.0.1", false, false, true),
        ("64:ff9b::7f00:1", false, false, true),
        ("2002:7f00:1::", false, false, true),
        ("fd12::1", false, false, true),
        ("fec0::1", false, false, true),
        ("100.64.0.1", false, false, true),
        ("198.18.0.1", false, false, true),
        ("192.0.2.1", false, false, true),
        ("2001:db8::1", false, false, true),
        ("2001::1", false, false, true),
        ("0.1.2.3", false, false, true),
        ("240.0.0.1", false, false, true),
        ("0.0.0.0", false, false, false),
        ("::", false, false, false),
        ("255.255.255.255", false, false, false),
        ("224.0.0.251", false, false, false),
        ("ff02::fb", false, false, false),
        ("169.254.169.254", false, false, false),
        ("::ffff:169.254.169.254", false, false, false),
        ("64:ff9b::a9fe:a9fe", false, false, false),
        ("2002:a9fe:a9fe::", false, false, false),
        ("fe80::1", false, false, false),
        ("fd00:ec2::254", false, false, false),
        ("fd20:ce::254", false, false, false),
        ("fd00:c1::a9fe:a9fe", false, false, false),
        ("fd00:42::42", false, false, false),
        ("100.100.100.200", false, false, false),
        ("168.63.129.16", false, false, false),
        ("192.0.0.192", false, false, false),
    ];
    for (ip, plain, with_ten, with_all) in cases {
        let ip: IpAddr = ip.parse().unwrap();
        let admits = |policy: &Policy| policy.endpoints[0].admits(ip);
        assert_eq!((admits(&nothing), admits(&ten), admits(&all)), (plain, with_ten, with_all), "{ip}");
    }
    assert_eq!(anywhere(), all.endpoints[0].private);
}
