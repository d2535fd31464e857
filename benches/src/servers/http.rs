//! The answer that all HTTP servers give.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};

use crate::client::message::HELLO;

/// A hyper service function: "Hello, World!" to everyone.
pub async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO))))
}

/// hyper's HTTP/1 with the settings that all HTTP servers share.
pub fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Without effect on single requests; pipelined ones are answered in one write.
    builder.pipeline_flush(true);
    builder
}
