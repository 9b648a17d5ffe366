//! TLS and credentials in the configuration.

use super::*;

/// A certificate and its key, in PEM form.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["etcd-1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn production(lines: &str) -> Given {
    with_dns(&format!("coredns_url = \"https://etcd-1:2379\"\n{lines}"))
}

#[test]
fn https_without_more_trusts_whom_the_system_trusts() {
    let config = production("").load().unwrap();

    assert_eq!(config.backend()[0].to_string(), "https://etcd-1:2379");
    assert!(config.dns.tls.is_none() && config.dns.credentials.is_none());
    assert_eq!(shown(&config, "orchestrator.dns.tls.ca").value, serde_json::Value::Null);
}

#[test]
fn files_of_tls_and_credentials_are_read_at_load_and_never_shown() {
    let given = production(
        "[orchestrator.dns.tls]\nca = \"ca.pem\"\ncertificate = \"own.pem\"\nkey = \"own-key.pem\"\n\
         [orchestrator.dns.credentials]\nusername = \"dns\"\npassword_file = \"password\"",
    );
    let (ca, (own, key)) = (certificate().0, certificate());
    for (name, text) in [("ca.pem", &*ca), ("own.pem", &own), ("own-key.pem", &key), ("password", "open sesame\r\n")] {
        fs::write(given.directory.path().join(name), text).unwrap();
    }

    let config = given.load().unwrap();

    let tls = config.dns.tls.as_ref().unwrap();
    assert_eq!(tls.ca, Some(given.directory.path().join("ca.pem")));
    assert!(tls.identity.is_some());
    let credentials = config.dns.credentials.as_ref().unwrap();
    assert_eq!(credentials.username, "dns");
    assert_eq!(credentials.password, dns_manager_host::Secret::from("open sesame"));
    assert_eq!(shown(&config, "orchestrator.dns.credentials.password_file").value, "password");
    let told = format!("{config:?} {:?}", config.shown());
    assert!(!told.contains("sesame") && !told.contains("PRIVATE"), "{told}");
}

#[test]
fn a_password_comes_from_one_place() {
    let credentials = |lines: &str| production(&format!("[orchestrator.dns.credentials]\n{lines}"));
    let user = "username = \"dns\"";
    let named = format!("{user}\npassword_env = \"ETCD_PASSWORD\"");
    let config = credentials(&named).variable("ETCD_PASSWORD", "open sesame").load().unwrap();
    assert_eq!(config.dns.credentials.unwrap().password, dns_manager_host::Secret::from("open sesame"));

    for (lines, expected) in [
        (
            named.as_str(),
            "config.toml:5: orchestrator.dns.credentials.password_env: the environment variable ETCD_PASSWORD is not set, \
             or empty",
        ),
        (
            "username = \"dns\"\npassword_file = \"p\"\npassword_env = \"P\"",
            "config.toml:6: orchestrator.dns.credentials.password_env: orchestrator.dns.credentials.password_file is set, \
             too: keep one of the two",
        ),
        (
            user,
            "config.toml:4: orchestrator.dns.credentials.username: there is no password for this user: set \
             orchestrator.dns.credentials.password_file or orchestrator.dns.credentials.password_env",
        ),
    ] {
        assert_eq!(credentials(lines).error(), expected);
    }
    for password in ["open sesame", "73519428", "7HORSES"] {
        let mistaken = credentials(&format!("{user}\npassword_env = \"{password}\"")).error();
        assert!(mistaken.contains("that is named here is not set") && !mistaken.contains(password), "{mistaken}");
    }
    let no_user = credentials("password_env = \"P\"").variable("P", "x").error();
    assert_eq!(
        no_user,
        "config.toml:4: orchestrator.dns.credentials.password_env: orchestrator.dns.credentials.username is not set: whose \
         password is it?"
    );
}

#[test]
fn a_password_file_that_is_no_use_says_why() {
    let given = production("credentials.username = \"dns\"\ncredentials.password_file = \"p\"");
    let path = given.directory.path().join("p");
    let error = || given.error().replace(&*path.to_string_lossy(), "PATH");
    let key = "config.toml:4: orchestrator.dns.credentials.password_file";

    assert_eq!(error(), format!("{key}: PATH cannot be read: No such file or directory (os error 2)"));
    for (content, why) in [
        (&b"\n"[..], "PATH is empty"),
        (b"a\nb\n", "PATH has several lines: write the password alone into it"),
        (b"\xff\n", "PATH is not text"),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(error(), format!("{key}: {why}"));
    }
}

