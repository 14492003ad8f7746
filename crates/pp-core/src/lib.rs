//! pp-core
