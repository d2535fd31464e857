//! An async runtime with one executor per core.
