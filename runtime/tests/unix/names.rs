//! Paths and abstract names, good and bad.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;

use multikernel::net::unix::SocketAddr;
use multikernel::net::{UnixDatagram, UnixListener, UnixStream};

use crate::support::{Folder, on_both};

#[test]
fn abstract_names_are_given_both_ways() {
    on_both(1, || async {
        // Any bytes, zeros too.
        let name = [b"multikernel-\0\xff-", std::process::id().to_string().as_bytes()].concat();
        let with_zero = [b"\0", &name[..]].concat();
        let as_path = OsStr::from_bytes(&with_zero);
        let addr = SocketAddr::from(std::os::unix::net::SocketAddr::from_abstract_name(&name)?);

        let listener = UnixListener::bind(as_path)?;
        assert_eq!(listener.local_addr()?.as_abstract_name(), Some(&name[..]));
        assert_eq!(UnixListener::bind_addr(&addr).unwrap_err().kind(), ErrorKind::AddrInUse);
        for by_path in [true, false] {
            let client = match by_path {
                true => UnixStream::connect(as_path).await?,
                false => UnixStream::connect_addr(&addr).await?,
            };
            assert_eq!(client.peer_addr()?.as_abstract_name(), Some(&name[..]));
            listener.accept().await?;
        }
        drop(listener);
        // Gone with its listener.
        let listener = UnixListener::bind_addr(&addr)?;
        drop(listener);
        let error = UnixStream::connect_addr(&addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn bad_names_give_clear_errors() {
    on_both(1, || async {
        let folder = Folder::new("names");
        let too_long = folder.join("x".repeat(200));
        let too_long = too_long.to_str().unwrap();
        let unnamed = UnixDatagram::unbound()?.local_addr()?;
        for (name, why) in [("", "empty"), ("/tmp/a\0b", "zero"), (too_long, "longer")] {
            let errors = [
                UnixListener::bind(name).unwrap_err(),
                UnixStream::connect(name).await.unwrap_err(),
                UnixDatagram::bind(name).unwrap_err(),
                UnixDatagram::unbound()?.connect(name).unwrap_err(),
                UnixDatagram::unbound()?.send_to(b"x", name).await.unwrap_err(),
                UnixDatagram::unbound()?.try_send_to(b"x", name).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(why), "{error}");
            }
        }
        let errors = [
            UnixListener::bind_addr(&unnamed).unwrap_err(),
            UnixStream::connect_addr(&unnamed).await.unwrap_err(),
            UnixDatagram::bind_addr(&unnamed).unwrap_err(),
            UnixDatagram::unbound()?.connect_addr(&unnamed).unwrap_err(),
            UnixDatagram::unbound()?.send_to_addr(b"x", &unnamed).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::InvalidInput));

        let nowhere = folder.join("no-such-folder").join("server.sock");
        let error = UnixListener::bind(&nowhere).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with(nowhere.to_str().unwrap()), "{error}");
        assert_eq!(UnixStream::connect(&nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn a_file_that_nobody_listens_at_refuses() {
    on_both(1, || async {
        let folder = Folder::new("stale");
        let path = folder.join("server.sock");
        drop(UnixListener::bind(&path)?);
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // And is not replaced.
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        std::fs::remove_file(&path)?;
        UnixListener::bind(&path)?;
        Ok(())
    });
}
