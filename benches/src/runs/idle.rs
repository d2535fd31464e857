//! `idle`: resident memory per connection that has exchanged one message and then waits.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Common;
use crate::client::message::Message;
use crate::client::{self, PATIENCE};
use crate::harness::cpus::{self, Cpus};
use crate::harness::stats::Summary;
use crate::harness::{pairs, table};
use crate::servers::Protocol;

/// Resident bytes per idle connection of each echo server.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, connections: usize, size: usize) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(Protocol::Echo, &common.only)?;
    super::need_descriptors(connections)?;
    let rounds = common.rounds.unwrap_or(if common.quick { 1 } else { 3 });
    println!("{}", cpus::head(cpus));
    println!(
        "idle: resident bytes of the server per connection, {connections} connections, each after one message of \
         {size} bytes; median of {rounds} fresh processes. Socket memory in Linux itself is not counted.\n"
    );
    let progress = pairs::progress(servers.len() * rounds);
    let mut bytes: Vec<Vec<f64>> = vec![Vec::new(); servers.len()];
    let mut failures = Vec::new();
    for _ in 0..rounds {
        for (server, bytes) in servers.iter().zip(&mut bytes) {
            progress.set_message(server.name);
            progress.inc(1);
            let cores = super::cores_of(server, 2);
            let measured = super::start(server, Protocol::Echo, cores, cpus)
                .and_then(|process| per_connection(&process, connections, size));
            match measured {
                Ok(measured) => bytes.push(measured),
                Err(error) => failures.push(format!("{}: {error:#}", server.name)),
            }
        }
    }
    progress.finish_and_clear();
    let summaries: Vec<_> = bytes.iter().map(|bytes| Summary::of(bytes.iter().copied())).collect();
    let baseline = servers.iter().position(|server| server.name == table::BASELINES[0]);
    let baseline = baseline.and_then(|place| summaries[place]).map(|summary| summary.median);
    let rows = servers.iter().zip(&summaries).filter_map(|(server, summary)| {
        let median = summary.as_ref()?.median;
        let ratio = baseline.map_or("-".to_owned(), |baseline| format!("{:.2}", median / baseline));
        Some(vec![
            server.name.to_owned(),
            super::cores_of(server, 2).to_string(),
            format!("{median:.0}"),
            ratio,
        ])
    });
    println!("{}\n", table::table(&["server", "cores", "bytes/connection", "/ tokio-ct"], rows));
    let named: serde_json::Map<_, _> =
        servers.iter().zip(&bytes).map(|(server, bytes)| (server.name.to_owned(), json!(bytes))).collect();
    table::save(common.json.as_deref(), &json!({ "bytes_per_connection": named, "failures": failures }))?;
    failures.iter().for_each(|failure| println!("PROVES NOTHING: {failure}"));
    ensure!(failures.is_empty(), "the run proves nothing for {} measurements", failures.len());
    Ok(())
}

/// Opens `connections` to `server`, and says what each of them made it keep.
///
/// # Errors
/// When fewer are admitted, or one is answered wrongly.
pub fn per_connection(
    server: &crate::harness::process::Server,
    connections: usize,
    size: usize,
) -> Result<f64> {
    let exchange = |number| exchange(server, number, size);
    // What the first connections make a server allocate once is not theirs.
    let warm_up = (0..16).map(exchange).collect::<Result<Vec<_>>>()?;
    let before = resident(server.pid())?;
    let open = (0..connections)
        .map(|number| {
            exchange(number).with_context(|| format!("{number} of {connections} connections admitted"))
        })
        .collect::<Result<Vec<_>>>()?;
    let after = resident(server.pid())?;
    drop((warm_up, open));
    Ok((after as f64 - before as f64) / connections as f64)
}

fn exchange(server: &crate::harness::process::Server, number: usize, size: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::from(client::dial(server.addr(), number)?);
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = Message::Echo(size).request(number as u64);
    stream.write_all(&request)?;
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).context("no answer")?;
    ensure!(answer == request, "wrong answer: the bytes that came back are not those sent");
    Ok(stream)
}

/// Resident bytes of a process, once they no longer change.
fn resident(pid: u32) -> Result<u64> {
    let mut last = None;
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(50));
        let now = resident_now(pid)?;
        if last == Some(now) {
            return Ok(now);
        }
        last = Some(now);
    }
    anyhow::bail!("the server's memory does not come to rest")
}

fn resident_now(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the server ended?"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss in smaps_rollup")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("Rss is not a number")?;
    Ok(kib * 1024)
}
