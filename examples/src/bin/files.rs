//! A server of files over HTTP/1.1, on every core.
//!
//! `files FOLDER [ADDRESS]`, by default on 127.0.0.1:3000. It answers GET and HEAD, whole files and single ranges, keeps
//! connections, and gives nothing from outside of the folder. Contents go from the system's memory to the socket without a
//! copy, by `File::send_to`; so the answers are written by hand. SIGINT or SIGTERM stops it: requests under way are finished.

use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use multikernel::fs::{self, File, OpenOptions};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Handle;
use multikernel::signal::{ctrl_c, unix};
use multikernel::{cores, select, spawn, time};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const USAGE: &str = "usage: files FOLDER [ADDRESS]";
/// Of a request, up to the empty line.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long a client may take to send a request's head, and to take any part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is sent at once, at most, so that a client that takes nothing is noticed.
const PART: u64 = 8 * 1024 * 1024;
/// How long requests under way may take once the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

#[multikernel::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    let (folder, address) = arguments()?;
    // Links in the path are followed once, here.
    let folder = fs::canonicalize(&folder).await.map_err(|error| named(&folder, &error))?;
    if !fs::metadata(&folder).await?.is_dir() {
        return Err(named(&folder, &io::ErrorKind::NotADirectory.into()));
    }
    let listener = TcpListener::bind(&address).await?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    println!("serving {} on http://{}", folder.display(), listener.local_addr()?);
    println!("{} cores; driver: {}", cores().len(), Handle::current().driver().kind);

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, &folder, &stop, &connections) => result?,
        result = ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    drop(listener);
    stop.cancel();
    connections.close();
    if time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        println!("giving up on {} connections", connections.len());
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The command line: a folder, then at most an address, and no options.
fn arguments() -> io::Result<(PathBuf, String)> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().filter(|folder| !folder.starts_with('-'));
    let folder = folder.ok_or_else(|| io::Error::other(USAGE))?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    match arguments.next() {
        None => Ok((folder.into(), address)),
        Some(more) => Err(io::Error::other(format!("unexpected argument {more}; {USAGE}"))),
    }
}

async fn accept(
    listener: &TcpListener,
    folder: &Path,
    stop: &CancellationToken,
    connections: &TaskTracker,
) -> io::Result<()> {
    let folder: Arc<Path> = folder.into();
    loop {
        let (stream, _) = listener.accept().await?;
        let (folder, stop) = (folder.clone(), stop.clone());
        // Spawned in the poll that accepted it: placed on the core with the fewest connections.
        spawn(connections.track_future(async move {
            // A client that resets, or is too slow, ends its own connection, and only that.
            let _ = serve(&stream, &folder, &stop).await;
        }));
    }
}

/// Answers one request after the other.
async fn serve(stream: &TcpStream, folder: &Path, stop: &CancellationToken) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    loop {
        let head = select! {
            head = time::timeout(PATIENCE, head(stream, &mut received)) => head?,
            // Between two requests; one that has begun to arrive is answered.
            () = stop.cancelled(), if received.is_empty() => return Ok(()),
        };
        let keep = match head? {
            Head::End => return Ok(()),
            Head::TooLong => {
                Answer::plain("431 Request Header Fields Too Large").close().send(stream, false).await?;
                false
            }
            Head::Of(length) => {
                let head: Vec<u8> = received.drain(..length).collect();
                answer(stream, folder, &head, !stop.is_cancelled()).await?
            }
        };
        if !keep {
            return Ok(());
        }
    }
}

enum Head {
    /// The client has no more requests.
    End,
    TooLong,
    /// So many bytes, with the empty line.
    Of(usize),
}

/// Receives until there is a whole head.
async fn head(stream: &TcpStream, received: &mut Vec<u8>) -> io::Result<Head> {
    let mut looked_at = 0;
    loop {
        let from = received[looked_at..].windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(from) = from {
            return Ok(Head::Of(looked_at + from + 4));
        }
        if received.len() > LONGEST_HEAD {
            return Ok(Head::TooLong);
        }
        looked_at = received.len().saturating_sub(3);
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(Head::End);
        }
        received.extend_from_slice(&bytes);
    }
}

/// What a request asks for.
struct Request<'a> {
    is_head: bool,
    path: &'a str,
    range: Option<&'a str>,
    keeps: bool,
}

impl<'a> Request<'a> {
    fn parse(head: &'a [u8]) -> Result<Request<'a>, &'static str> {
        const BAD: &str = "400 Bad Request";
        let mut lines = std::str::from_utf8(head).map_err(|_| BAD)?.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD);
        };
        let mut keeps = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err("505 HTTP Version Not Supported"),
        };
        let (mut range, mut host) = (None, version == "HTTP/1.0");
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(BAD)?;
            let value = value.trim();
            match &*name.to_ascii_lowercase() {
                "host" => host = true,
                "range" => range = Some(value),
                "connection" if value.eq_ignore_ascii_case("close") => keeps = false,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => keeps = true,
                // What follows the head is taken for the next request.
                "content-length" if value != "0" => return Err("413 Content Too Large"),
                "transfer-encoding" => return Err("413 Content Too Large"),
                _ => {}
            }
        }
        let is_head = match method {
            "GET" => false,
            "HEAD" => true,
            _ => return Err("405 Method Not Allowed"),
        };
        if !host {
            return Err(BAD);
        }
        let path = target.split(['?', '#']).next().unwrap_or_default();
        Ok(Request { is_head, path, range, keeps })
    }
}

