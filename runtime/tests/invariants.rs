//! Holds the rules of ARCHITECTURE.md that neither the compiler nor a lint holds, by looking at the sources.
#![cfg(not(loom))]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `unsafe` is. A new file here is a decision: say in ARCHITECTURE.md what it is unsafe for.
const UNSAFE: &[&str] = &[
    "channels/src/bulk/home.rs",
    "channels/src/bulk/pool.rs",
    "channels/src/call/callee.rs",
    "channels/src/call/caller.rs",
    "channels/src/call/mod.rs",
    "channels/src/doorbell.rs",
    "channels/src/inbox.rs",
    "channels/src/gate.rs",
    "channels/src/hub/mod.rs",
    "channels/src/lanes/lane.rs",
    "channels/src/oneshot.rs",
    "channels/src/mpsc/lane.rs",
    "channels/src/mpsc/receiver.rs",
    "channels/src/mpsc/shared.rs",
    "channels/src/mpsc/table.rs",
    "channels/src/ring/consumer.rs",
    "channels/src/ring/mod.rs",
    "channels/src/ring/producer.rs",
    "replicate/src/host/current.rs",
    "replicate/src/host/held.rs",
    "replicate/src/slots.rs",
    "runtime/src/compat/futures_io.rs",
    "runtime/src/compat/hyper.rs",
    "runtime/src/compat/tokio.rs",
    "runtime/src/context.rs",
    "runtime/src/driver/arena.rs",
    "runtime/src/driver/epoll/mod.rs",
    "runtime/src/driver/file.rs",
    "runtime/src/driver/file_op.rs",
    "runtime/src/driver/foreign.rs",
    "runtime/src/driver/fork.rs",
    "runtime/src/driver/mod.rs",
    "runtime/src/driver/order.rs",
    "runtime/src/driver/recv.rs",
    "runtime/src/driver/recv_buf.rs",
    "runtime/src/driver/send.rs",
    "runtime/src/driver/source.rs",
    "runtime/src/driver/uring/files.rs",
    "runtime/src/driver/uring/mod.rs",
    "runtime/src/driver/uring/ops.rs",
    "runtime/src/driver/uring/pool.rs",
    "runtime/src/executor/mod.rs",
    "runtime/src/fs/aligned.rs",
    "runtime/src/fs/buffer.rs",
    "runtime/src/fs/file_parts.rs",
    "runtime/src/fs/send_to.rs",
    "runtime/src/fs/shared_file.rs",
    "runtime/src/fs/stream.rs",
    "runtime/src/fs/work.rs",
    "runtime/src/io/copy.rs",
    "runtime/src/io/pipe.rs",
    "runtime/src/io/stdio.rs",
    "runtime/src/machine/call.rs",
    "runtime/src/machine/cpus.rs",
    "runtime/src/machine/mailbox.rs",
    "runtime/src/machine/stack.rs",
    "runtime/src/machine/thread_times.rs",
    "runtime/src/machine/watch.rs",
    "runtime/src/net/datagram_io.rs",
    "runtime/src/net/mmsg.rs",
    "runtime/src/net/pipe_io.rs",
    "runtime/src/net/steering.rs",
    "runtime/src/net/stream_io.rs",
    "runtime/src/net/tcp_socket.rs",
    "runtime/src/net/ucred.rs",
    "runtime/src/net/unix_socket.rs",
    "runtime/src/process/command_unix.rs",
    "runtime/src/process/running.rs",
    "runtime/src/signal/hub.rs",
    "runtime/src/task/hand_over.rs",
    "runtime/src/task/header.rs",
    "runtime/src/task/home.rs",
    "runtime/src/task/join.rs",
    "runtime/src/task/lazy.rs",
    "runtime/src/task/local_set.rs",
    "runtime/src/task/mod.rs",
    "runtime/src/task/queue.rs",
    "runtime/src/task/raw.rs",
    "runtime/src/task/recycle.rs",
    "runtime/src/task/waker.rs",
    "runtime/src/time/instant.rs",
];

