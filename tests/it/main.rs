//! Integration tests against the lab.
