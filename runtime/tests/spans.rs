//! The spans of tasks, as a subscriber sees them.
#![cfg(all(not(loom), feature = "task-spans"))]

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{CoreId, spawn_on};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What happened to one span.
#[derive(Clone, Debug, Default)]
struct Seen {
    fields: HashMap<&'static str, String>,
    entered: u32,
    exited: u32,
    closed: bool,
    events: u32,
}

#[derive(Clone, Default)]
struct Notes {
    next: Arc<AtomicU64>,
    spans: Arc<Mutex<HashMap<u64, Seen>>>,
    /// The span that each thread is in; they do not nest here.
    within: Arc<Mutex<HashMap<std::thread::ThreadId, u64>>>,
}

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Notes {
    fn note(&self, span: u64, change: impl FnOnce(&mut Seen)) {
        change(self.spans.lock().unwrap().entry(span).or_default());
    }

    fn spawned_at(&self, line: u32) -> Seen {
        let spans = self.spans.lock().unwrap();
        let line = line.to_string();
        let mut hits = spans.values().filter(|seen| seen.fields.get("loc.line") == Some(&line));
        let (Some(hit), None) = (hits.next(), hits.next()) else { panic!("line {line} in {spans:?}") };
        hit.clone()
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "multikernel::task" || metadata.is_event()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        assert!(attributes.is_root(), "a task is no part of whoever spawned it");
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.note(id, |seen| attributes.record(&mut Fields(&mut seen.fields)));
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let within = self.within.lock().unwrap().get(&std::thread::current().id()).copied();
        within.into_iter().for_each(|span| self.note(span, |seen| seen.events += 1));
    }

    fn enter(&self, span: &Id) {
        self.note(span.into_u64(), |seen| seen.entered += 1);
        let outer = self.within.lock().unwrap().insert(std::thread::current().id(), span.into_u64());
        assert_eq!(outer, None, "no task is polled within another");
    }

    fn exit(&self, span: &Id) {
        self.note(span.into_u64(), |seen| seen.exited += 1);
        self.within.lock().unwrap().remove(&std::thread::current().id());
    }

    fn try_close(&self, span: Id) -> bool {
        self.note(span.into_u64(), |seen| seen.closed = true);
        true
    }
}

/// Logs when it is dropped.
struct Says;

impl Drop for Says {
    fn drop(&mut self) {
        tracing::info!("dropped");
    }
}

/// One test, for a process has one global subscriber.
#[test]
fn a_task_is_in_its_span_whenever_its_code_runs() {
    let notes = Notes::default();
    tracing::subscriber::set_global_default(notes.clone()).unwrap();
    let seen = notes.clone();
    Builder::new_test()
        .cores(2)
        .run(|| async move {
            let (there, line) = (CoreId::new(1), line!() + 1);
            let task = spawn_on(there, || async {
                tracing::info!("begins");
                yield_now().await;
                tracing::info!("ends");
            });
            task.await.unwrap();
            let seen = notes.spawned_at(line);
            assert_eq!(seen.fields["core"], "1");
            assert!(seen.fields["loc.file"].ends_with("tests/spans.rs"), "{seen:?}");
            assert_eq!(seen.fields["loc.col"], "24");
            // Two polls, and the drop of the future.
            assert_eq!((seen.entered, seen.exited, seen.events, seen.closed), (3, 3, 2, true));

            let line = line!() + 1;
            let panics = multikernel::spawn_local(async { panic!("as it should") });
            assert!(panics.await.unwrap_err().is_panic());
            let seen = notes.spawned_at(line);
            assert_eq!((seen.entered, seen.exited, seen.closed), (2, 2, true));

            let says = Says;
            let line = line!() + 1;
            let aborted = multikernel::spawn_local(async move {
                let _says = says;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            let open = notes.spawned_at(line);
            assert_eq!((open.entered, open.exited, open.events, open.closed), (1, 1, 0, false));
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_cancelled());
            let seen = notes.spawned_at(line);
            assert_eq!((seen.entered, seen.exited, seen.events, seen.closed), (2, 2, 1, true));
        })
        .unwrap();
    let all = seen.spans.lock().unwrap();
    assert!(all.len() >= 4, "the main task has one too");
    assert!(all.values().all(|seen| seen.closed && seen.entered == seen.exited), "{all:?}");
}
