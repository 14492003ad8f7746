//! Misuse that must not compile, with the compiler's words.
//!
//! The words are those of the toolchain that `rust-version` names. After a change of it, look at what
//! `TRYBUILD=overwrite cargo test -p pp-core --test compile_fail` writes before you commit it.
#![cfg(not(any(loom, shuttle)))]

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
