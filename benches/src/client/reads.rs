//! Orders to a reader of files, which does the work and reports.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use super::{PATIENCE, Slice, Work};
use crate::fs::REPORT;
use crate::harness::sched::CpuTime;

/// One reader.
pub struct Reads {
    control: TcpStream,
}

impl Reads {
    /// Connects, and has it read once.
    ///
    /// # Errors
    /// When it does not report, or what it reports does not add up.
    pub fn connect(addr: SocketAddr) -> Result<Self> {
        let control = TcpStream::from(super::dial(addr, 0)?);
        let mut reads = Self { control };
        reads.order(Duration::from_millis(1))?;
        Ok(reads)
    }

    fn order(&mut self, length: Duration) -> Result<Slice> {
        let before = CpuTime::of_this_thread()?;
        self.control.set_read_timeout(Some(length + PATIENCE))?;
        self.control.write_all(&(length.as_nanos() as u64).to_le_bytes())?;
        let mut report = [0; REPORT];
        self.control.read_exact(&mut report).context("no report")?;
        let [begun, right, took] = [0, 8, 16].map(|at| {
            let field = report[at..at + 8].try_into().expect("a field has eight bytes");
            u64::from_le_bytes(field)
        });
        ensure!(begun == right, "{begun} reads begun, {right} brought the right block");
        let whole = Duration::from_nanos(took);
        ensure!(whole >= length, "asked for {length:?}, and read for {whole:?} only");
        let client = CpuTime::of_this_thread()? - before;
        Ok(Slice { wall: whole, counted: right, total: right, whole, client })
    }
}

impl Work for Reads {
    /// Latencies are not measured: the reader has more to do than to look at a clock.
    fn slice(&mut self, length: Duration, _: &mut Histogram<u64>) -> Result<Slice> {
        self.order(length)
    }
}
