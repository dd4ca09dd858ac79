//! Library of the lab.
