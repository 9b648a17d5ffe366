use super::*;

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.to_owned(), role: Role::Write, zones: vec!["example.com".parse().unwrap()], expires: None }
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("sub").join("tokens.json"));
    (directory, store)
}

fn finds(tokens: &Tokens, presented: &str) -> Option<String> {
    tokens.find(&Presented::parse(presented).unwrap()).unwrap().map(|token| token.name)
}

#[test]
fn a_token_is_known_by_its_secret_which_is_kept_nowhere() {
    let (_directory, store) = store();

    let (token, presented) = store.create(wanted("ci")).unwrap();

    let secret = Presented::parse(&presented).unwrap().secret;
    assert_eq!(secret.len(), 64);
    assert!(presented.starts_with(&format!("dnsm_{}_", token.id)));
    assert!(!std::fs::read_to_string(store.path()).unwrap().contains(secret));
    assert_eq!(finds(&Tokens::new(store), &presented), Some("ci".to_owned()));
}

#[test]
fn a_secret_that_differs_anywhere_is_refused() {
    let (token, presented) = Token::make(wanted("ci"));
    let id_ends = PREFIX.len() + token.id.len() + 1;
    for index in [id_ends, presented.len() / 2, presented.len() - 1] {
        let mut other = presented.clone().into_bytes();
        other[index] = if other[index] == b'0' { b'1' } else { b'0' };
        let other = String::from_utf8(other).unwrap();
        assert!(!token.accepts(&Presented::parse(&other).unwrap()), "{index}");
    }
    assert!(!token.accepts(&Presented { id: &token.id, secret: "" }));
    assert!(token.accepts(&Presented::parse(&presented).unwrap()));
    assert!(Presented::parse("Bearer").is_none());
}

#[test]
fn a_service_notices_what_is_created_and_revoked() {
    let (_directory, store) = store();
    let tokens = Tokens::new(store.clone());
    assert_eq!(finds(&tokens, "dnsm_00000000_00"), None);

    let (_, first) = store.create(wanted("first")).unwrap();
    let (_, second) = store.create(wanted("second")).unwrap();
    assert_eq!(finds(&tokens, &first), Some("first".to_owned()));

    store.revoke("first").unwrap();
    assert_eq!(finds(&tokens, &first), None);
    assert_eq!(finds(&tokens, &second), Some("second".to_owned()));
}

#[test]
fn a_damaged_file_lets_nobody_in_and_is_left_as_it_is() {
    let (_directory, store) = store();
    let (_, presented) = store.create(wanted("ci")).unwrap();
    let good = std::fs::read_to_string(store.path()).unwrap();
    let tokens = Tokens::new(store.clone());
    for damaged in [&good[..good.len() / 2], "", "[]", &good.replace("\"version\": 1", "\"version\": 2")] {
        std::fs::write(store.path(), damaged).unwrap();
        assert_eq!(tokens.find(&Presented::parse(&presented).unwrap()).unwrap_err(), tokens::Unusable);
        let error = store.create(wanted("other")).unwrap_err();
        assert!(error.to_string().contains("is damaged, and nobody is let in by it"), "{error}");
        assert_eq!(std::fs::read_to_string(store.path()).unwrap(), damaged);
    }
    std::fs::write(store.path(), &good).unwrap();
    assert_eq!(finds(&tokens, &presented), Some("ci".to_owned()));
    assert_eq!(
        good.len(),
        good.replace("\"version\": 1", "\"version\": 2").len(),
        "its length does not tell the last from it"
    );
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, store) = store();
    let (_, presented) = store.create(wanted("ci")).unwrap();
    assert_eq!(std::fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let tokens = Tokens::new(store.clone());
    assert_eq!(finds(&tokens, &presented), Some("ci".to_owned()));

    std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o620)).unwrap();

    assert!(matches!(store.read(), Err(Error::Exposed { .. })));
    assert_eq!(tokens.find(&Presented::parse(&presented).unwrap()).unwrap_err(), tokens::Unusable);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let (_directory, store) = store();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for turn in 0..5 {
                    store.create(wanted(&format!("t-{writer}-{turn}"))).unwrap();
                }
                store.revoke(&format!("t-{writer}-0")).unwrap();
            });
        }
    });
    assert_eq!(store.read().unwrap().len(), 8 * 4);
}

#[test]
fn names_are_checked() {
    let (_directory, store) = store();
    for name in ["", "a b", "local", "anonymous", &"a".repeat(64)] {
        assert!(matches!(store.create(wanted(name)), Err(Error::Name { .. })), "{name}");
    }
    store.create(wanted("ci")).unwrap();
    assert!(matches!(store.create(wanted("ci")), Err(Error::Exists(_))));
    assert!(matches!(store.revoke("nobody"), Err(Error::NotFound(_))));
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let (token, _) = Token::make(Wanted { expires: Some(Duration::ZERO), ..wanted("ci") });
    let (lasting, _) = Token::make(Wanted { expires: Some(Duration::from_secs(60)), ..wanted("ci") });

    assert!(token.is_expired());
    assert!(!lasting.is_expired());
}
