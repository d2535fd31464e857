//! Channels that run anywhere, on two threads without a runtime. Those that block do so in a call that never pends;
//! those that wait as futures are polled again at once where cores poll, and park their thread where cores sleep.

use std::future::Future;

use super::cases::Contender;
use super::crew::{Plain, Threads};
use super::ends::{Channel, Closed, Many, Message, OrClosed, Receiver, Sender};
use super::visits;

const BLOCKING: &str = "2 threads that block";
const ASYNC: &str = "2 threads with block_on";

pub(super) fn contenders() -> Vec<Contender> {
    vec![
        general::<Crossbeam>("crossbeam", BLOCKING),
        general::<Flume>("flume", BLOCKING),
        general::<FlumeAsync>("flume-async", ASYNC),
        general::<Kanal>("kanal", BLOCKING),
        general::<KanalAsync>("kanal-async", ASYNC),
        general::<AsyncChannel>("async-channel", ASYNC),
    ]
}

fn general<C: Many>(name: &'static str, cores: &'static str) -> Contender {
    Contender::new(name, cores)
        .with(visits::streams::<C, Threads<Plain>>())
        .with(visits::many::<C, Threads<Plain>>())
        .with([visits::awake::<C, Threads<Plain>>(), visits::parked::<C, Threads<Plain>>()])
}

/// Makes a [`Channel`] of a crate's two ends, which are wrapped because some crates have one pair for two forms.
macro_rules! channel {
    (
        $channel:ident of $open:path: $tx:ident($($sender:ident)::+), $rx:ident($($receiver:ident)::+);
        send: |$s:ident, $message:ident| $send:expr;
        recv: |$r:ident| $recv:expr;
        $(rest: |$rest:ident, $into:ident| $drain:expr;)?
    ) => {
        struct $channel;

        struct $tx<T>($($sender)::+<T>);

        struct $rx<T>($($receiver)::+<T>);

        impl Channel for $channel {
            const BATCHES: bool = !concat!("", $(stringify!($rest))?).is_empty();
            type Tx<T: Message> = $tx<T>;
            type Rx<T: Message> = $rx<T>;

            fn open<T: Message>(room: usize) -> ($tx<T>, $rx<T>) {
                let (tx, rx) = $open(room);
                ($tx(tx), $rx(rx))
            }
        }

        impl Many for $channel {
            fn another<T: Message>(tx: &$tx<T>) -> $tx<T> {
                $tx(tx.0.clone())
            }
        }

        impl<T: Message> Sender for $tx<T> {
    type Message = T;

            #[inline]
            fn send(&mut self, $message: T) -> impl Future<Output = impl OrClosed<()>> {
                let $s = &self.0;
                $send
            }
        }

        impl<T: Message> Receiver for $rx<T> {
    type Message = T;

            #[inline]
            fn recv(&mut self) -> impl Future<Output = impl OrClosed<T>> {
                let $r = &self.0;
                $recv
            }

            $(
                /// Waits for one, and takes all others that are there.
                async fn recv_many(&mut self, $into: &mut Vec<T>, _: usize) -> Result<(), Closed> {
                    $into.push(self.recv().await.or_closed()?);
                    let $rest = &self.0;
                    $drain;
                    Ok(())
                }
            )?
        }
    };
}

channel! {
    Crossbeam of crossbeam_channel::bounded:
        CrossbeamTx(crossbeam_channel::Sender), CrossbeamRx(crossbeam_channel::Receiver);
    send: |tx, message| async move { tx.send(message) };
    recv: |rx| async move { rx.recv() };
}

channel! {
    Flume of flume::bounded: FlumeTx(flume::Sender), FlumeRx(flume::Receiver);
    send: |tx, message| async move { tx.send(message) };
    recv: |rx| async move { rx.recv() };
    rest: |rx, into| into.extend(rx.drain());
}

channel! {
    FlumeAsync of flume::bounded: FlumeAsyncTx(flume::Sender), FlumeAsyncRx(flume::Receiver);
    send: |tx, message| tx.send_async(message);
    recv: |rx| rx.recv_async();
    rest: |rx, into| into.extend(rx.drain());
}

channel! {
    Kanal of kanal::bounded: KanalTx(kanal::Sender), KanalRx(kanal::Receiver);
    send: |tx, message| async move { tx.send(message) };
    recv: |rx| async move { rx.recv() };
    rest: |rx, into| rx.drain_into(into).map_err(|_| Closed)?;
}

channel! {
    KanalAsync of kanal::bounded_async:
        KanalAsyncTx(kanal::AsyncSender), KanalAsyncRx(kanal::AsyncReceiver);
    send: |tx, message| tx.send(message);
    recv: |rx| rx.recv();
    rest: |rx, into| rx.drain_into(into).map_err(|_| Closed)?;
}

channel! {
    AsyncChannel of async_channel::bounded:
        AsyncChannelTx(async_channel::Sender), AsyncChannelRx(async_channel::Receiver);
    send: |tx, message| tx.send(message);
    recv: |rx| rx.recv();
}
