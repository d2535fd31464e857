//! The span of a task, for `tracing`: with the feature `task-spans` it is there, without it nothing is, not even a byte.

pub(super) use imp::Span;

#[cfg(feature = "task-spans")]
mod imp {
    use std::panic::Location;

    use tracing::span::Entered;

    /// Open from the task's birth until its future is gone, entered for each poll and for the future's drop.
    pub(in crate::task) struct Span(tracing::Span);

    impl Span {
        /// Of a task that lives on the core with this number.
        pub(in crate::task) fn new(core: u32, at: &'static Location<'static>) -> Self {
            // The names of the location's fields are those of tokio's spans, which tools look for.
            Self(tracing::trace_span!(
                target: "multikernel::task",
                parent: None,
                "task",
                core,
                loc.file = at.file(),
                loc.line = at.line(),
                loc.col = at.column(),
            ))
        }

        pub(in crate::task) fn enter(&self) -> Entered<'_> {
            self.0.enter()
        }
    }
}

#[cfg(not(feature = "task-spans"))]
mod imp {
    use std::panic::Location;

    pub(in crate::task) struct Span;

    /// So that whoever enters has something to keep.
    pub(in crate::task) struct Entered;

    const _: () = assert!(size_of::<Span>() == 0 && size_of::<Entered>() == 0);

    impl Span {
        #[inline(always)]
        pub(in crate::task) fn new(_core: u32, _at: &'static Location<'static>) -> Self {
            Self
        }

        #[inline(always)]
        pub(in crate::task) fn enter(&self) -> Entered {
            Entered
        }
    }
}
