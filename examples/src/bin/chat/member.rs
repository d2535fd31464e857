//! One member of a room, from the handshake to the last word.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use multikernel::channels::broadcast::error::RecvError;
use multikernel::net::TcpStream;
use multikernel::{select, time};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::Chat;
use super::rooms::Place;

/// How long the handshake may take, and each message until the system has taken it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A message has at most so many bytes.
const MESSAGE: usize = 64 << 10;
/// What is left to write to one member takes at most so many bytes.
const UNWRITTEN: usize = 4 * MESSAGE;

/// Why a member goes.
enum End {
    /// It said so, or its connection broke.
    Left,
    /// We say so, with a code and a reason.
    Told(CloseCode, &'static str),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Self::Told(CloseCode::Size, "the message is too long"),
            Error::Utf8(_) => Self::Told(CloseCode::Invalid, "text is UTF-8"),
            _ => Self::Left,
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

/// Whoever breaks its connection, or talks nonsense, ends it for itself alone.
pub(super) async fn serve(chat: Chat, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "tungstenite says what it returns")]
    let note_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE))
        .max_write_buffer_size(UNWRITTEN);
    let handshake = accept_hdr_async_with_config(stream, note_path, Some(config));
    let Ok(Ok(mut socket)) = time::timeout(PATIENCE, handshake).await else { return };
    if let End::Told(code, reason) = be_member(&chat, &mut socket, &path).await {
        let frame = CloseFrame { code, reason: reason.into() };
        // Its answer is waited for, so that the frame is not lost in a reset.
        let farewell = async {
            socket.send(Message::Close(Some(frame))).await?;
            while socket.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, Error>(())
        };
        let _ = time::timeout(PATIENCE, farewell).await;
    }
}

async fn be_member(chat: &Chat, socket: &mut Socket, path: &str) -> End {
    let Some((room, name)) =
        path[1..].split_once('/').filter(|(room, name)| !room.is_empty() && !name.is_empty())
    else {
        return End::Told(CloseCode::Policy, "the path is /ROOM/NAME");
    };
    match chat.rooms.enter(room.to_owned()).await {
        Ok(Some(mut place)) => {
            let end = talk(chat, socket, &mut place, name).await.unwrap_or_else(|end| end);
            // The server may have ended meanwhile, and the rooms with it.
            let _ = chat.rooms.leave(place).await;
            end
        }
        Ok(None) => End::Told(CloseCode::Again, "there are too many rooms"),
        Err(_) => End::Told(CloseCode::Away, "the server stops"),
    }
}

async fn talk(chat: &Chat, socket: &mut Socket, place: &mut Place, name: &str) -> Result<End, End> {
    let mut pings = time::interval(chat.ping_period);
    pings.tick().await;
    // Whether anything has come since the last ping.
    let mut is_alive = true;
    say(place, format!("* {name} is here"));
    let end = loop {
        select! {
            message = socket.next() => {
                is_alive = true;
                match message {
                    Some(Ok(Message::Text(text))) => say(place, format!("{name}: {text}")),
                    Some(Ok(Message::Binary(_))) => break End::Told(CloseCode::Unsupported, "this is a chat: text only"),
                    // Pings are answered, and closing is, by the library.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.into(),
                    None => break End::Left,
                }
            }
            message = place.heard.recv() => match message {
                Ok(text) => send(socket, Message::Text(text)).await?,
                Err(RecvError::Lagged(_)) => break End::Told(CloseCode::Policy, "you read too slowly"),
                Err(RecvError::Closed) => break End::Left,
            },
            _ = pings.tick() => {
                if !is_alive {
                    break End::Told(CloseCode::Policy, "you do not answer pings");
                }
                is_alive = false;
                send(socket, Message::Ping(Default::default())).await?;
            }
            () = chat.stop.cancelled() => break End::Told(CloseCode::Away, "the server stops"),
        }
    };
    say(place, format!("* {name} has left"));
    Ok(end)
}

/// Tells everybody in the room, oneself too. That nobody is left is not possible: oneself is there.
fn say(place: &Place, text: String) {
    let _ = place.room.send(Utf8Bytes::from(text));
}

/// Sends one message, or gives the member up.
async fn send(socket: &mut Socket, message: Message) -> Result<(), End> {
    match time::timeout(PATIENCE, socket.send(message)).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(End::Left),
    }
}
