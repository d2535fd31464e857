//! hyper over our sockets, timers and spawning.

use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Executor, Timer};
use hyper::service::service_fn;
use hyper::{Request, Response};
use multikernel::compat::hyper::{CoreExecutor, CoreTimer, LocalExecutor};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::{spawn, spawn_local};

use crate::common::{on_both, pair, pattern, read, write_all};

async fn double(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new([body.clone(), body].concat().into())))
}

#[test]
fn requests_and_responses() {
    on_both(2, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let server = spawn(async move {
            let (stream, _) = listener.accept().await?;
            let http = hyper::server::conn::http1::Builder::new();
            http.serve_connection(stream, service_fn(double)).await.map_err(io::Error::other)
        });
        let stream = TcpStream::connect(addr).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let connection = spawn(connection);
        for size in [0, 10, 1_000_000] {
            let body = pattern(size);
            let request =
                Request::post("/").header("host", "here").body(Full::new(Bytes::from(body.clone())));
            let response = sender.send_request(request.unwrap()).await.unwrap();
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert!(got == [&body[..], &body[..]].concat());
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap()
    });
}

#[test]
fn a_slow_header_ends_by_the_timer() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let server = spawn_local(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(CoreTimer).header_read_timeout(Duration::from_millis(20));
            let never =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
            http.serve_connection(far, never).await
        });
        write_all(&near, b"GET / HTTP/1.1\r\nhos").await?;
        let error = server.await.unwrap().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        while read(&near, &mut [0; 256]).await? > 0 {}
        Ok(())
    });
}

#[test]
fn timers_reset_in_place() {
    on_both(1, || async {
        let start = Instant::now();
        let mut sleep = CoreTimer.sleep(Duration::from_secs(3600));
        CoreTimer.reset(&mut sleep, start + Duration::from_millis(5));
        sleep.await;
        assert!(start.elapsed() >= Duration::from_millis(5));
        CoreTimer.sleep_until(start).await;
        Ok(())
    });
}

#[test]
fn executors_spawn() {
    on_both(1, || async {
        let (tell, told) = futures::channel::oneshot::channel();
        CoreExecutor.execute(async move { tell.send(1).unwrap() });
        assert_eq!(told.await, Ok(1));
        let (tell, told) = futures::channel::oneshot::channel();
        let not_send = std::rc::Rc::new(2);
        LocalExecutor.execute(async move { tell.send(*not_send).unwrap() });
        assert_eq!(told.await, Ok(2));
        Ok(())
    });
}
