//! Tasks that wait for sockets, and for no other reason to end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use multikernel::io::Interest;
use multikernel::net::udp::RecvBatch;
use multikernel::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use multikernel::{CoreId, cores, spawn_on};

use crate::common::{Buffer, pattern};
use crate::ends::{BLOCK, Run, block, flights, next};

flights!(
    accepts,
    accepts_unix,
    connects,
    connects_unix,
    receives,
    receives_unix,
    waits_for_bytes,
    waits_for_room,
    sends_too_much,
    sends_too_much_unix,
    sends_too_much_without_a_copy,
    halves_wait_on_two_cores,
    sends_what_is_read_later,
    receives_datagrams,
    sends_datagrams,
    listens_everywhere,
);

/// More than a socket takes without a reader.
const TOO_MUCH: usize = 16 << 20;

pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

async fn accepts(run: Run) -> io::Result<Infallible> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    run.under_way(listener.accept()).await?;
    Err(run.unexpected())
}

async fn accepts_unix(run: Run) -> io::Result<Infallible> {
    let listener = UnixListener::bind(run.path("listener"))?;
    run.under_way(listener.accept()).await?;
    Err(run.unexpected())
}

async fn connects(run: Run) -> io::Result<Infallible> {
    run.under_way(TcpStream::connect(run.outside.full_tcp())).await?;
    Err(run.unexpected())
}

async fn connects_unix(run: Run) -> io::Result<Infallible> {
    run.under_way(UnixStream::connect(run.outside.full_unix())).await?;
    Err(run.unexpected())
}

async fn receives(run: Run) -> io::Result<Infallible> {
    let (near, far) = pair().await?;
    // What has been received and not been asked for goes with the socket.
    far.send_all(pattern(100_000)).await.result?;
    near.recv().await?;
    let (idle, _peer) = pair().await?;
    run.under_way(idle.recv()).await?;
    Err(run.unexpected())
}

async fn receives_unix(run: Run) -> io::Result<Infallible> {
    let (near, _far) = UnixStream::pair()?;
    run.under_way(near.recv()).await?;
    Err(run.unexpected())
}

/// Of several cores for one socket.
async fn waits_for_bytes(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let near = Arc::new(near);
    let waiting: Vec<_> = cores()
        .map(|core| {
            let near = near.clone();
            spawn_on(core, move || async move { near.ready(Interest::READABLE).await })
        })
        .collect();
    for waiting in waiting {
        run.under_way(waiting).await??;
    }
    Err(run.unexpected())
}

async fn waits_for_room(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let bytes = vec![0; 1 << 16];
    loop {
        match near.try_write(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => run.under_way(near.writable()).await?,
            written => _ = written?,
        }
    }
}

async fn sends_too_much(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let buffer = Buffer::new(vec![1; TOO_MUCH], &run.buffers);
    run.under_way(near.send_all(buffer)).await.result?;
    Err(run.unexpected())
}

async fn sends_too_much_without_a_copy(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let buffer = Buffer::new(vec![1; TOO_MUCH], &run.buffers);
    run.under_way(near.send_zero_copy(buffer)).await.result?;
    Err(run.unexpected())
}

async fn sends_too_much_unix(run: Run) -> io::Result<Infallible> {
    let (near, _far) = UnixStream::pair()?;
    let buffer = Buffer::new(vec![1; TOO_MUCH], &run.buffers);
    run.under_way(near.send_all(buffer)).await.result?;
    Err(run.unexpected())
}

async fn halves_wait_on_two_cores(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let (reader, writer) = near.into_split();
    let buffers = run.buffers.clone();
    let writing = spawn_on(next(), move || async move {
        let buffer = Buffer::new(vec![1; TOO_MUCH], &buffers);
        writer.as_ref().send_all(buffer).await.result
    });
    run.under_way(reader.as_ref().recv()).await?;
    writing.await??;
    Err(run.unexpected())
}

/// What is acknowledged here is in the buffers of the system, and its reader begins when the Machine is gone.
async fn sends_what_is_read_later(run: Run) -> io::Result<Infallible> {
    let stream = TcpStream::connect(run.outside.sink()).await?;
    let number = CoreId::current().index();
    stream.send_all(vec![number as u8]).await.result?;
    let sending = async {
        for n in 0.. {
            let sent = stream.send_all(Buffer::new(block(n), &run.buffers)).await;
            sent.result?;
            run.outside.sent[number].store(n + 1, SeqCst);
        }
        Ok::<_, io::Error>(())
    };
    run.under_way(sending).await?;
    Err(run.unexpected())
}

async fn receives_datagrams(run: Run) -> io::Result<Infallible> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let mut batch = RecvBatch::new(4, BLOCK);
    run.under_way(socket.recv_batch(&mut batch)).await?;
    Err(run.unexpected())
}

async fn sends_datagrams(run: Run) -> io::Result<Infallible> {
    let (near, far) = UnixDatagram::pair()?;
    let sending = async {
        loop {
            near.send(&[1; BLOCK]).await?;
        }
    };
    let sent: io::Result<Infallible> = run.under_way(sending).await;
    drop(far);
    sent
}

async fn listens_everywhere(run: Run) -> io::Result<Infallible> {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    run.under_way(async {
        loop {
            drop(TcpListener::bind_each_core(any).await?);
        }
    })
    .await
}
