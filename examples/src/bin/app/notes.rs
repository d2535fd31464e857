//! Notes: the routes, and where the notes are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use multikernel::cores;
use multikernel::replicate::{ShardError, Sharded};
use serde::{Deserialize, Serialize};

/// A note has at most so many bytes.
const TEXT: usize = 4096;
/// Each part has at most so many notes.
const NOTES: usize = 50_000;
/// A list has at most so many notes.
const LISTED: usize = 1000;

#[derive(Clone, Serialize)]
struct Note {
    id: u64,
    text: String,
}

#[derive(Clone)]
struct Notes {
    parts: Sharded<BTreeMap<u64, Note>>,
    last: Arc<AtomicU64>,
}

/// Why there is no answer, and what that means over HTTP.
type Failure = (StatusCode, &'static str);

const GONE: Failure = (StatusCode::NOT_FOUND, "there is no such note\n");

fn unavailable(_: ShardError) -> Failure {
    (StatusCode::SERVICE_UNAVAILABLE, "the notes are closed\n")
}

pub(super) async fn routes() -> io::Result<Router> {
    let parts = Sharded::new(cores().len(), |_| BTreeMap::new()).await.map_err(io::Error::other)?;
    Ok(Router::new()
        .route("/notes", get(list).post(add))
        .route("/notes/{id}", get(show).delete(remove))
        .with_state(Notes { parts, last: Arc::default() }))
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

async fn add(
    State(notes): State<Notes>,
    Json(NewNote { text }): Json<NewNote>,
) -> Result<(StatusCode, Json<Note>), Failure> {
    if text.len() > TEXT {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "the note is too long\n"));
    }
    let id = 1 + notes.last.fetch_add(1, Ordering::Relaxed); // Relaxed: only distinct
    let note = Note { id, text };
    let kept = note.clone();
    let has_room = notes.parts.with(&id, move |part| {
        let has_room = part.len() < NOTES;
        if has_room {
            part.insert(id, kept);
        }
        has_room
    });
    match has_room.await.map_err(unavailable)? {
        true => Ok((StatusCode::CREATED, Json(note))),
        false => Err((StatusCode::INSUFFICIENT_STORAGE, "there are too many notes\n")),
    }
}

async fn show(State(notes): State<Notes>, Path(id): Path<u64>) -> Result<Json<Note>, Failure> {
    let note = notes.parts.with(&id, move |part| part.get(&id).cloned()).await;
    note.map_err(unavailable)?.map(Json).ok_or(GONE)
}

async fn remove(State(notes): State<Notes>, Path(id): Path<u64>) -> Result<StatusCode, Failure> {
    let note = notes.parts.with(&id, move |part| part.remove(&id)).await;
    note.map_err(unavailable)?.map(|_| StatusCode::NO_CONTENT).ok_or(GONE)
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    contains: String,
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

/// The first notes that contain a text. Every core looks through its own at the same time.
async fn list(State(notes): State<Notes>, Query(wanted): Query<Wanted>) -> Result<Json<Vec<Note>>, Failure> {
    let limit = wanted.limit.min(LISTED);
    let first = move |part: &mut BTreeMap<u64, Note>| {
        let found = part.values().filter(|note| note.text.contains(&wanted.contains));
        found.take(limit).cloned().collect::<Vec<_>>()
    };
    let found = notes.parts.map_reduce(first, |mut all, mut more| {
        all.append(&mut more);
        all
    });
    let mut found = found.await.map_err(unavailable)?;
    found.sort_unstable_by_key(|note| note.id);
    found.truncate(limit);
    Ok(Json(found))
}
