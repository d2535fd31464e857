//! Why a part did not answer.

use std::fmt;

/// Why a closure that was sent to a part of a [`Sharded`](crate::Sharded) has no answer.
///
/// ```
/// use multikernel_replicate::ShardError;
///
/// /// Whether it makes sense to ask another object.
/// fn is_over(error: ShardError) -> bool {
///     error == ShardError::Closed
/// }
/// assert!(!is_over(ShardError::Panicked));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardError {
    /// The closure panicked, and the part is as it left it. Or the factory did, which had to make the part anew; then the
    /// closure has not run, and the next one has the factory try again.
    Panicked,
    /// The object is closed, or its Machine has ended. The closure has not run.
    Closed,
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "the closure panicked, or the factory that had to make the part",
            Self::Closed => "the sharded object is closed",
        })
    }
}

impl std::error::Error for ShardError {}
