//! The plots of the book: latency of round trips, and throughput by message size. SVG, and no font is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::ranged1d::{KeyPointHint, Ranged};
use plotters::prelude::*;

use super::cases::{Case, Contender, SIZES};
use super::measure::{Results, Series};
use crate::harness::stats::Summary;

const PIXELS: (u32, u32) = (860, 480);
/// Who is drawn: enough to see where we are, few enough to be told apart.
const AWAKE: [&str; 6] = ["line", "rtrb", "crossbeam", "kanal", "glommio", "multikernel"];
const PARKED: [&str; 5] = ["msg-ring", "async-channel", "tokio-ct", "glommio", "multikernel"];
const STREAMS: [&str; 7] = ["rtrb", "crossbeam", "kanal", "flume", "tokio-ct", "glommio", "multikernel"];