#[test]
fn what_does_not_fit_in_tls_says_which_file_and_why() {
    let ((one, one_key), (_, other_key)) = (certificate(), certificate());
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let both = "tls.certificate = \"c.pem\"\ntls.key = \"k.pem\"";
    let no_pem = "there is no certificate in PEM form in it (`-----BEGIN CERTIFICATE-----`)";
    for (lines, c, k, expected) in [
        ("tls.ca = \"c.pem\"", Some("hello"), None, format!("3: orchestrator.dns.tls.ca: DIR/c.pem: {no_pem}")),
        (
            "tls.ca = \"c.pem\"",
            None,
            None,
            "3: orchestrator.dns.tls.ca: DIR/c.pem cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            both,
            Some(&*one),
            Some(&*other_key),
            "4: orchestrator.dns.tls.key: DIR/k.pem: it is not the key of the certificate DIR/c.pem".to_owned(),
        ),
        (both, Some(&*one_key), Some(&*one_key), format!("3: orchestrator.dns.tls.certificate: DIR/c.pem: {no_pem}")),
        (
            both,
            Some(&*one),
            Some(&*one),
            "4: orchestrator.dns.tls.key: DIR/k.pem: there is no private key in PEM form in it \
             (`-----BEGIN PRIVATE KEY-----`)"
                .to_owned(),
        ),
        (
            both,
            Some(&*one),
            Some(locked),
            "4: orchestrator.dns.tls.key: DIR/k.pem: its key is encrypted; decrypt it (`openssl pkey -in KEY -out PLAIN`)"
                .to_owned(),
        ),
        (
            "tls.certificate = \"c.pem\"",
            Some(&*one),
            None,
            "3: orchestrator.dns.tls.certificate: orchestrator.dns.tls.key is not set: a certificate is used with its key"
                .to_owned(),
        ),
        (
            "tls.key = \"k.pem\"",
            None,
            Some(&*one_key),
            "3: orchestrator.dns.tls.key: orchestrator.dns.tls.certificate is not set: a key is used with its certificate"
                .to_owned(),
        ),
    ] {
        let given = production(lines);
        for (name, text) in [("c.pem", c), ("k.pem", k)] {
            if let Some(text) = text {
                fs::write(given.directory.path().join(name), text).unwrap();
            }
        }
        let error = given.error().replace(&*given.directory.path().to_string_lossy(), "DIR");
        assert_eq!(error, format!("config.toml:{expected}"));
    }
}

#[test]
fn whoever_stops_the_service_waits_longer_than_it_takes() {
    let load = |text: &str| Given::file(&format!("[orchestrator.limits]\nstop_timeout = \"{text}\"\n")).load();
    assert_eq!(load("90s").unwrap().limits.stop_timeout, Duration::from_secs(90));
    for wrong in ["0s", "61m"] {
        assert_eq!(
            load(wrong).unwrap_err().to_string(),
            format!(
                "config.toml:2: orchestrator.limits.stop_timeout: \"{wrong}\" is out of range, which is 1ms to 1h: write \
                 \"10s\", say"
            )
        );
    }
    let taken = Given::file("").load().unwrap().limits.stop_timeout;
    for (text, key) in [
        (include_str!("../../../../packaging/dns-manager.service"), "TimeoutStopSec="),
        (include_str!("../../../../packaging/compose.yaml"), "stop_grace_period: "),
    ] {
        let given = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        assert_eq!(humantime::parse_duration(given).unwrap(), taken + Duration::from_secs(15), "{key}");
    }
}

#[test]
fn tls_without_https_is_an_error_and_a_password_in_clear_a_warning() {
    let error = with_dns("coredns_url = \"http://etcd-1:2379\"\ntls.ca = \"ca.pem\"").error();
    assert_eq!(
        error,
        "config.toml:3: orchestrator.dns.tls.ca: TLS is set up, but orchestrator.dns.coredns_url is http: write \
         \"https://etcd-1:2379\", or remove [orchestrator.dns.tls]"
    );
    let credentials = "credentials.username = \"dns\"\ncredentials.password_env = \"P\"";
    let clear = |url: &str| {
        with_dns(&format!("coredns_url = \"{url}\"\n{credentials}")).variable("P", "x").load().unwrap().warnings
    };
    assert_eq!(
        clear("http://etcd-1:2379"),
        ["orchestrator.dns.credentials.username: the password goes to \"http://etcd-1:2379\" in clear text: use https"]
    );
    for fine in ["https://etcd-1:2379", "http://localhost:2379", "http://[::1]:2379"] {
        assert!(clear(fine).is_empty(), "{fine}");
    }
}

fn shared(dns: &str, inventory: &str) -> Given {
    let given = with_dns(&format!("{dns}\n[orchestrator.inventory]\nkind = \"etcd\"\n{inventory}"));
    for name in ["ca.pem", "inventory-ca.pem"] {
        fs::write(given.directory.path().join(name), certificate().0).unwrap();
    }
    given.variable("P", "one").variable("Q", "other")
}

