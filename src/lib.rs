//! The architecture. Written as the code grows.
