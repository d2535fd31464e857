//! Calls, oneshots, buffers on loan and questions to all on executors of others.
#![cfg(not(loom))]

use multikernel_channels::bulk::{Buffer, Pool};
use multikernel_channels::{call, fanout, oneshot, spsc};

/// Bytes to count, and where the result goes.
type Job = (Buffer, oneshot::Sender<usize>);

/// What each kind of channel here does for a program: a service that is asked, from a thread of its own.
async fn asks(mut caller: call::Caller<Job, ()>, mut asker: fanout::Asker<usize, usize>) {
    let pool = Pool::new(2, 64);
    for round in 0..1_000 {
        let mut buffer = pool.take().await;
        buffer.set_len(round % 64);
        let (tx, rx) = oneshot::channel();
        caller.call((buffer, tx)).await.expect("the service stays");
        assert_eq!(rx.await, Ok(round % 64));
        assert_eq!(asker.ask(round, |a, b| a + b).await, Ok(5 * round));
    }
}

async fn serves(mut callee: call::Callee<Job, ()>, answerers: Vec<fanout::Answerer<usize, usize>>) {
    let service = callee.serve(async |(buffer, result): Job| {
        result.send(buffer.len()).expect("the receiver waits");
    });
    let answers = answerers.into_iter().map(|mut one| async move { one.serve(async |number| number).await });
    futures::future::join(service, futures::future::join_all(answers)).await;
}

fn on_tokio(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
}

#[test]
fn on_other_executors() {
    for tokio_asks in [true, false] {
        let (caller, callee) = call::channel();
        let (asker, answerers) = fanout::tree(5);
        let service = std::thread::spawn(move || {
            let serves = serves(callee, answerers);
            if tokio_asks { futures::executor::block_on(serves) } else { on_tokio(serves) }
        });
        let asks = asks(caller, asker);
        if tokio_asks {
            on_tokio(asks)
        } else {
            futures::executor::block_on(asks)
        }
        service.join().unwrap();
    }
}

/// What runs on a runtime that moves tasks between threads has to be `Send`.
#[test]
fn futures_are_send_if_messages_are() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (mut caller, mut callee) = call::channel::<u8, u8>();
    drop(is_send(caller.call(1)));
    drop(is_send(callee.next()));
    drop(is_send(callee.serve(async |number| number)));
    let (mut asker, mut answerers) = fanout::flat::<u8, u8>(1);
    drop(is_send(asker.ask(1, u8::max)));
    drop(is_send(answerers[0].serve(async |number| number)));
    let (mut tx, rx) = oneshot::channel::<u8>();
    drop(is_send(tx.closed()));
    drop(is_send(rx));
    let (mut buffers, _rx) = spsc::channel(1);
    drop(is_send(buffers.send(Pool::new(1, 1).try_take().unwrap())));
}
