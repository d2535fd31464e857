//! Names, bad addresses and refused connections.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use multikernel::net::{TcpListener, TcpStream, lookup_host};

use crate::common::{on_both, own_address, read_exact, write_all};

#[test]
fn connects_by_name() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let near = TcpStream::connect(format!("localhost:{port}")).await?;
        let (far, _) = listener.accept().await?;
        write_all(&near, b"hi").await?;
        read_exact(&far, &mut [0; 2]).await?;
        Ok(())
    });
}

#[test]
fn tries_all_addresses_in_turn() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let good = listener.local_addr()?;
        let bad = free_address()?;
        let near = TcpStream::connect(&[bad, bad, good][..]).await?;
        assert_eq!(near.peer_addr()?, good);
        let error = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let second = TcpListener::bind(&[good, bad][..]).await?;
        assert_eq!(second.local_addr()?, bad);
        Ok(())
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_both(1, || async {
        let error = TcpStream::connect(free_address()?).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn all_kinds_of_addresses() {
    on_both(1, || async {
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let expected: SocketAddr = (ip, 80).into();
        let strings = ("10.0.0.1".to_owned(), 80);
        assert_eq!(lookup_host(expected).await?.next(), Some(expected));
        assert_eq!(lookup_host((ip, 80)).await?.next(), Some(expected));
        assert_eq!(lookup_host((IpAddr::V4(ip), 80)).await?.next(), Some(expected));
        assert_eq!(lookup_host(("10.0.0.1", 80)).await?.next(), Some(expected));
        assert_eq!(lookup_host(&strings).await?.next(), Some(expected));
        assert_eq!(lookup_host("10.0.0.1:80").await?.next(), Some(expected));
        assert_eq!(lookup_host("10.0.0.1:80".to_owned()).await?.next(), Some(expected));
        assert_eq!(lookup_host(&[expected, expected][..]).await?.count(), 2);
        assert_eq!(lookup_host("[::1]:80").await?.next(), Some("[::1]:80".parse().unwrap()));
        Ok(())
    });
}

#[test]
fn errors_say_what_is_wrong() {
    on_both(1, || async {
        for (text, part) in [("no-port", "no port"), ("host:http", "\"http\""), ("host:70000", "70000")] {
            let error = TcpStream::connect(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
        }
        // Reserved: no resolver knows it (RFC 6761).
        let error = TcpListener::bind("nobody.invalid:80").await.unwrap_err();
        assert!(error.to_string().contains("nobody.invalid"), "{error}");
        let holder = TcpListener::bind("127.0.0.1:0").await?;
        let taken = holder.local_addr()?;
        let error = TcpListener::bind(taken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("{taken}: Address already in use (os error 98)"));
        // Not an address of this machine (TEST-NET-1, RFC 5737).
        let error = TcpListener::bind("192.0.2.1:80").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        Ok(())
    });
}

/// Nobody listens there.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(own_address())?.local_addr()
}
