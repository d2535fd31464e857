//! Tasks that copy from socket to socket, through pipes and buffers.

use std::convert::Infallible;
use std::io;

use multikernel::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use multikernel::net::UnixStream;
use multikernel::spawn_local;

use crate::ends::{Run, flights};
use crate::sockets::pair;

flights!(copies_a_lot, copies_a_lot_unix, copies_for_a_slow_reader, waits_to_copy, polls_for_bytes,);

fn flood(mut stream: impl AsyncWrite + Unpin + 'static) {
    drop(spawn_local(async move {
        let bytes = vec![1; 1 << 17];
        while stream.write_all(&bytes).await.is_ok() {}
    }));
}

fn drain(mut stream: impl AsyncRead + Unpin + 'static) {
    drop(spawn_local(async move {
        let mut bytes = vec![0; 1 << 17];
        while stream.read(&mut bytes).await.is_ok_and(|got| got > 0) {}
    }));
}

async fn copies_a_lot(run: Run) -> io::Result<Infallible> {
    let ((client, mut near), (mut far, server)) = (pair().await?, pair().await?);
    flood(client);
    drain(server);
    run.under_way(copy_bidirectional(&mut near, &mut far)).await?;
    Err(run.unexpected())
}

async fn copies_a_lot_unix(run: Run) -> io::Result<Infallible> {
    let ((client, mut near), (mut far, server)) = (UnixStream::pair()?, UnixStream::pair()?);
    flood(client);
    drain(server);
    run.under_way(copy_bidirectional(&mut near, &mut far)).await?;
    Err(run.unexpected())
}

/// Bytes are in a pipe, which is not kept for others then.
async fn copies_for_a_slow_reader(run: Run) -> io::Result<Infallible> {
    let ((client, mut near), (mut far, _server)) = (pair().await?, pair().await?);
    flood(client);
    run.under_way(copy_bidirectional(&mut near, &mut far)).await?;
    Err(run.unexpected())
}

async fn waits_to_copy(run: Run) -> io::Result<Infallible> {
    let ((_client, mut near), (mut far, _server)) = (pair().await?, pair().await?);
    run.under_way(copy_bidirectional(&mut near, &mut far)).await?;
    Err(run.unexpected())
}

/// Often enough that the socket streams.
async fn polls_for_bytes(run: Run) -> io::Result<Infallible> {
    let (mut near, mut far) = pair().await?;
    let mut bytes = [0; 64];
    for _ in 0..20 {
        let (read, written) = multikernel::join!(near.read(&mut bytes), far.write(&[1; 64]));
        assert!(read? > 0 && written? > 0);
    }
    run.under_way(async {
        loop {
            near.read_exact(&mut bytes).await?;
        }
    })
    .await
}
