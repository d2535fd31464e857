//! What the rest of the driver asks of streams, and what the receiver asks of the ring.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fd;

use super::super::interest::Interest;
use super::super::slots::{Key, Slot};
use super::Uring;
use super::pool::{self, Chunk, Pool};
use super::receiver::{Next, Order};
use super::token::Token;
use crate::context::CoreUid;

impl Uring {
    /// Gives the source of `slot` a stream; its first read arms the receive.
    pub(in crate::driver) fn start_stream(&mut self, slot: &mut Slot) {
        self.receiver.start(slot);
    }

    /// True when a stream that starts now would find buffers.
    pub(in crate::driver) fn is_willing_to_stream(&mut self, home: CoreUid) -> bool {
        self.receiver.is_willing(&self.ring, home)
    }

    /// Reads from a stream with `take`, which must leave no empty chunk, or says what to do instead.
    pub(in crate::driver) fn read_stream<R>(
        &mut self,
        slot: &mut Slot,
        key: Key,
        take: impl FnOnce(&mut Pool, &mut VecDeque<Chunk>) -> R,
    ) -> Next<R> {
        let (next, order) = self.receiver.next(slot, key, take);
        self.carry_out(order, slot, key);
        next
    }

    /// Ends a stream for the sake of another reader.
    pub(in crate::driver) fn stop_stream(&mut self, slot: &mut Slot, key: Key, woken: &mut Vec<Waker>) {
        let order = self.receiver.stop(slot, woken);
        self.carry_out(order, slot, key);
    }

    /// Ends the stream of a source that is gone. True when its receive has yet to end.
    pub(in crate::driver) fn end_stream(&mut self, slot: &mut Slot, key: Key) -> bool {
        let (at_work, order) = self.receiver.end(slot);
        self.carry_out(order, slot, key);
        at_work
    }

    /// The pool of receive buffers, if there is one yet.
    pub(in crate::driver) fn pool(&mut self) -> Option<&mut Pool> {
        self.receiver.pool()
    }

    pub(super) fn carry_out(&mut self, order: Order, slot: &mut Slot, key: Key) {
        match order {
            Order::Nothing => {}
            Order::Cancel => self.cancel_receive(key),
            Order::Arm => {
                // A poll would complete along with each receive. Its end clears `armed`.
                self.cancel(key, slot.armed.both(Interest::READABLE));
                slot.clear(Interest::READABLE);
                let receive = opcode::RecvMulti::new(Fd(slot.descriptor.as_raw_fd()), pool::GROUP).build();
                self.in_flight += 1;
                self.push(receive.user_data(Token::Receive(key).pack()));
            }
        }
    }

    pub(super) fn cancel_receive(&mut self, key: Key) {
        let cancel = opcode::AsyncCancel::new(Token::Receive(key).pack()).build();
        self.push(cancel.flags(Flags::SKIP_SUCCESS).user_data(Token::Stop(key).pack()));
    }
}
