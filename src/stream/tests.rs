//! Unit tests of `stream`: one behaviour each, named for it.

use super::*;
