//! The contract: what the component imports and exports, and the vendored WIT.

use std::{collections::BTreeSet, path::Path, process::Command};

use sha2::{Digest, Sha256};
use wasmparser::{ComponentExternalKind, Parser, Payload};

/// What the world `dns-plugin` names, with what those interfaces use.
const WORLD: [&str; 10] = [
    "provisioning:dns/dns-types@0.1.0",
    "provisioning:dns/log@0.1.0",
    "provisioning:dns/resolver@0.1.0",
    "provisioning:dns/settings@0.1.0",
    "wasi:clocks/monotonic-clock@0.2",
    "wasi:http/outgoing-handler@0.2",
    "wasi:http/types@0.2",
    "wasi:io/error@0.2",
    "wasi:io/poll@0.2",
    "wasi:io/streams@0.2",
];

/// What Rust's standard library brings along; the host links it empty.
const RUNTIME: &str = "wasi:cli/";

#[test]
fn the_component_imports_what_the_world_allows_and_no_more() {
    let (imports, _) = border(dns_manager_guest_artifact::COMPONENT);

    let surplus: Vec<&String> = imports
        .iter()
        .filter(|import| !WORLD.contains(&plain(import).as_str()) && !import.starts_with(RUNTIME))
        .collect();
    let seen: BTreeSet<String> = imports.iter().map(|import| plain(import)).collect();
    let missing: Vec<&&str> = WORLD.iter().filter(|import| !seen.contains(**import)).collect();

    assert!(surplus.is_empty(), "imports beyond the world: {surplus:?}");
    assert!(missing.is_empty(), "the world's own imports are not used: {missing:?}");
}

#[test]
fn the_component_exports_the_manager_and_no_more() {
    let (_, exports) = border(dns_manager_guest_artifact::COMPONENT);

    assert_eq!(exports, ["provisioning:dns/dns-manager@0.1.0"]);
}

#[test]
fn the_vendored_wit_is_as_it_was_released() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let list = std::fs::read_to_string(wit.join("deps.sha256")).expect("wit/deps.sha256");
    let mut listed = BTreeSet::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (expected, file) = line.split_once("  ").expect("a checksum, two spaces, a file");
        let octets = std::fs::read(wit.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = data_encoding::HEXLOWER.encode(&Sha256::digest(octets));
        assert_eq!(found, expected, "{file} was edited; these files come from a release and stay as they are");
        listed.insert(file.to_owned());
    }
    let there: BTreeSet<String> = std::fs::read_dir(wit.join("deps"))
        .expect("wit/deps")
        .map(|entry| format!("deps/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    assert_eq!(there, listed, "the files and the list agree");
}

/// A second sender beside the policy would be a second road out.
#[test]
fn the_host_is_built_without_a_sender_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--locked", "--offline", "--workspace", "--edges", "features", "--invert", "wasmtime-wasi-http"])
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.contains("wasmtime-wasi-http"), "{tree}");
    assert!(!tree.contains("default-send-request"), "{tree}");
}

/// The names of a component's imports and exports, in its own order.
fn border(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("the component is well formed") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.expect("an import").name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                let instances = section.into_iter().map(|export| export.expect("an export"));
                exports.extend(
                    instances
                        .filter(|export| export.kind == ComponentExternalKind::Instance)
                        .map(|export| export.name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    (imports, exports)
}

/// A WASI interface without its patch version; others as they are.
fn plain(import: &str) -> String {
    match import.split_once("@0.2.") {
        Some((interface, _)) if import.starts_with("wasi:") => format!("{interface}@0.2"),
        _ => import.to_owned(),
    }
}

#[test]
fn the_host_gives_a_question_the_time_that_the_component_gives_it() {
    // Else the host ends a question for which CoreDNS, which waits for etcd, would have had an answer.
    let most = dns_manager_host::Limits::default().question_timeout;
    assert!(most > dns_manager_guest::verify::LONGEST_TIMEOUT, "{most:?}");
    assert!(most > dns_manager_guest::diagnose::QUESTION_TIMEOUT, "{most:?}");
}
