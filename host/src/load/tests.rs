//! What is loaded and what is not, with components written as text.

use super::*;
use crate::runtime::engine;

async fn error(text: &str, mode: LinkMode) -> Error {
    let bytes = wat::parse_str(text).unwrap();
    match load(&engine().unwrap(), bytes, usize::MAX, mode).await {
        Ok(_) => panic!("loaded: {text}"),
        Err(error) => error,
    }
}

async fn misfits(text: &str, mode: LinkMode) -> Vec<Misfit> {
    match error(text, mode).await {
        Error::Load(LoadError::World(misfits)) => misfits,
        other => panic!("{other:?}"),
    }
}

/// A component with the right export, empty, and these imports.
fn plugin(imports: &str) -> String {
    format!(r#"(component {imports} (instance $i) (export "provisioning:dns/dns-manager@0.1.0" (instance $i)))"#)
}

#[tokio::test]
async fn every_misfit_is_named() {
    let text = r#"(component
        (import "elsewhere:kitchen/oven@1.2.3" (instance))
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "wasi:http/types@0.3.0" (instance))
        (import "wasi:io/poll@0.2.0" (instance))
        (instance $i)
        (export "wasi:cli/run@0.2.0" (instance $i)))"#;

    let found = misfits(text, LinkMode::Strict).await;

    let name = |name: &str, kind| Misfit { name: name.to_owned(), kind };
    let expected = [
        name(
            "provisioning:dns/dns-manager@0.1.0",
            MisfitKind::MissingExport("it exports `wasi:cli/run@0.2.0`".to_owned()),
        ),
        name("elsewhere:kitchen/oven@1.2.3", MisfitKind::UnknownImport),
        name("wasi:sockets/tcp@0.2.0", MisfitKind::ForbiddenImport),
        name("wasi:http/types@0.3.0", MisfitKind::UnknownImport),
    ];
    assert_eq!(found, expected);
    assert_eq!(misfits(text, LinkMode::Inert).await.len(), 3);
}

#[tokio::test]
async fn component_without_exports_says_so() {
    let found = misfits("(component)", LinkMode::Strict).await;
    assert_eq!(found[0].kind, MisfitKind::MissingExport("it exports nothing".to_owned()));
}

#[tokio::test]
async fn import_with_other_types_is_named_alone() {
    let cases = [
        (
            r#"(import "provisioning:dns/settings@0.1.0" (instance (export "get" (func (param "key" u32)))))"#,
            vec!["provisioning:dns/settings@0.1.0"],
        ),
        (
            r#"(import "provisioning:dns/settings@0.1.0" (instance (export "get" (func (param "key" u32)))))
               (import "provisioning:dns/log@0.1.5" (instance (export "read" (func))))"#,
            vec!["provisioning:dns/settings@0.1.0", "provisioning:dns/log@0.1.5"],
        ),
        (
            r#"(import "provisioning:dns/settings@0.1.0"
                 (instance (export "get" (func (param "key" string) (result (option string))))))
               (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u32)))))"#,
            vec!["wasi"],
        ),
    ];
    for (imports, expected) in cases {
        let found = misfits(&plugin(imports), LinkMode::Strict).await;
        let names: Vec<_> = found.iter().map(|misfit| &*misfit.name).collect();
        assert_eq!(names, expected, "{found:?}");
        assert!(found.iter().all(|misfit| matches!(misfit.kind, MisfitKind::ImportDiffers(_))), "{found:?}");
    }
}

#[tokio::test]
async fn export_with_other_types_is_named() {
    let found = misfits(&plugin(""), LinkMode::Strict).await;
    assert!(matches!(&*found, [Misfit { kind: MisfitKind::ExportDiffers(_), .. }]), "{found:?}");
}

#[tokio::test]
async fn files_and_sockets_are_linked_empty_when_inert() {
    let imports = r#"
        (import "wasi:filesystem/types@0.2.6" (instance $types
            (export "descriptor" (type $d (sub resource)))
            (export "[method]descriptor.sync" (func (param "self" (borrow $d))))))
        (alias export $types "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.6" (instance
            (export "descriptor" (type $d (eq $descriptor)))
            (export "get-directories" (func (result (list (tuple (own $d) string)))))))
        (import "wasi:sockets/anything@0.2.6" (instance (export "go" (func))))"#;

    // The imports are linked: what is left to complain of is the empty export.
    let found = misfits(&plugin(imports), LinkMode::Inert).await;

    assert!(matches!(&*found, [Misfit { kind: MisfitKind::ExportDiffers(_), .. }]), "{found:?}");
    assert_eq!(misfits(&plugin(imports), LinkMode::Strict).await.len(), 3);
}

#[tokio::test]
async fn what_is_switched_off_is_refused() {
    let modules = [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("multi-memory", "(memory 1) (memory 1)"),
        ("gc", "(type (struct))"),
        ("function references", "(type $t (func)) (func (param (ref $t)))"),
        ("exceptions", "(tag)"),
        ("tail calls", "(func $f return_call $f)"),
        ("relaxed simd", "(func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle)"),
        (
            "wide arithmetic",
            "(func (param i64 i64 i64 i64) (result i64 i64)
                local.get 0 local.get 1 local.get 2 local.get 3 i64.add128)",
        ),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        ("stack switching", "(type $f (func)) (type (cont $f))"),
    ];
    for (proposal, module) in modules {
        let refused = error(&format!("(component (core module {module}))"), LinkMode::Strict).await;
        assert!(matches!(refused, Error::Load(LoadError::NotAComponent(_))), "{proposal}: {refused:?}");
    }
    for (proposal, text) in [
        ("streams", "(component (type (stream u8)))"),
        ("futures", "(component (type (future u8)))"),
        ("error contexts", "(component (type error-context))"),
        ("fixed-length lists", "(component (type (list u8 4)))"),
    ] {
        let refused = error(text, LinkMode::Strict).await;
        assert!(matches!(refused, Error::Load(LoadError::NotAComponent(_))), "{proposal}: {refused:?}");
    }
    // Plain vectors are on: compilers use them unasked.
    let vectors = "(component (core module (func (result v128) v128.const i64x2 0 0)))";
    assert!(matches!(error(vectors, LinkMode::Strict).await, Error::Load(LoadError::World(_))));
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let text = wat::parse_str("(component)").unwrap();
    let cases = [&b""[..], b"(component)", b"\0asm\x01\0\0\0", b"\x7fELF", &text[..text.len() - 1]];
    for bytes in cases {
        let refused = load(&engine().unwrap(), bytes.to_vec(), usize::MAX, LinkMode::Strict).await.err();
        assert!(matches!(refused, Some(Error::Load(LoadError::NotAComponent(_)))), "{bytes:?}: {refused:?}");
    }
}

#[tokio::test]
async fn size_is_bounded_before_anything_is_compiled() {
    let refused = load(&engine().unwrap(), vec![0; 9], 8, LinkMode::Strict).await.err();
    assert!(matches!(refused, Some(Error::Load(LoadError::TooLarge { limit: 8 }))), "{refused:?}");

    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(matches!(read(&manifest, 8).await, Err(LoadError::TooLarge { limit: 8 })));
    assert!(matches!(read(&manifest.join("nothing"), 8).await, Err(LoadError::Read { .. })));
}

#[tokio::test]
async fn the_component_of_this_workspace_is_loaded() {
    let component = dns_manager_guest_artifact::COMPONENT.to_vec();
    load(&engine().unwrap(), component, usize::MAX, LinkMode::Strict).await.unwrap();
}
