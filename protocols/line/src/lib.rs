//! Line protocols for Ropewalk: lines, netstrings, length-prefixed strings.
