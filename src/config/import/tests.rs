//! Tests of the whole way from files of MMM to an inventory.