/// Where locks are, and why no message, poll or I/O event waits for one of them.
const LOCKS: &[(&str, &str)] = &[
    (
        "channels/src/lanes/mod.rs",
        "senders of one broadcast or watch take turns, so that receivers agree on an order",
    ),
    ("channels/src/sync.rs", "the door: it only names them"),
    ("channels/src/mesh.rs", "the first message from one core to another, and the end of a core"),
    ("channels/src/mpsc/credits.rs", "senders of a channel that is full, and its closing"),
    ("channels/src/mpsc/shared.rs", "threads that are no cores send through one lane"),
    ("runtime/src/driver/handover.rs", "a socket that stops streaming, once for each stop"),
    ("runtime/src/driver/mailbox.rs", "a send whose future is polled away from the core that runs it"),
    ("runtime/src/driver/source.rs", "the second core that watches a socket, once"),
    ("runtime/src/driver/uring/door.rs", "the start and the end of a core, and its first ring of another"),
    (
        "runtime/src/fs/file.rs",
        "asynchronous: tasks that sync or change one file take turns, and no thread waits",
    ),
    ("runtime/src/io/stdin.rs", "copying bytes that were read; never held over a system call"),
    ("runtime/src/io/stdout.rs", "copying bytes to be written; never held over a system call"),
    ("runtime/src/machine/blocking.rs", "the pool of blocking threads"),
    (
        "runtime/src/machine/follow.rs",
        "the end of a Machine, which the thread that follows the CPUs waits for",
    ),
    ("runtime/src/machine/mod.rs", "the end of a Machine"),
    ("runtime/src/machine/pinning.rs", "a Machine or a core that comes or goes, and CPUs that do"),
    ("runtime/src/machine/registry.rs", "cancelling or registering on a core that may have ended"),
    ("runtime/src/machine/runtime.rs", "the end of a Machine"),
    ("runtime/src/machine/stack.rs", "those who watch for stalls, when a core is stuck"),
    ("runtime/src/machine/watch.rs", "the start and the end of a core, which its watcher also locks"),
    ("runtime/src/net/acceptor.rs", "poll_accept by several tasks; accept itself takes none"),
    ("runtime/src/net/bind_each_core.rs", "cores that begin to listen on one address, once each"),
    (
        "runtime/src/net/listener_group.rs",
        "a listener of many that changes hands; who accepts for others also locks a list of its own",
    ),
    ("runtime/src/process/orphans.rs", "children that outlive the core that left them, at SIGCHLD"),
    ("runtime/src/signal/hub.rs", "waiting for a signal"),
    ("runtime/src/task/ended.rs", "the end of a task that is in a JoinSet, and taking its output"),
    ("runtime/src/task/error.rs", "makes the payload of a panic Sync; never contended"),
    ("runtime/src/task/tracker.rs", "waiting for the last task of a TaskTracker, and its end"),
];

/// What loom runs: its atomics, cells and `Arc` come through `multikernel_channels::sync`.
const MODELLED: &[&str] = &["channels/src/", "runtime/src/task/", "runtime/src/machine/mailbox.rs"];

/// The one file that may ask whether loom is there.
const DOOR: &str = "channels/src/sync.rs";

const LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Each Rust file of the workspace, by its path from the root.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension() == Some(OsStr::new("rs")) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for room in ["benches", "channels", "examples", "replicate", "runtime"] {
        collect(&root.join(room), &mut found);
    }
    let named = found.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let name =
            path.strip_prefix(&root).expect("below the root").to_str().expect("a plain name").to_owned();
        (name, text)
    });
    let mut sources: Vec<_> = named.collect();
    sources.sort();
    assert!(sources.len() > 50, "the sources are not where this test looks");
    sources
}

/// The library files of channels, replicate and the runtime, without their unit tests' files.
fn shipped() -> Vec<(String, String)> {
    let rooms = ["channels/src/", "replicate/src/", "runtime/src/"];
    let is_shipped = |name: &str| rooms.iter().any(|room| name.starts_with(room)) && !is_unit_test(name);
    sources().into_iter().filter(|(name, _)| is_shipped(name)).collect()
}

fn is_unit_test(name: &str) -> bool {
    let file = name.rsplit('/').next().expect("a file name");
    file.starts_with("tests") || file.ends_with("_tests.rs") || file == "fixture.rs"
}

/// The words of the code: without comments, and without the unit tests at the end of a file.
fn words(text: &str) -> BTreeSet<&str> {
    let code = text.split("\nmod tests {").next().expect("split gives at least one part");
    let lines = code.lines().map(|line| line.split("//").next().expect("split gives at least one part"));
    lines.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_'))).collect()
}

fn files_with(any_of: &[&str]) -> Vec<String> {
    let hit = |text: &str| any_of.iter().any(|word| words(text).contains(word));
    shipped().into_iter().filter(|(_, text)| hit(text)).map(|(name, _)| name).collect()
}

/// Says what is missing in a list and what is no longer true of it.
fn assert_listed(list: &str, found: &[String], listed: &[&str]) {
    let new: Vec<_> = found.iter().filter(|name| !listed.contains(&name.as_str())).collect();
    let gone: Vec<_> = listed.iter().filter(|name| !found.iter().any(|found| found == *name)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "{list} in this file: not listed {new:?}, listed in vain {gone:?}"
    );
}

