//! The demo's nights.