#[test]
fn the_inventory_is_entered_as_the_records_are_unless_it_says_otherwise() {
    const TLS: &str = "tls.ca = \"ca.pem\"";
    const USER: &str = "credentials.username = \"dns\"\ncredentials.password_env = \"P\"";
    const OWN_TLS: &str = "tls.ca = \"inventory-ca.pem\"";
    const OWN_USER: &str = "credentials.username = \"keeper\"\ncredentials.password_env = \"Q\"";
    let (http, https) = ("coredns_url = \"http://localhost:1\"", "coredns_url = \"https://etcd-1:1\"");
    let (plain, secure) = ("urls = \"http://localhost:2\"", "urls = \"https://etcd-2:2\"");
    for (dns, inventory, url, ca, user) in [
        (format!("{https}\n{TLS}\n{USER}"), String::new(), "https://etcd-1:1", Some("ca.pem"), Some("dns one")),
        (format!("{https}\n{TLS}\n{USER}"), secure.to_owned(), "https://etcd-2:2", Some("ca.pem"), Some("dns one")),
        // Each table replaces the other as a whole.
        (
            format!("{https}\n{TLS}\n{USER}"),
            format!("{secure}\n{OWN_TLS}\n{OWN_USER}"),
            "https://etcd-2:2",
            Some("inventory-ca.pem"),
            Some("keeper other"),
        ),
        (format!("{https}\n{TLS}"), OWN_USER.to_owned(), "https://etcd-1:1", Some("ca.pem"), Some("keeper other")),
        (http.to_owned(), format!("{secure}\n{OWN_TLS}"), "https://etcd-2:2", Some("inventory-ca.pem"), None),
        (http.to_owned(), secure.to_owned(), "https://etcd-2:2", None, None),
        (format!("{https}\n{TLS}\n{USER}"), plain.to_owned(), "http://localhost:2", None, Some("dns one")),
    ] {
        let given = shared(&dns, &inventory);
        let config = given.load().unwrap();
        let Inventory::Etcd(access) = &config.inventory else { panic!("{:?}", config.inventory) };

        let read = |name: &str| fs::read(given.directory.path().join(name)).unwrap();
        let entered = access.credentials.as_ref().map(|(user, password)| format!("{user} {}", password.expose()));
        assert_eq!(access.urls, [url], "{dns}\n{inventory}");
        assert_eq!(access.ca, ca.map(read), "{dns}\n{inventory}");
        assert_eq!(entered.as_deref(), user, "{dns}\n{inventory}");
        assert_eq!(config.warnings, [] as [String; 0], "{dns}\n{inventory}");
    }
}

#[test]
fn what_does_not_fit_the_inventorys_etcd_is_said_at_its_key() {
    const HTTP: &str = "coredns_url = \"http://localhost:2379\"";
    for (dns, inventory, expected) in [
        (
            HTTP,
            "tls.ca = \"ca.pem\"",
            "5: orchestrator.inventory.tls.ca: TLS is set up, but orchestrator.dns.coredns_url is http: write \
             \"https://localhost:2379\", or remove [orchestrator.inventory.tls]",
        ),
        (
            "coredns_url = \"https://etcd-1:2379\"",
            "urls = \"http://etcd-2:2379\"\ntls.ca = \"ca.pem\"",
            "6: orchestrator.inventory.tls.ca: TLS is set up, but orchestrator.inventory.urls is http: write \
             \"https://etcd-2:2379\", or remove [orchestrator.inventory.tls]",
        ),
        (
            "coredns_url = \"http://localhost:2379\"\ntls.ca = \"ca.pem\"",
            "urls = \"https://etcd-2:2379\"",
            "3: orchestrator.dns.tls.ca: TLS is set up, but orchestrator.dns.coredns_url is http: write \
             \"https://localhost:2379\", or remove [orchestrator.dns.tls]; for orchestrator.inventory.urls there is \
             [orchestrator.inventory.tls]",
        ),
        (
            HTTP,
            "urls = [\"http://etcd-2:2379\", \"https://etcd-3:2379\"]",
            "5: orchestrator.inventory.urls: some URLs are http and some are https: write https for all of them",
        ),
        (
            HTTP,
            "credentials.username = \"keeper\"",
            "5: orchestrator.inventory.credentials.username: there is no password for this user: set \
             orchestrator.inventory.credentials.password_file or orchestrator.inventory.credentials.password_env",
        ),
    ] {
        assert_eq!(shared(dns, inventory).error(), format!("config.toml:{expected}"));
    }
    let embedded = with_dns(&format!("{HTTP}\n[orchestrator.inventory]\ntls.ca = \"ca.pem\"")).error();
    assert_eq!(
        embedded,
        "config.toml:4: orchestrator.inventory.tls.ca: orchestrator.inventory.kind is not \"etcd\": there is nothing that TLS \
         could be for"
    );
    let clear =
        shared(HTTP, "urls = \"http://etcd-2:2379\"\ncredentials.username = \"k\"\ncredentials.password_env = \"Q\"");
    assert_eq!(
        clear.load().unwrap().warnings,
        [
            "orchestrator.inventory.credentials.username: the password goes to \"http://etcd-2:2379\" in clear text: use https"
        ]
    );
}