/// Answers one request. False when the connection ends with it.
async fn answer(stream: &TcpStream, folder: &Path, head: &[u8], may_keep: bool) -> io::Result<bool> {
    let request = match Request::parse(head) {
        Ok(request) => request,
        // What such a client sends next cannot be told from what it has sent.
        Err(status) => {
            Answer::plain(status).close().send(stream, false).await?;
            return Ok(false);
        }
    };
    let keeps = request.keeps && may_keep;
    let (mut answer, file, part) = match find(folder, &request).await {
        Ok((file, length)) => respond(file, length, request.range),
        Err(error) => (Answer::plain(status_of(&error)), None, 0..0),
    };
    answer.closes |= !keeps;
    answer.send(stream, request.is_head).await?;
    if let Some(file) = file.filter(|_| !request.is_head) {
        send(stream, &file, part).await?;
    }
    Ok(keeps)
}

async fn find(folder: &Path, request: &Request<'_>) -> io::Result<(File, u64)> {
    let path = inside(folder, request.path).ok_or(io::ErrorKind::NotFound)?;
    // A link may lead out of the folder.
    if !fs::canonicalize(&path).await?.starts_with(folder) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // A pipe without a writer would wait for one.
    const O_NONBLOCK: i32 = 0o4000;
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((file, metadata.len()))
}

/// Where a path of a request leads: below the folder, or nowhere.
fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = decoded(path.strip_prefix('/')?)?;
    let path = Path::new(&path);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| folder.join(path))
}

/// Without the `%20` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        };
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

fn status_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => "404 Not Found",
        io::ErrorKind::PermissionDenied => "403 Forbidden",
        _ => "503 Service Unavailable",
    }
}

/// The answer's head, and what of the file follows.
fn respond(file: File, length: u64, range: Option<&str>) -> (Answer, Option<File>, Range<u64>) {
    let whole = |file| (Answer::of_file("200 OK", length), Some(file), 0..length);
    let Some(range) = range else { return whole(file) };
    match wanted(range, length) {
        // What is not understood is as good as not said.
        None => whole(file),
        Some(part) if part.is_empty() => {
            let mut answer = Answer::plain("416 Range Not Satisfiable");
            answer.more = format!("Content-Range: bytes */{length}\r\n");
            (answer, None, 0..0)
        }
        Some(part) => {
            let mut answer = Answer::of_file("206 Partial Content", part.end - part.start);
            answer.more += &format!("Content-Range: bytes {}-{}/{length}\r\n", part.start, part.end - 1);
            (answer, Some(file), part)
        }
    }
}

/// The single range that a header names. Empty if the file has nothing there, `None` if it names none or several.
fn wanted(header: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?;
    match (first, last) {
        ("", last) => {
            let count: u64 = number(last)?;
            Some(length.saturating_sub(count)..length)
        }
        (first, last) => {
            let first: u64 = number(first)?;
            let last: u64 = if last.is_empty() { u64::MAX } else { number(last)? };
            (first <= last).then(|| first.min(length)..last.saturating_add(1).min(length))
        }
    }
}

struct Answer {
    status: &'static str,
    length: u64,
    /// Header lines, each with its end.
    more: String,
    text: &'static str,
    closes: bool,
}

impl Answer {
    /// One that says only what became of the request.
    fn plain(status: &'static str) -> Answer {
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        Answer { status, length: status.len() as u64 + 1, more: allow.into(), text: status, closes: false }
    }

    fn of_file(status: &'static str, length: u64) -> Answer {
        Answer { status, length, more: "Accept-Ranges: bytes\r\n".into(), text: "", closes: false }
    }

    fn close(mut self) -> Answer {
        self.closes = true;
        self
    }

    async fn send(self, stream: &TcpStream, is_head: bool) -> io::Result<()> {
        let Answer { status, length, more, text, closes } = self;
        let connection = if closes { "close" } else { "keep-alive" };
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n{more}\r\n"
        );
        if !text.is_empty() && !is_head {
            bytes += text;
            bytes.push('\n');
        }
        time::timeout(PATIENCE, stream.send_all(bytes.into_bytes())).await?.result
    }
}

// ANCHOR: send
/// Sends a part of a file. An error when the file has become shorter: nothing else could be told from it then.
async fn send(stream: &TcpStream, file: &File, part: Range<u64>) -> io::Result<()> {
    let mut offset = part.start;
    while offset < part.end {
        let before = offset;
        let most = (part.end - offset).min(PART);
        match time::timeout(PATIENCE, file.send_to(stream, &mut offset, most)).await {
            Ok(sent) => {
                if sent? < most {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            // A slow client may go on for as long as it takes something.
            Err(_) if offset > before => {}
            Err(late) => return Err(late.into()),
        }
    }
    Ok(())
}
// ANCHOR_END: send
