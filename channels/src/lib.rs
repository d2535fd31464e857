//! How cores talk.