#[test]
fn unsafe_is_where_it_is_listed() {
    assert_listed("UNSAFE", &files_with(&["unsafe"]), UNSAFE);
}

#[test]
fn locks_are_where_they_are_listed() {
    let listed: Vec<_> = LOCKS.iter().map(|(name, _)| *name).collect();
    assert_listed("LOCKS", &files_with(&["Mutex", "RwLock", "Condvar"]), &listed);
}

#[test]
fn what_loom_runs_comes_through_the_door() {
    for (name, text) in shipped() {
        let is_modelled = MODELLED.iter().any(|part| name.starts_with(part)) && name != DOOR;
        for line in text.lines() {
            let shared =
                ["use std::sync::atomic", "use std::sync::Arc", "use std::sync::{", "use std::thread"];
            let goes_round = is_modelled && shared.iter().any(|part| line.starts_with(part));
            assert!(!goes_round, "{name} goes round the door, so loom does not see it: {line}");
            // Whole modules may be left out of a model; code that differs in it would not be the code that ships.
            let asks = line.starts_with(' ') && line.contains("cfg") && line.contains("loom");
            assert!(!asks || name == DOOR, "{name} asks for loom: only {DOOR} may: {line}");
        }
    }
}

#[test]
fn files_are_short() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{name} has {lines} lines; split it at a seam");
    }
}

#[test]
fn rooms_have_no_rooms() {
    for (name, _) in shipped() {
        let below_src = name.split('/').skip_while(|part| *part != "src").count() - 2;
        let is_driver =
            ["runtime/src/driver/uring/", "runtime/src/driver/epoll/"].iter().any(|d| name.starts_with(d));
        assert!(below_src <= 1 || is_driver, "{name} is more than one folder below src");
    }
}

/// Where a thread may sleep, and why that is not hoping.
const SLEEPS: [(&str, &str); 4] = [
    ("benches/", "measures"),
    ("examples/tests/support/mod.rs", "a pause between two looks at a condition"),
    ("examples/tests/bad_days.rs", "the second whose CPU time is measured"),
    ("runtime/tests/tasks.rs", "a poll that is meant to be long"),
];

#[test]
fn no_test_waits_for_luck() {
    for (name, text) in sources() {
        let sleeps = text.lines().find(|line| {
            let code = line.split("//").next().expect("split gives at least one part");
            code.contains(concat!("thread", "::sleep"))
        });
        let may = SLEEPS.iter().any(|(place, _)| name.starts_with(place));
        assert!(may || sleeps.is_none(), "{name} sleeps instead of waiting for what it needs");
    }
}

/// Public in name only: they seal `ToSocketAddrs`, and the kinds of streams that have halves.
const SEALED: [&str; 3] = ["pub enum Request {", "pub trait Resolve {", "pub trait Stream {"];

/// Modules that only the crates of this project use: public, but not documented.
const HIDDEN: [&str; 10] = [
    "channels/src/budget.rs",
    "channels/src/epoch.rs",
    "channels/src/hub/mod.rs",
    "replicate/src/timers/claims.rs",
    "replicate/src/timers/gate.rs",
    "replicate/src/timers/mod.rs",
    "runtime/src/machine/balance.rs",
    "runtime/src/machine/estimate.rs",
    "runtime/src/machine/make_way.rs",
    "runtime/src/machine/placer.rs",
];

/// Whether an item begins on this line that documentation shows, if it shows the module.
fn is_public_item(line: &str) -> bool {
    let mut words = line.split(' ');
    let is_public = words.next() == Some("pub");
    let kind = words.find(|word| !["const", "async", "unsafe"].contains(word));
    line.starts_with("macro_rules!")
        || is_public && kind.is_some_and(|kind| ["fn", "struct", "enum", "trait", "union"].contains(&kind))
}

/// Whether one of the listings in a doc comment is compiled and run.
fn has_example_that_runs(comment: &[&str]) -> bool {
    let fences = comment.iter().filter(|line| line.starts_with("/// ```"));
    fences.step_by(2).any(|opening| ["/// ```", "/// ```should_panic"].contains(opening))
}

