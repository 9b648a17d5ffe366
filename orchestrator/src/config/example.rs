//! `config.example.toml` is complete, and true.

use std::path::Path;

use super::key;
use super::written::Collection;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// The example as it is, or with everything set that is shown commented out.
fn collection(everything: bool) -> Collection {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if everything && !setting.starts_with(' ') => setting,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut collection = Collection::default();
    collection.add_file(Path::new("config.example.toml"), &text).unwrap();
    collection
}

#[test]
fn every_key_is_in_the_example_and_nothing_else() {
    let collection = collection(true);
    assert_eq!(collection.problems, []);
    let missing: Vec<_> = key::KEYS.iter().filter(|key| !collection.known.contains_key(key.path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_the_example_sets_is_the_default() {
    let collection = collection(false);
    assert_eq!(collection.problems, []);
    for (path, written) in &collection.known {
        let Some(key) = key::find(path) else { panic!("{path} is no key") };
        let fallback = super::value::Value::from_fallback(key.fallback);
        assert_eq!(Some(&written.value), fallback.as_ref(), "{path}");
    }
}

#[test]
fn the_example_loads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, EXAMPLE).unwrap();
    let variables = [("HOME".to_owned(), folder.path().display().to_string())].into();
    let environment =
        crate::environment::Environment { variables, directory: folder.path().to_owned(), ..Default::default() };
    let config = super::Config::load(Some(&file), &environment).unwrap();
    assert_eq!(config.warnings, [] as [String; 0]);
}
