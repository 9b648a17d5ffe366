//! What `bindgen!` makes of `wit/`, and nothing else.
//!
//! Only [`crate::contract`] and the files that implement an import or call an
//! export name what is in here.
#![allow(missing_docs, unreachable_pub, reason = "generated; the documentation comes from wit/")]
#![allow(unused_qualifications, clippy::use_self, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "dns-plugin",
    imports: {
        "provisioning:dns/resolver@0.1.0": async | trappable,
        "provisioning:dns/settings@0.1.0": async | trappable,
        "provisioning:dns/log@0.1.0": async | trappable,
    },
    exports: { default: async },
    // Without this mapping the linker meets two sets of `wasi:io` types and
    // says that an import is missing.
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
    },
    additional_derives: [PartialEq],
    require_store_data_send: true,
});
