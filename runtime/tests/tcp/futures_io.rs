//! The traits of `futures::io`.

use futures::io::{AsyncReadExt, AsyncWriteExt, IoSlice, IoSliceMut};

use crate::common::{on_both, pair, pattern};

#[test]
fn transfers_and_closes() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let (mut reader, mut writer) = near.into_split();
        let data = pattern(1 << 20);
        let echo = multikernel::spawn_local(async move {
            let (reader, mut writer) = far.split();
            futures::io::copy(reader, &mut writer).await?;
            writer.close().await
        });
        let send = async {
            writer.write_all(&data).await?;
            writer.close().await
        };
        let mut back = Vec::new();
        let (sent, received) = futures::future::join(send, reader.read_to_end(&mut back)).await;
        sent?;
        received?;
        assert!(back == data);
        echo.await.unwrap()
    });
}

#[test]
fn vectored() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        assert_eq!(near.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")]).await?, 4);
        let (mut left, mut right) = ([0; 3], [0; 3]);
        let got = far.read_vectored(&mut [IoSliceMut::new(&mut left), IoSliceMut::new(&mut right)]).await?;
        assert_eq!((got, &left, right[0]), (4, b"abc", b'd'));
        Ok(())
    });
}
