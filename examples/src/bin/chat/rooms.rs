//! Who is where.

use std::collections::HashMap;
use std::io;

use multikernel::channels::broadcast;
use multikernel::cores;
use multikernel::replicate::{ShardError, Sharded};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A member may be so many messages behind.
const BACKLOG: usize = 64;
/// There are at most so many rooms on each core.
const ROOMS: usize = 10_000;

type Room = broadcast::Sender<Utf8Bytes>;

/// All rooms. A room is there while somebody is in it.
#[derive(Clone)]
pub(crate) struct Rooms {
    parts: Sharded<HashMap<String, Room>>,
}

/// A member's place in a room.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) room: Room,
    pub(crate) heard: broadcast::Receiver<Utf8Bytes>,
}

impl Rooms {
    pub(crate) async fn new() -> io::Result<Self> {
        let parts = Sharded::new(cores().len(), |_| HashMap::new()).await;
        Ok(Self { parts: parts.map_err(io::Error::other)? })
    }

    /// A place in a room, if there is one to be had.
    pub(crate) async fn enter(&self, name: String) -> Result<Option<Place>, ShardError> {
        let key = name.clone();
        let enter = move |rooms: &mut HashMap<String, Room>| {
            if rooms.len() >= ROOMS && !rooms.contains_key(&name) {
                return None;
            }
            let room = rooms.entry(name.clone()).or_insert_with(|| broadcast::channel(BACKLOG).0);
            Some(Place { name, heard: room.subscribe(), room: room.clone() })
        };
        self.parts.with(&key, enter).await
    }

    /// Gives a place up. The last to leave ends the room.
    pub(crate) async fn leave(&self, place: Place) -> Result<(), ShardError> {
        let key = place.name.clone();
        let leave = move |rooms: &mut HashMap<String, Room>| {
            let Place { name, heard, .. } = place;
            drop(heard);
            if rooms.get(&name).is_some_and(|room| room.receiver_count() == 0) {
                rooms.remove(&name);
            }
        };
        self.parts.with(&key, leave).await
    }
}