/// rustdoc's own lint for this is not stable, wants an example for each `impl`, and passes over all that is re-exported
/// from a private module.
#[test]
fn public_items_have_examples_that_run() {
    let rooms = ["channels/src/", "replicate/src/", "runtime/src/", "runtime/macros/src/"];
    let is_looked_at = |name: &str| {
        rooms.iter().any(|room| name.starts_with(room)) && name != DOOR && !HIDDEN.contains(&name)
    };
    let (mut items, mut without) = (0, Vec::new());
    for (name, text) in sources().into_iter().filter(|(name, _)| is_looked_at(name) && !is_unit_test(name)) {
        let code = text.split("\nmod tests {").next().expect("split gives at least one part");
        let lines: Vec<_> = code.lines().map(str::trim_start).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_public_item(line)) {
            let belongs = |line: &&&str| ["///", "#[", "$(#["].iter().any(|start| line.starts_with(start));
            let above = &lines[at - lines[..at].iter().rev().take_while(belongs).count()..at];
            let is_private = line.starts_with("macro_rules!") && !above.contains(&"#[macro_export]");
            if is_private || above.contains(&"#[doc(hidden)]") || SEALED.contains(line) {
                continue;
            }
            items += 1;
            if !has_example_that_runs(above) {
                without.push(format!("{name}:{}: {line}", at + 1));
            }
        }
    }
    assert!(items > 200, "this looks in the wrong place: it found {items} public items");
    assert!(without.is_empty(), "without an example that runs:\n{}", without.join("\n"));
}

/// The packages that `package` needs to be used, itself left out.
fn needs(package: &str, more: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    cargo.args(["--package", package]).args(more).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names of packages");
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != package).map(str::to_owned).collect()
}

fn ours(needs: &BTreeSet<String>) -> Vec<&str> {
    needs.iter().map(String::as_str).filter(|name| name.starts_with("multikernel")).collect()
}

#[test]
fn arrows_point_one_way() {
    assert_eq!(ours(&needs("multikernel-channels", &[])), [""; 0]);
    let replicate = needs("multikernel-replicate", &[]);
    assert!(ours(&replicate).iter().all(|name| *name == "multikernel-channels"), "{replicate:?}");
    assert_eq!(ours(&needs("multikernel-macros", &[])), [""; 0]);
}

#[test]
fn the_runtime_needs_no_tokio() {
    let bare = needs("multikernel", &["--no-default-features"]);
    assert!(bare.contains("io-uring"), "this looks at the wrong tree: {bare:?}");
    assert!(!bare.iter().any(|name| name.starts_with("tokio")), "{bare:?}");
    assert!(needs("multikernel", &[]).contains("tokio"), "the default feature brings the traits");
}

/// The numbers of the rules (R1, R2, ..) that `text` names.
fn rules_in(text: &str) -> impl Iterator<Item = u32> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter_map(|word| word.strip_prefix('R')?.parse().ok())
}

fn numbered_rules(page: &str) -> BTreeSet<u32> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let begin = text.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("** "));
    begin.flat_map(|(name, _)| rules_in(name)).collect()
}

#[test]
fn rules_are_cited_and_what_is_cited_is_a_rule() {
    let (channels, agreement) = (numbered_rules("channels/README.md"), numbered_rules("replicate/README.md"));
    assert!(channels.len() > 50 && !agreement.is_empty(), "this looks for rules in the wrong way");
    let mut cited = BTreeSet::new();
    for (name, text) in sources() {
        for line in text.lines().filter(|line| line.contains("//")) {
            // The agreement has numbers of its own.
            let is_ours = name.starts_with("channels/") || line.contains("of the channels");
            for rule in rules_in(line) {
                let page = if is_ours { &channels } else { &agreement };
                assert!(page.contains(&rule), "{name} cites R{rule}, which is not there: {line}");
                if is_ours && !name.contains("/tests/") {
                    cited.insert(rule);
                }
            }
        }
    }
    let uncited: Vec<_> = channels.difference(&cited).collect();
    assert!(uncited.is_empty(), "channels/README.md: no code cites {uncited:?}");
}

/// What the paragraphs that begin with **Invariant:** name in backticks.
fn held_by(paragraph: &str) -> Vec<&str> {
    let proof = paragraph.split("\nHeld by ").nth(1);
    let proof = proof.unwrap_or_else(|| panic!("ARCHITECTURE.md: nothing is said to hold this: {paragraph}"));
    proof.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_invariant_names_what_holds_it() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page is there");
    let lints = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    let invariants: Vec<_> = text.split("\n\n").filter(|part| part.starts_with("**Invariant:**")).collect();
    assert_eq!(
        invariants.len(),
        text.matches("**Invariant:**").count() - 1,
        "each is a paragraph of its own"
    );
    assert!(invariants.len() > 20, "most of them are gone");
    for invariant in invariants {
        let mut holders = 0;
        for name in held_by(invariant) {
            if let Some((file, test)) = name.split_once("::") {
                let source =
                    fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is not there"));
                assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
                holders += 1;
            } else if lints.contains(&format!("\n{name} = ")) {
                holders += 1;
            }
        }
        assert!(holders > 0, "ARCHITECTURE.md: neither a test nor a lint holds this: {invariant}");
    }
}
