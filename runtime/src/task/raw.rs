//! A task in memory: the header, then the future, whose place its output takes.

use std::alloc::Layout;
use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use multikernel_channels::sync::UnsafeCell;

use crate::machine::mailbox::Mailbox;
use crate::task::error::JoinError;
use crate::task::header::{Header, TaskRef, VTable};
use crate::task::id::Id;
use crate::task::span::Span;
use crate::task::{home, quietly, recycle};

type Output<F> = Result<<F as Future>::Output, JoinError>;

/// First the future, then, once that is dropped, the output, then nothing. Which one it is follows from the header's
/// phase and from who has taken the output, so the union carries no tag of its own.
union Stage<F: Future> {
    future: ManuallyDrop<Spanned<F>>,
    output: ManuallyDrop<Output<F>>,
}

struct Spanned<F> {
    span: Span,
    future: F,
}

#[repr(C)]
struct Task<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// Makes a task for the core behind `mailbox`, in memory of the calling thread.
pub(super) fn allocate<F>(mailbox: &Mailbox, future: F, at: &'static Location<'static>) -> TaskRef
where
    F: Future + 'static,
    F::Output: 'static,
{
    allocate_with(Functions::<F>::VTABLE, mailbox, future, at)
}

/// The future of a call that is made elsewhere, and that cannot be ended there once it has begun.
pub(crate) trait Revoke {
    /// Takes the call back. False when it has begun.
    fn revoke(&self) -> bool;
}

/// As [`allocate`], for a task that an abort does not end once its call has begun.
pub(super) fn allocate_call<F>(mailbox: &Mailbox, call: F, at: &'static Location<'static>) -> TaskRef
where
    F: Future + Revoke + 'static,
    F::Output: 'static,
{
    allocate_with(Functions::<F>::CALL_VTABLE, mailbox, call, at)
}

/// The vtable is one of `F`'s.
fn allocate_with<F>(
    vtable: &'static VTable,
    mailbox: &Mailbox,
    future: F,
    at: &'static Location<'static>,
) -> TaskRef
where
    F: Future + 'static,
    F::Output: 'static,
{
    let block = recycle::allocate(home::recycler(), Layout::new::<Task<F>>()).cast::<Task<F>>();
    let stage = UnsafeCell::new(Stage {
        future: ManuallyDrop::new(Spanned { span: Span::new(mailbox.index, at), future }),
    });
    // SAFETY: the block has this layout and is ours alone.
    unsafe { block.write(Task { header: Header::new(mailbox.this(), vtable, at), stage }) };
    // SAFETY: alive, with the two references it is born with.
    unsafe { TaskRef::new(block.cast()) }
}

/// # Safety
/// `spanned` may be dropped, and is gone afterwards. It stays where it is: its future may be pinned.
unsafe fn drop_within_span<F>(spanned: *mut Spanned<F>) {
    // SAFETY: read out once; what is dropped in place below are the other fields.
    let span = unsafe { (&raw const (*spanned).span).read() };
    let _entered = span.enter();
    // SAFETY: by the caller's leave.
    unsafe { (&raw mut (*spanned).future).drop_in_place() };
}

struct Functions<F>(PhantomData<F>);

impl<F> Functions<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    const VTABLE: &'static VTable = &VTable {
        poll: Self::poll,
        cancel: Self::cancel,
        drop_output: Self::drop_output,
        take_output: Self::take_output,
        layout: Layout::new::<Task<F>>(),
    };

    fn stage<'a>(task: NonNull<Header>) -> &'a UnsafeCell<Stage<F>> {
        // SAFETY: this vtable belongs to tasks of this very type, which begin with their header. The reference ends
        // within a call from someone who has one of the task's.
        unsafe { &(*task.cast::<Task<F>>().as_ptr()).stage }
    }

    /// # Safety
    /// Home's thread; the stage holds the future, and nobody is polling it.
    unsafe fn poll(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
        let stage = Self::stage(task);
        let poll = |stage: *mut Stage<F>| {
            // SAFETY: the future is there, is ours, and stays in place until it is dropped.
            let Spanned { span, future } = unsafe { &mut *(*stage).future };
            let _entered = span.enter();
            // SAFETY: as above.
            unsafe { Pin::new_unchecked(future) }.poll(cx)
        };
        let result = catch_unwind(AssertUnwindSafe(|| stage.with_mut(poll)));
        let output = match result {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(Self::panicked(task, payload)),
        };
        // SAFETY: the future is there and is not touched again.
        unsafe { Self::replace(task, output) };
        true
    }

    /// # Safety
    /// As for `poll`.
    unsafe fn cancel(task: NonNull<Header>, _: bool) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { Self::replace(task, Err(JoinError::cancelled(Self::id(task)))) }
        true
    }

    fn id(task: NonNull<Header>) -> Id {
        // SAFETY: alive, as in `stage`.
        unsafe { task.as_ref() }.id.get()
    }

    #[cold]
    fn panicked(task: NonNull<Header>, payload: Box<dyn Any + Send>) -> JoinError {
        JoinError::panicked(payload, Self::id(task))
    }

    /// Drops the future and puts the output in its place. A panic of that drop becomes the output.
    ///
    /// # Safety
    /// The stage holds the future.
    unsafe fn replace(task: NonNull<Header>, output: Output<F>) {
        let stage = Self::stage(task);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: dropped in place, once; from here on the stage is empty.
            stage.with_mut(|stage| unsafe { drop_within_span::<F>((&raw mut (*stage).future).cast()) });
        }));
        let output = match dropped {
            Ok(()) => output,
            Err(payload) => {
                quietly(|| drop(output));
                Err(Self::panicked(task, payload))
            }
        };
        // SAFETY: the stage is empty and ours.
        stage.with_mut(|stage| unsafe { (*stage).output = ManuallyDrop::new(output) });
    }

    /// # Safety
    /// The stage holds the output, and the caller has the claim to it.
    unsafe fn drop_output(task: NonNull<Header>) {
        quietly(|| {
            // SAFETY: dropped once, by the caller's claim.
            Self::stage(task).with_mut(|stage| unsafe { ManuallyDrop::drop(&mut (*stage).output) })
        });
    }

    /// # Safety
    /// As for `drop_output`; `to` points to room for an `Option<Output<F>>`.
    unsafe fn take_output(task: NonNull<Header>, to: *mut ()) {
        // SAFETY: moved out once, by the caller's claim.
        let output = Self::stage(task).with_mut(|stage| unsafe { ManuallyDrop::take(&mut (*stage).output) });
        // SAFETY: `to` is as the caller says.
        unsafe { to.cast::<Option<Output<F>>>().write(Some(output)) };
    }
}

impl<F> Functions<F>
where
    F: Future + Revoke + 'static,
    F::Output: 'static,
{
    const CALL_VTABLE: &'static VTable = &VTable { cancel: Self::cancel_call, ..*Self::VTABLE };

    /// # Safety
    /// As for `cancel`.
    unsafe fn cancel_call(task: NonNull<Header>, forced: bool) -> bool {
        // SAFETY: the stage holds the future, and nobody is polling it.
        let revoked = Self::stage(task).with(|stage| unsafe { &(*stage).future }.future.revoke());
        // SAFETY: passed on to the caller.
        (revoked || forced) && unsafe { Self::cancel(task, forced) }
    }
}
